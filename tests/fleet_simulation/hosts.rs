//! Hosts that serve: the registry and the servers that enter themselves into it. They shut down or
//! stop when they are told, and start anew.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::discovery::Attributes;
use rpc::registry::{EmbeddedRegistry, RegistrarClient, RemoteRegistry};
use rpc::{Channel, ChannelBuilder, KeepAlive, Server, ServerBuilder, Streaming};
use tokio::sync::mpsc;

use crate::ledger::Ledger;
use crate::network::{Plugs, SimConnector, SimListener, Wiring};

pub(crate) const REGISTRY: &str = "registry";
/// The shortest time of an entry.
const TTL: Duration = Duration::from_secs(1);

#[rpc::service]
pub(crate) trait Work {
    async fn once(&self, nonce: u64, millis: u64) -> rpc::Result<u64>;
    #[rpc(idempotent)]
    async fn again(&self, nonce: u64, millis: u64) -> rpc::Result<u64>;
    /// As many times the nonce, one each millisecond.
    async fn repeat(&self, nonce: u64, times: u64) -> rpc::Result<Streaming<u64>>;
}

struct Worker {
    name: String,
    ledger: Ledger,
}

impl Worker {
    async fn work(&self, nonce: u64, millis: u64) -> rpc::Result<u64> {
        self.ledger.execute(nonce, &self.name);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(nonce)
    }
}

impl Work for Worker {
    async fn once(&self, nonce: u64, millis: u64) -> rpc::Result<u64> {
        self.work(nonce, millis).await
    }
    async fn again(&self, nonce: u64, millis: u64) -> rpc::Result<u64> {
        self.work(nonce, millis).await
    }
    async fn repeat(&self, nonce: u64, times: u64) -> rpc::Result<Streaming<u64>> {
        self.ledger.execute(nonce, &self.name);
        let each = move |left: u64| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            (left > 0).then(|| (nonce, left - 1))
        };
        Ok(Streaming::new(futures_util::stream::unfold(times, each)))
    }
}

/// What all hosts of one simulation share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) wiring: Wiring,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) grace: Duration,
}

/// What a host has of its own.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) plugs: Plugs,
    pub(crate) ledger: Ledger,
}

impl Place {
    /// A channel from here: its settings, not yet where to.
    pub(crate) fn channel(&self) -> ChannelBuilder {
        Channel::builder()
            .connect_timeout(Duration::from_millis(200))
            .handshake_timeout(Duration::from_millis(200))
            .keep_alive(Some(self.settings.keep_alive))
    }

    pub(crate) fn connector(&self, host: &str) -> SimConnector {
        SimConnector {
            host: host.to_owned(),
            wiring: self.settings.wiring,
            plugs: self.plugs.clone(),
        }
    }

    /// A client of the registry.
    pub(crate) fn registrar(&self) -> RegistrarClient {
        let connector = Arc::new(self.connector(REGISTRY));
        RegistrarClient::new(self.channel().with_connector(connector))
    }
}

/// A registry that forgets everything when it starts.
pub(crate) fn registry() -> ServerBuilder {
    let registry = EmbeddedRegistry::builder()
        .writer("fleet", "a token")
        .allow_names()
        .allow_any_source()
        .ttl(TTL..=2 * TTL)
        .build();
    Server::builder().add_service(registry.service())
}

/// A server of the fleet.
pub(crate) fn server(place: &Place) -> ServerBuilder {
    let worker = Worker {
        name: place.name.clone(),
        ledger: place.ledger.clone(),
    };
    let registrar = {
        let place = place.clone();
        move || place.registrar()
    };
    let registry = RemoteRegistry::over(registrar).with_token("a token");
    Server::builder()
        .add_service(WorkServer::new(worker))
        .register(registry, "work", Attributes::new())
        .registration_ttl(TTL)
}

/// What the schedule asks of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// Drain, then start anew after a pause.
    Shutdown { pause: Duration },
    /// Stop at once, then start anew.
    Drop { pause: Duration },
    /// Tell what the gauges say.
    Report,
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

/// The software of a host that serves.
pub(crate) async fn serve(
    place: Place,
    control: Control,
    builder: impl Fn() -> ServerBuilder,
) -> turmoil::Result {
    let (sender, mut commands) = mpsc::channel(16);
    *control.commands.lock().unwrap() = Some(sender);
    let Settings {
        wiring,
        keep_alive,
        grace,
    } = place.settings;
    loop {
        let listener = SimListener::bind(&place.name, wiring, place.plugs.clone()).await?;
        let server = builder()
            .shutdown_grace(grace)
            .keep_alive(Some(keep_alive))
            .handshake_timeout(Duration::from_millis(300))
            .idle_timeout(Some(Duration::from_secs(1)))
            .serve(listener)?;
        place.ledger.note(&format!("{} up", place.name));
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
        place.ledger.note(&format!("{} down", place.name));
        tokio::time::sleep(pause).await;
    }
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
