//! A host that serves: starts a server, shuts it down or drops it when told, starts the next.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::{Channel, ChannelBuilder, KeepAlive, Server, ServerBuilder};
use tokio::sync::mpsc;

use crate::ledger::Ledger;
use crate::network::{Plugs, SimConnector, SimListener, Wiring};

/// What all hosts of one simulation share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) wiring: Wiring,
    pub(crate) keep_alive: KeepAlive,
    /// Of a server that shuts down.
    pub(crate) grace: Duration,
    /// Of connections that nobody uses.
    pub(crate) idle: Duration,
}

/// A host, as its software knows it.
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

/// The software of the host.
pub(crate) async fn serve(
    place: Place,
    control: Control,
    builder: impl Fn(&Place) -> ServerBuilder,
) -> turmoil::Result {
    let (sender, mut commands) = mpsc::channel(16);
    *control.commands.lock().unwrap() = Some(sender);
    let settings = place.settings;
    loop {
        let plugs = place.plugs.clone();
        let listener = SimListener::bind(&place.name, settings.wiring, plugs).await?;
        let server = builder(&place)
            .shutdown_grace(settings.grace)
            .keep_alive(Some(settings.keep_alive))
            .handshake_timeout(Duration::from_millis(300))
            .idle_timeout(Some(settings.idle))
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
