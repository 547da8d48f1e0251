//! The accept loop. Nothing ends it but the server.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::Codec;
use rpc_core::connection::ServerConfig;

use super::connection::{self, Offer};
use super::connections::Connections;
use crate::boxed::boxed;
use crate::contain::{catch, contain};
use crate::dispatch::Router;
use crate::log;
use crate::transport::{Duplex, Listener};

/// Accepts connections and starts a task for each.
pub(super) struct Acceptor {
    pub(super) listener: Box<dyn Listener>,
    pub(super) router: Arc<Router>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) codecs: Arc<[Codec]>,
    pub(super) connections: Arc<Connections>,
    /// How old a connection may become, give or take a tenth.
    pub(super) age_max: Option<Duration>,
}

impl Acceptor {
    /// The pause after a first failure, for example because no file descriptor is left; it doubles
    /// with each further failure, as in Go's net/http.
    const PAUSE_MIN: Duration = Duration::from_millis(5);
    const PAUSE_MAX: Duration = Duration::from_millis(500);

    pub(super) async fn run(mut self) {
        let mut pause = Self::PAUSE_MIN;
        loop {
            // Whether it panics in its future or before there is one.
            let accepted = contain(async { self.listener.accept().await }).await;
            let accepted = accepted.unwrap_or_else(|panic| {
                log::error!(panic, "a listener panicked");
                Err(io::Error::other("the listener panicked"))
            });
            match accepted {
                Ok(duplex) => {
                    pause = Self::PAUSE_MIN;
                    self.connections.wait_for_room().await;
                    // A stream that is turned away is dropped here.
                    if let Err(panic) = catch(|| self.start(duplex)) {
                        log::error!(panic, "a stream panicked when it was dropped");
                    }
                }
                Err(error) => {
                    log::warn!(%error, ?pause, "accept failed; trying again after a pause");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Self::PAUSE_MAX);
                }
            }
        }
    }

    fn start(&self, duplex: Duplex) {
        let offer = Offer {
            router: self.router.clone(),
            config: self.config.clone(),
            codecs: self.codecs.clone(),
        };
        let Some((shared, driver)) = connection::start(duplex, offer, &self.connections) else {
            return;
        };
        let Some(age) = self.age_max else {
            tokio::spawn(boxed(driver));
            return;
        };
        // Spread, so that connections that began together do not end together.
        let age = age.as_secs_f64() * (0.9 + 0.2 * fastrand::f64());
        let age = Duration::try_from_secs_f64(age).unwrap_or(Duration::MAX);
        tokio::spawn(boxed(async move {
            let mut driver = pin!(driver);
            if tokio::time::timeout(age, &mut driver).await.is_err() {
                shared.drain("the connection is old");
                driver.await;
            }
        }));
    }
}
