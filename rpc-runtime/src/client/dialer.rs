//! Makes connections to one place.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::connection::{ClientConfig, ConnectionError};
use rpc_core::{Codec, Deadline};

use super::call::in_time;
use super::connection::Connection;
use super::connections::Connections;
use super::glance::Hearing;
use super::opening::Opening;
use crate::boxed::boxed;
use crate::clock;
use crate::connection::Closed;
use crate::contain::{catch, contain};
use crate::error::{Error, Kind};
use crate::log;
use crate::resilience::backoff::{Backoff, BackoffPolicy};
use crate::transport::{Connector, Connectors};

/// A place, and how connections to it are made. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer {
    connector: Arc<dyn Connector>,
    terms: Arc<Terms>,
    /// The connections are kept, however long they are without calls.
    keeps: bool,
    /// Who is told when something was heard.
    hearing: Option<Arc<Hearing>>,
}

/// What all connections of a channel have in common.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) config: ClientConfig,
    pub(super) codec: Codec,
    /// Zero is for ever.
    pub(super) connect_timeout: Duration,
    /// Of attempts to connect, if the user has said.
    pub(super) reconnect_backoff: Option<BackoffPolicy>,
    pub(super) connectors: Connectors,
    pub(super) connections: Connections,
}

impl Dialer {
    pub(super) const fn new(connector: Arc<dyn Connector>, terms: Arc<Terms>) -> Self {
        Self {
            connector,
            terms,
            keeps: false,
            hearing: None,
        }
    }

    /// Has somebody told when something is heard on the connections.
    pub(super) fn heard_by(self, hearing: Arc<Hearing>) -> Self {
        Self {
            hearing: Some(hearing),
            ..self
        }
    }

    /// Makes connections that are kept, if they are to be, however long they are without calls.
    pub(super) fn keeping(&self, keeps: bool) -> Self {
        Self {
            keeps,
            ..self.clone()
        }
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.terms.codec
    }

    /// Ends all connections of the channel and every call on them, now and later.
    pub(super) fn close(&self) {
        self.terms.connections.close();
    }

    /// Before the first failure; with these pauses unless the user has said.
    pub(super) fn backoff(&self, usual: BackoffPolicy) -> Backoff {
        Backoff::new(self.terms.reconnect_backoff.unwrap_or(usual))
    }

    /// The place, for error messages.
    pub(super) fn target(&self) -> String {
        target_of(&*self.connector)
    }

    /// Makes a connection, which may be used before the server has accepted.
    pub(super) fn open(&self) -> Opening {
        let (connector, terms) = (self.connector.clone(), self.terms.clone());
        let (keeps, hearing) = (self.keeps, self.hearing.clone());
        let target = self.target();
        let place = target.clone();
        let opening = async move {
            let within = terms.connect_timeout;
            let error = || Error::new(Kind::Connect, format!("cannot connect to {target}"));
            let limit = (!within.is_zero()).then(|| Deadline::after(clock::now(), within));
            // Whether it panics in its future or before there is one.
            let connecting = contain(async { connector.connect().await });
            let duplex = match in_time(limit, connecting).await {
                Some(Ok(Ok(duplex))) => duplex,
                Some(Ok(Err(cause))) => return Err(error().with_source(cause)),
                Some(Err(panic)) => {
                    log::error!(%target, panic, "a connector panicked");
                    return Err(error().with_source(io::Error::other("the connector panicked")));
                }
                None => {
                    let attempt =
                        format!("connect timeout: {target} not reached within {within:?}");
                    return Err(Error::new(Kind::Connect, attempt));
                }
            };
            let mut config = terms.config.clone();
            config.idle_timeout = config.idle_timeout.filter(|_| !keeps);
            let codec = terms.codec.clone();
            let (connection, opened, driver) = Connection::new(duplex, config, codec, hearing);
            terms.connections.add(&connection);
            tokio::spawn(boxed(driver));
            Ok((connection, opened))
        };
        // Tokio panics where none of its runtimes is, or one without timers. Those who call from elsewhere
        // wait for the same attempt, and would do so for ever.
        Box::pin(async move {
            contain(opening).await.unwrap_or_else(|panic| {
                let attempt = format!("cannot connect to {place}: {panic}");
                Err(Error::new(Kind::Connect, attempt))
            })
        })
    }

    /// Makes a connection and waits until the server has accepted.
    pub(super) async fn open_accepted(&self) -> Result<Connection, Error> {
        let (connection, opened) = self.open().await?;
        match opened.await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(closed)) => Err(self.refused(closed)),
            // The runtime is shutting down and has dropped the driver.
            Err(_) => Err(self.refused(Closed::EndOfStream)),
        }
    }

    fn refused(&self, closed: Closed) -> Error {
        let target = self.target();
        match closed {
            Closed::Protocol(cause) => {
                if let ConnectionError::HandshakeTimeout(_) = cause {
                    let attempt = format!("connect timeout: {target} does not answer");
                    return Error::new(Kind::Connect, attempt).with_source(cause);
                }
                let attempt = format!(
                    "no connection to {target}; this client speaks version {} with codec {} ({})",
                    rpc_core::wire::VERSION,
                    self.codec().name(),
                    self.terms.config.codec,
                );
                Error::new(Kind::Refused, attempt).with_source(cause)
            }
            other => Error::new(
                Kind::Connect,
                format!("{target} ended the connection before the handshake: {other}"),
            ),
        }
    }
}

/// What a connector calls its place. It is of the user's, and an error must not become a panic.
fn target_of(connector: &dyn Connector) -> String {
    catch(|| connector.target()).unwrap_or_else(|_| "a place without a name".to_owned())
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("connector", &self.connector)
            .field("codec", self.codec())
            .finish_non_exhaustive()
    }
}
