//! The host that serves: starts a server, shuts it down or drops it when told, starts the next.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::{Context, KeepAlive, Server, ServerBuilder, Status};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::SERVER;
use crate::ledger::Ledger;
use crate::network::{Plugs, SimListener, Wiring};
use crate::parts::{Checked, Parts, parts};

#[rpc::service]
pub(crate) trait Work {
    async fn once(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)>;
    #[rpc(idempotent)]
    async fn again(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)>;
    async fn fail(&self, nonce: u64, millis: u64) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self, nonce: u64, millis: u64) -> rpc::Result<()>;
    /// So many parts, one in each so many milliseconds.
    async fn download(&self, nonce: u64, millis: u64, count: usize) -> rpc::Result<Parts>;
    /// How many parts there were.
    async fn upload(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<(u64, usize)>;
    /// The parts themselves, as they come.
    async fn echo(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<Parts>;
}

struct Worker {
    ledger: Ledger,
}

/// Takes down when a handler is dropped or ends.
struct Watch {
    ledger: Ledger,
    nonce: u64,
    deadline: Option<Instant>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // In a crash there is no clock any more.
        if Handle::try_current().is_err() {
            return;
        }
        if let Some(deadline) = self.deadline {
            let late = Instant::now().saturating_duration_since(deadline);
            self.ledger.overdue(self.nonce, late);
        }
    }
}

impl Worker {
    /// A handler begins; what is given is to last as long as its call.
    fn begin(&self, nonce: u64) -> Watch {
        self.ledger.execute(nonce);
        let deadline = Context::current().deadline();
        Watch {
            ledger: self.ledger.clone(),
            nonce,
            deadline: deadline.map(|deadline| Instant::from_std(deadline.instant())),
        }
    }

    async fn work(&self, nonce: u64, millis: u64) {
        let _watch = self.begin(nonce);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

impl Work for Worker {
    async fn once(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)> {
        self.work(nonce, millis).await;
        Ok((nonce, padding.len()))
    }
    async fn again(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)> {
        self.work(nonce, millis).await;
        Ok((nonce, padding.len()))
    }
    async fn fail(&self, nonce: u64, millis: u64) -> rpc::Result<()> {
        self.work(nonce, millis).await;
        Err(Status::aborted(nonce.to_string()))
    }
    async fn note(&self, nonce: u64, millis: u64) -> rpc::Result<()> {
        self.work(nonce, millis).await;
        Ok(())
    }
    async fn download(&self, nonce: u64, millis: u64, count: usize) -> rpc::Result<Parts> {
        Ok(parts(nonce, count, millis, self.begin(nonce)))
    }
    async fn upload(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<(u64, usize)> {
        let _watch = self.begin(nonce);
        let mut checked = Checked::new(nonce, count, self.ledger.clone());
        checked.all(parts).await?;
        Ok((nonce, count))
    }
    async fn echo(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<Parts> {
        let watch = self.begin(nonce);
        let mut checked = Checked::new(nonce, count, self.ledger.clone());
        Ok(Parts::try_new(parts.inspect(move |part| {
            let _ = &watch;
            if let Ok(part) = part {
                checked.part(part);
            }
        })))
    }
}

/// What the schedule asks of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// Drain, then start anew after a pause.
    Shutdown { pause: Duration },
    /// Stop at once, then start anew.
    Drop { pause: Duration },
    /// Tell what the gauges say.
    Report,
}

/// The numbers of the servers of one simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) wiring: Wiring,
    pub(crate) calls_per_connection_max: u32,
    pub(crate) calls_max: usize,
    pub(crate) grace: Duration,
    pub(crate) keep_alive: KeepAlive,
}

/// The way from the schedule to the server that runs now, and back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    commands: Arc<Mutex<Option<mpsc::Sender<Command>>>>,
    report: Arc<Mutex<Option<String>>>,
}

impl Control {
    /// A server that has crashed or is busy with commands does not hear.
    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = &*self.commands.lock().unwrap() {
            let _ = commands.try_send(command);
        }
    }

    /// What holds a place still; empty if nothing does.
    pub(crate) fn report(&self) -> Option<String> {
        self.report.lock().unwrap().take()
    }
}

/// The software of the host.
pub(crate) async fn serve(
    settings: Settings,
    plugs: Plugs,
    control: Control,
    ledger: Ledger,
) -> turmoil::Result {
    let (sender, mut commands) = mpsc::channel(16);
    *control.commands.lock().unwrap() = Some(sender);
    loop {
        let listener = SimListener::bind(SERVER, settings.wiring, plugs.clone()).await?;
        let server = builder(settings, &ledger).serve(listener)?;
        ledger.note("server up");
        let pause = loop {
            match commands.recv().await {
                None => return Ok(()),
                Some(Command::Report) => {
                    *control.report.lock().unwrap() = Some(held(&server));
                }
                Some(Command::Shutdown { pause }) => {
                    server.shutdown().await;
                    break pause;
                }
                Some(Command::Drop { pause }) => {
                    drop(server);
                    break pause;
                }
            }
        };
        ledger.note("server down");
        tokio::time::sleep(pause).await;
    }
}

fn builder(settings: Settings, ledger: &Ledger) -> ServerBuilder {
    let worker = Worker {
        ledger: ledger.clone(),
    };
    Server::builder()
        .add_service(WorkServer::new(worker))
        .calls_per_connection_max(settings.calls_per_connection_max)
        .calls_max(settings.calls_max)
        .shutdown_grace(settings.grace)
        .keep_alive(Some(settings.keep_alive))
        .handshake_timeout(Duration::from_millis(300))
        .idle_timeout(Some(Duration::from_millis(400)))
}

/// The gauges that are not back at zero.
fn held(server: &Server) -> String {
    let load = server.load();
    let mut held = String::new();
    if load.connections > 0 || load.calls_in_flight > 0 {
        held = format!("{load:?}");
    }
    for stats in server.stats() {
        if stats.in_flight > 0 {
            held += &format!(" {} has {} in flight", stats.path, stats.in_flight);
        }
    }
    held
}
