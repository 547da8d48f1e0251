//! How a server is set up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::Codec;
use rpc_core::StreamLimits;
use rpc_core::codec::DecodeArguments;
use rpc_core::connection::{KeepAlive, ServerConfig};

use super::Server;
use super::accept::Acceptor;
use super::connections::{ConnectionLimits, Connections};
use super::registrations::Registrations;
use crate::__private::Outcome;
use crate::boxed::{Boxed, boxed};
use crate::dispatch::{Function, InProcess, Router, RouterBuilder, Service};
use crate::error::{Error, Kind};
use crate::middleware::Interceptor;
use crate::transport::{Listener, Target, listen};

/// Collects services and settings; a mistake is reported by the method that starts the server.
///
/// Services are fixed before the server starts: there is no registration to race with calls.
#[derive(Default)]
pub struct ServerBuilder {
    router: RouterBuilder,
    codecs: Vec<Codec>,
    pub(super) registrations: Registrations,
    limits: Limits,
}

/// The numbers of a server.
#[derive(Clone, Copy, Debug)]
struct Limits {
    message_bytes_max: u32,
    streams: StreamLimits,
    streams_per_connection_max: u32,
    stream_idle_timeout: Option<Duration>,
    calls_per_connection_max: u32,
    calls_max: usize,
    connections: ConnectionLimits,
    handshake_timeout: Duration,
    keep_alive: Option<KeepAlive>,
    idle_timeout: Option<Duration>,
    age_max: Option<Duration>,
    shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: rpc_core::MESSAGE_BYTES_MAX,
            streams: StreamLimits::SHIPPED,
            streams_per_connection_max: rpc_core::STREAMS_PER_CONNECTION_MAX,
            stream_idle_timeout: None,
            calls_per_connection_max: rpc_core::CALLS_PER_CONNECTION_MAX,
            calls_max: 10_000,
            connections: ConnectionLimits {
                all_max: 10_000,
                per_ip_max: 1_000,
                handshakes_max: 256,
            },
            handshake_timeout: rpc_core::HANDSHAKE_TIMEOUT,
            keep_alive: Some(KeepAlive::SHIPPED),
            idle_timeout: Some(rpc_core::IDLE_TIMEOUT),
            age_max: None,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// A limit of zero is a mistake that its clients would have to find out.
    fn check(&self) -> Result<(), Error> {
        self.check_calls()?;
        Error::if_zero([
            (
                "calls_per_connection_max",
                self.calls_per_connection_max == 0,
            ),
            ("connections_max", self.connections.all_max == 0),
            ("connections_per_ip_max", self.connections.per_ip_max == 0),
            ("handshakes_max", self.connections.handshakes_max == 0),
            ("handshake_timeout", self.handshake_timeout.is_zero()),
            ("stream_limits", self.streams.has_zero()),
            (
                "keep_alive",
                self.keep_alive.is_some_and(KeepAlive::has_zero),
            ),
            (
                "idle_timeout",
                self.idle_timeout.is_some_and(|t| t.is_zero()),
            ),
            (
                "stream_idle_timeout",
                self.stream_idle_timeout.is_some_and(|t| t.is_zero()),
            ),
            (
                "connection_age_max",
                self.age_max.is_some_and(|t| t.is_zero()),
            ),
        ])
    }

    /// Those that hold also without connections.
    fn check_calls(&self) -> Result<(), Error> {
        Error::if_zero([
            ("message_bytes_max", self.message_bytes_max == 0),
            ("calls_max", self.calls_max == 0),
        ])
    }
}

impl ServerBuilder {
    /// Adds a service under the name of its trait.
    #[must_use]
    pub fn add_service(mut self, service: impl Service) -> Self {
        self.router.add(Arc::new(service), None);
        self
    }

    /// Adds a service under a name of its own, so that one type can serve twice.
    ///
    /// A client reaches it with
    /// [`CallOptions::with_service_name`](crate::CallOptions::with_service_name).
    #[must_use]
    pub fn add_service_as(mut self, name: &str, service: impl Service) -> Self {
        self.router.add(Arc::new(service), Some(name));
        self
    }

