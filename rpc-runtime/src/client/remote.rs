//! The way to one server: connects when needed, keeps the connection, connects again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rpc_core::codec::CodecError;
use rpc_core::connection::{ClientConfig, ConnectionError, RequestHead};
use rpc_core::{Codec, Status};

use super::attempt::Attempt;
use super::connection::{Connection, Opened};
use super::slot::{Answer, Failure};
use crate::connection::Closed;
use crate::error::{Error, Kind};
use crate::transport::Connector;

/// A server, and the connection to it while there is one.
pub(super) struct Remote {
    connector: Arc<dyn Connector>,
    config: ClientConfig,
    codec: Codec,
    connect_timeout: Duration,
    current: ArcSwapOption<Connection>,
    /// Held while connecting, so that many callers make one connection.
    dialing: tokio::sync::Mutex<()>,
}

impl Remote {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        config: ClientConfig,
        codec: Codec,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            connector,
            config,
            codec,
            connect_timeout,
            current: ArcSwapOption::empty(),
            dialing: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) const fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Connects now and waits until the server has accepted.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        let (connection, opened) = self.open().await?;
        match opened.await {
            Ok(Ok(())) => {
                self.current.store(Some(Arc::new(connection)));
                Ok(())
            }
            Ok(Err(closed)) => Err(self.refused(closed)),
            // The runtime is shutting down and has dropped the driver.
            Err(_) => Err(self.refused(Closed::EndOfStream)),
        }
    }

    /// Makes a call on the current connection, or on a new one if that is closed.
    #[inline]
    pub(super) async fn exchange<F>(
        &self,
        service: &str,
        head: RequestHead<'_>,
        oneway: bool,
        encode: &F,
    ) -> Answer
    where
        F: Fn(&mut Vec<u8>) -> Result<(), CodecError> + Sync,
    {
        let mut connection = match self.current.load_full() {
            Some(connection) => connection,
            None => self.dial(None).await?,
        };
        let mut answer = attempt(&connection, head, oneway, encode).await;
        if let Err(failure) = &answer
            && failure.status.is_not_processed()
            && !connection.accepts_calls()
        {
            // The request did not leave this process, or the server says that it did not run.
            connection = self.dial(Some(&connection)).await?;
            answer = attempt(&connection, head, oneway, encode).await;
        }
        answer.map_err(|failure| name_missing_service(&connection, service, failure))
    }

    /// The connection that replaces a `stale` one; concurrent callers share one attempt.
    #[cold]
    async fn dial(&self, stale: Option<&Arc<Connection>>) -> Result<Arc<Connection>, Failure> {
        let _dialing = self.dialing.lock().await;
        if let Some(current) = self.current.load_full()
            && !stale.is_some_and(|stale| Arc::ptr_eq(stale, &current))
            && current.accepts_calls()
        {
            return Ok(current);
        }
        let opened = self.open().await;
        let (connection, _) = opened.map_err(|error| {
            Status::unavailable(error.to_string())
                .with_not_processed()
                .with_source(error)
        })?;
        let connection = Arc::new(connection);
        self.current.store(Some(connection.clone()));
        Ok(connection)
    }

    async fn open(&self) -> Result<(Connection, Opened), Error> {
        let error = || {
            let target = self.connector.target();
            Error::new(Kind::Connect, format!("cannot connect to {target}"))
        };
        let connect = tokio::time::timeout(self.connect_timeout, self.connector.connect());
        let duplex = match connect.await {
            Ok(Ok(duplex)) => duplex,
            Ok(Err(cause)) => return Err(error().with_source(cause)),
            Err(_) => {
                let target = self.connector.target();
                let within = self.connect_timeout;
                let attempt = format!("cannot connect to {target} within {within:?}");
                return Err(Error::new(Kind::Connect, attempt));
            }
        };
        Ok(Connection::start(duplex, self.config.clone()))
    }

    fn refused(&self, closed: Closed) -> Error {
        let target = self.connector.target();
        match closed {
            Closed::Protocol(cause) => {
                let ours = &self.config;
                let attempt = format!(
                    "no connection to {target}; this client speaks version {} with codec {} ({})",
                    rpc_core::wire::VERSION,
                    self.codec.name(),
                    ours.codec,
                );
                let kind = match cause {
                    ConnectionError::HandshakeTimeout(_) => Kind::Connect,
                    _ => Kind::Refused,
                };
                Error::new(kind, attempt).with_source(cause)
            }
            other => Error::new(
                Kind::Connect,
                format!("{target} ended the connection before the handshake: {other}"),
            ),
        }
    }
}

#[inline]
async fn attempt<F>(
    connection: &Connection,
    head: RequestHead<'_>,
    oneway: bool,
    encode: &F,
) -> Answer
where
    F: Fn(&mut Vec<u8>) -> Result<(), CodecError> + Sync,
{
    let attempt = Attempt::new(connection, head, encode);
    if oneway {
        return attempt.oneway().await;
    }
    attempt.await
}

/// The server knows ids, the client names: together they tell a missing service from a missing
/// method. See `[call.method]` in `docs/protocol.md`.
fn name_missing_service(connection: &Connection, service: &str, failure: Failure) -> Failure {
    if !failure.unknown_method || connection.has_service(service) {
        return failure;
    }
    let text = format!("{} has no service {service:?}", connection.peer);
    Status::not_found(text).with_not_processed().into()
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("connector", &self.connector)
            .field("codec", &self.codec)
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}