    /// Adds a plain function under `Service.method`; it takes its arguments as one tuple.
    ///
    /// ```
    /// # use {rpc_core::Status, rpc_runtime as rpc};
    /// let builder = rpc::Server::builder()
    ///     .add_function("Math.double", |(x,): (i64,)| async move { Ok::<_, Status>(2 * x) });
    /// ```
    #[must_use]
    pub fn add_function<H, A, F, R>(mut self, path: &'static str, handler: H) -> Self
    where
        H: Fn(A) -> F + Send + Sync + 'static,
        A: DecodeArguments + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        match Function::new(path, handler) {
            Some(function) => self.router.extend(Arc::new(function)),
            None => self.router.refuse(format!(
                "ill-formed method {path:?}: expected Service.method"
            )),
        }
        self
    }

    /// Adds code that sees every call; see [`Interceptor`].
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.router.intercept(interceptor);
        self
    }

    /// Adds a codec of the user's own to bincode and JSON.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codecs.push(codec);
        self
    }

    /// The longest request in bytes; 4 MiB unless it is said.
    #[must_use]
    pub const fn message_bytes_max(mut self, bytes: u32) -> Self {
        self.limits.message_bytes_max = bytes;
        self
    }

    /// How much of the items that clients send is accepted before it is consumed; 257 KiB of one
    /// stream and 1 MiB of all streams of a connection unless it is said, and 8 MiB beyond that for
    /// streams over a long way, which round trips would hold up otherwise.
    #[must_use]
    pub const fn stream_limits(mut self, limits: StreamLimits) -> Self {
        self.limits.streams = limits;
        self
    }

    /// How many streams there may be on one connection, in both directions; 1,024 unless it is said.
    #[must_use]
    pub const fn streams_per_connection_max(mut self, streams: u32) -> Self {
        self.limits.streams_per_connection_max = streams;
        self
    }

    /// How long the streams of a call may be without an item before the call is ended with
    /// `DeadlineExceeded`, which takes once to twice this time; for ever unless it is said.
    #[must_use]
    pub const fn stream_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.limits.stream_idle_timeout = timeout;
        self
    }

    /// How many calls may be in flight on one connection; 1,024 unless it is said.
    #[must_use]
    pub const fn calls_per_connection_max(mut self, calls: u32) -> Self {
        self.limits.calls_per_connection_max = calls;
        self
    }

    /// How many calls may be in flight on all connections together; 10,000 unless it is said.
    /// A call above the limit is refused at once as not processed.
    #[must_use]
    pub const fn calls_max(mut self, calls: usize) -> Self {
        self.limits.calls_max = calls;
        self
    }

    /// How many connections may be open; 10,000 unless it is said. A connection above the limit is
    /// refused at once, with the reason.
    #[must_use]
    pub const fn connections_max(mut self, connections: usize) -> Self {
        self.limits.connections.all_max = connections;
        self
    }

    /// How many connections one IP address may have open; 1,000 unless it is said.
    #[must_use]
    pub const fn connections_per_ip_max(mut self, connections: usize) -> Self {
        self.limits.connections.per_ip_max = connections;
        self
    }

    /// How many connections may be open whose clients have not said hello; 256 unless it is said.
    /// One more ends the oldest of them, with the reason, but not within its first second: a client
    /// says hello at once.
    #[must_use]
    pub const fn handshakes_max(mut self, connections: usize) -> Self {
        self.limits.connections.handshakes_max = connections;
        self
    }

    /// How to find out that a client has gone without a word: pings after 10 s of silence with
    /// calls in flight, and 5 s for the answer, unless it is said. `None` leaves it to the
    /// transport.
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Option<KeepAlive>) -> Self {
        self.limits.keep_alive = keep_alive;
        self
    }

    /// How long a connection may be without calls before it is closed; 5 minutes unless it is said,
    /// `None` is for ever.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How old a connection may become, give or take a tenth, before its client is asked to connect
    /// anew: so clients spread over servers that came later. For ever unless it is said.
    #[must_use]
    pub const fn connection_age_max(mut self, age: Duration) -> Self {
        self.limits.age_max = Some(age);
        self
    }

    /// How long a client may take to say hello; 5 seconds unless it is said.
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.limits.handshake_timeout = timeout;
        self
    }

    /// How long [`Server::shutdown`] waits for running calls; 10 seconds unless it is said.
    #[must_use]
    pub const fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.limits.shutdown_grace = grace;
        self
    }

    /// Listens on a target and serves. The server accepts when this returns.
    ///
    /// # Errors
    /// The target is malformed or cannot be listened on; a service is registered twice; two codecs
    /// have the same id; a limit is zero; the server cannot be entered into a directory as it is to be.
    pub fn bind(
        self,
        target: impl AsRef<str>,
    ) -> impl Future<Output = Result<Server, Error>> + Send {
        self.bind_to(target.as_ref().to_owned())
    }

    fn bind_to(self, target: String) -> Boxed<'static, Result<Server, Error>> {
        Box::pin(async move {
            let target: Target = target.parse()?;
            let parts = self.parts()?;
            let listener = listen(&target).await?;
            parts.serve(listener)
        })
    }

    /// Serves on a listener of the user's own.
    ///
    /// # Errors
    /// A service is registered twice; two codecs have the same id; a limit is zero; the server cannot
    /// be entered into a directory as it is to be.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn serve(self, listener: impl Listener) -> Result<Server, Error> {
        self.parts()?.serve(Box::new(listener))
    }

    /// The services without a server, for [`Channel::from_invoke`](crate::Channel::from_invoke).
    ///
    /// Bodies are in bincode. Of the limits, those on requests and on running calls apply.
    ///
    /// # Errors
    /// A service is registered twice; a limit is zero; they are to be entered into a directory, where
    /// nobody could reach them.
    pub fn in_process(self) -> Result<InProcess, Error> {
        self.limits.check_calls()?;
        if !self.registrations.is_empty() {
            let mistake = "services within a process cannot be entered into a directory";
            return Err(Error::new(Kind::Registration, mistake));
        }
        let router = Arc::new(self.router.build(self.limits.calls_max)?);
        Ok(InProcess::new(router, self.limits.message_bytes_max))
    }

    fn parts(self) -> Result<Parts, Error> {
        self.limits.check()?;
        self.registrations.check()?;
        let codecs = with_builtin(self.codecs)?;
        let router = self.router.build(self.limits.calls_max)?;
        let named = codecs
            .iter()
            .map(|c| (c.id().number(), c.name().to_owned()));
        let services = router.service_names().map(str::to_owned).collect();
        let mut config = ServerConfig::new(named.collect(), services);
        config.message_bytes_max = self.limits.message_bytes_max;
        config.stream_limits = self.limits.streams;
        config.streams_max = self.limits.streams_per_connection_max;
        config.stream_idle_timeout = self.limits.stream_idle_timeout;
        config.calls_max = self.limits.calls_per_connection_max;
        config.handshake_timeout = self.limits.handshake_timeout;
        config.keep_alive = self.limits.keep_alive;
        config.idle_timeout = self.limits.idle_timeout;
        Ok(Parts {
            router: Arc::new(router),
            config: Arc::new(config),
            codecs: codecs.into(),
            registrations: self.registrations,
            limits: self.limits,
        })
    }
}

/// The codecs of a server: those that come with this crate, then the user's.
fn with_builtin(custom: Vec<Codec>) -> Result<Vec<Codec>, Error> {
    let mut codecs = vec![
        Codec::Bincode,
        #[cfg(feature = "codecs")]
        Codec::Json,
    ];
    for codec in custom {
        let id = codec.id();
        if let Some(other) = codecs.iter().find(|other| other.id() == id) {
            let (ours, theirs) = (codec.name(), other.name());
            let mistake = format!("codecs {ours} and {theirs} have the same id {id}");
            return Err(Error::new(Kind::Codec, mistake));
        }
        codecs.push(codec);
    }
    Ok(codecs)
}

/// What a server is made of, once it is known to be right.
struct Parts {
    router: Arc<Router>,
    config: Arc<ServerConfig>,
    codecs: Arc<[Codec]>,
    registrations: Registrations,
    limits: Limits,
}

impl Parts {
    fn serve(self, listener: Box<dyn Listener>) -> Result<Server, Error> {
        let uri = listener.target();
        let registered = self.registrations.start(&uri)?;
        let connections = Arc::new(Connections::new(self.limits.connections));
        let acceptor = Acceptor {
            listener,
            router: self.router.clone(),
            config: self.config,
            codecs: self.codecs,
            connections: connections.clone(),
            age_max: self.limits.age_max,
        };
        Ok(Server {
            uri,
            router: self.router,
            connections,
            accepting: tokio::spawn(boxed(acceptor.run())),
            registered,
            shutdown_grace: self.limits.shutdown_grace,
        })
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("codecs", &self.codecs)
            .field("registrations", &self.registrations)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
