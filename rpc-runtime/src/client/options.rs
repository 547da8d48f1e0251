//! What a user can set, per call and per channel.

#[cfg(feature = "fleet")]
mod fleet;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::StreamLimits;
use rpc_core::connection::{ClientConfig, KeepAlive};
use rpc_core::{Codec, Metadata, MetadataError};

use super::balanced;
use super::connections::Connections;
use super::dialer::{Dialer, Terms};
use super::glance::{Glance, Hearing};
use super::invoked::Invoked;
use super::pooled;
use super::{Channel, Route, Settings};
use crate::error::Error;
use crate::invoke::Invoke;
use crate::middleware::Interceptor;
use crate::resilience::{BackoffPolicy, RetryPolicy};
use crate::transport::{Connector, Connectors, Target};

/// Options of a call. Cheap to change on a client: `client.with_timeout(..)`.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    timeout: Option<Duration>,
    wait_for_ready: bool,
    service: Option<Arc<str>>,
    metadata: Metadata,
    hash_key: Option<u64>,
    retry: Option<Arc<RetryPolicy>>,
}

impl CallOptions {
    /// No timeout, no metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a call may take, all in all: connecting, waiting for room, sending, the handler, and
    /// the way back. More than 24 hours are 24 hours. A call made by a handler ends with the
    /// deadline of the handler's own call if that is earlier.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for a server while none can be reached, until the deadline; without this, such a call
    /// fails at once.
    #[must_use]
    pub const fn with_wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = wait;
        self
    }

    /// Calls the service that is registered under this name instead of the name of its trait; see
    /// [`ServerBuilder::add_service_as`](crate::ServerBuilder::add_service_as).
    #[must_use]
    pub fn with_service_name(mut self, name: &str) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The name under which the service is called, if it is not that of its trait.
    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// Whether a call waits for a server.
    #[must_use]
    pub const fn wait_for_ready(&self) -> bool {
        self.wait_for_ready
    }

    /// Adds a pair of metadata to each call.
    ///
    /// # Errors
    /// The key or the value cannot travel.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Result<Self, MetadataError> {
        self.metadata.append(key, value)?;
        Ok(self)
    }

    /// Sends calls with the same key to the same server, if the channel balances by a policy that
    /// hashes; [`hash_key`](crate::balance::hash_key) makes a key of anything.
    #[must_use]
    pub const fn with_hash_key(mut self, key: u64) -> Self {
        self.hash_key = Some(key);
        self
    }

    /// What tells which server a call belongs to, if it was said.
    #[must_use]
    pub const fn hash_key(&self) -> Option<u64> {
        self.hash_key
    }

    /// Tries calls again by this policy instead of the channel's, if the channel balances.
    #[must_use]
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(Arc::new(policy));
        self
    }

    /// When a call is tried again, if it was said.
    #[must_use]
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.retry.as_deref()
    }

    /// How long a call may take, if it was said.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The metadata of each call.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Settings of a channel.
#[derive(Clone)]
pub struct ChannelBuilder {
    codec: Codec,
    message_bytes_max: u32,
    stream_limits: StreamLimits,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    keep_alive: Option<KeepAlive>,
    reconnect_backoff: Option<BackoffPolicy>,
    connectors: Connectors,
    settings: Settings,
    balancing: balanced::Settings,
    /// Something of that was set.
    #[cfg(feature = "fleet")]
    balances: bool,
    options: CallOptions,
}

impl Default for ChannelBuilder {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            message_bytes_max: rpc_core::MESSAGE_BYTES_MAX,
            stream_limits: StreamLimits::SHIPPED,
            connect_timeout: Self::CONNECT_TIMEOUT,
            handshake_timeout: rpc_core::HANDSHAKE_TIMEOUT,
            keep_alive: Some(KeepAlive::SHIPPED),
            reconnect_backoff: None,
            connectors: Connectors::default(),
            settings: Settings::default(),
            balancing: balanced::Settings::default(),
            #[cfg(feature = "fleet")]
            balances: false,
            options: CallOptions::default(),
        }
    }
}

impl ChannelBuilder {
    /// How long connecting may take unless it is said: 3 seconds.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    /// The codec of all bodies; the server has to have it too.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The longest message in bytes: replies that are accepted, and requests until the server has
    /// said what it accepts. 4 MiB unless it is said.
    #[must_use]
    pub const fn message_bytes_max(mut self, bytes: u32) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// How much of the items that servers send is accepted before it is consumed; 257 KiB of one
    /// stream and 1 MiB of all streams of a connection unless it is said, and 8 MiB beyond that for
    /// streams over a long way, which round trips would hold up otherwise.
    #[must_use]
    pub const fn stream_limits(mut self, limits: StreamLimits) -> Self {
        self.stream_limits = limits;
        self
    }

    /// How long connecting may take, up to the first byte sent; zero is for ever. What the server
    /// takes to answer is limited by [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to accept: 5 seconds unless it is said.
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How to find out that the server has gone without a word: pings after 10 s of silence with
    /// calls in flight, and 5 s for the answer, unless it is said. `None` leaves it to the
    /// transport.
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Option<KeepAlive>) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// The pauses between attempts to connect while the server cannot be reached: up to 100 ms at
    /// first, growing by 1.6 to 10 s, or to 4 s for each of those who serve a name, unless it is
    /// said. A server that is back is found by the next attempt.
    #[must_use]
    pub const fn reconnect_backoff(mut self, backoff: BackoffPolicy) -> Self {
        self.reconnect_backoff = Some(backoff);
        self
    }

    /// How long a connection may be without calls before it is closed; the next call connects
    /// again. For ever unless it is said. The same as `ConnectionPool::with_idle_timeout`.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.balancing.pool = self.balancing.pool.with_idle_timeout(timeout);
        self
    }

    /// How long a call may take if neither the caller nor its method says.
    #[must_use]
    pub const fn default_timeout(mut self, timeout: Duration) -> Self {
        self.settings.default_timeout = Some(timeout);
        self
    }

    /// Adds code that sees every call; see [`Interceptor`].
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// The options of all calls that have none of their own.
    #[must_use]
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// A limit of zero is a mistake that each call would have to find out.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Error::if_zero([
            ("message_bytes_max", self.message_bytes_max == 0),
            ("handshake_timeout", self.handshake_timeout.is_zero()),
            ("stream_limits", self.stream_limits.has_zero()),
            (
                "keep_alive",
                self.keep_alive.is_some_and(KeepAlive::has_zero),
            ),
        ])?;
        self.balancing.pool.check()
    }

    /// A channel that connects with a connector of the user's own when it is first used. A limit of
    /// zero is not refused here, but fails the calls that it meets.
    #[must_use]
    pub fn with_connector(mut self, connector: Arc<dyn Connector>) -> Channel {
        let mut dialer = Dialer::new(connector, Arc::new(self.terms()));
        if !self.settings.interceptors.is_empty() {
            let glance = self.settings.glance.insert(Glance::new());
            dialer = dialer.heard_by(Hearing::new(glance.clone()));
        }
        let route = pooled::route(dialer, self.balancing.pool);
        Channel::new(route, self.settings, self.options)
    }

    /// Connects to places in a way of the user's own, be they targets or the servers of a name:
    /// through a proxy, or within a simulation. Asked with a target URI, `tcp://host:port`; what it
    /// gives no connector for is connected to as usual.
    #[must_use]
    pub fn connectors(
        mut self,
        make: impl Fn(&str) -> Option<Arc<dyn Connector>> + Send + Sync + 'static,
    ) -> Self {
        self.connectors = Connectors::new(make);
        self
    }

    /// The connector for a target.
    pub(crate) fn connector(&self, target: &Target) -> Arc<dyn Connector> {
        self.connectors.of(target)
    }

    fn terms(&self) -> Terms {
        let mut config = ClientConfig::new(self.codec.id().number());
        config.message_bytes_max = self.message_bytes_max;
        config.stream_limits = self.stream_limits;
        config.handshake_timeout = self.handshake_timeout;
        config.keep_alive = self.keep_alive;
        config.idle_timeout = self.balancing.pool.idle_timeout();
        Terms {
            config,
            codec: self.codec.clone(),
            connect_timeout: self.connect_timeout,
            reconnect_backoff: self.reconnect_backoff,
            connectors: self.connectors.clone(),
            connections: Connections::default(),
        }
    }

    /// A channel whose calls are answered by `invoke`; the settings of connections do not matter.
    #[must_use]
    pub fn with_invoke(self, invoke: impl Invoke) -> Channel {
        let route = Route::Invoked(Box::new(Invoked::new(invoke)));
        Channel::new(route, self.settings, self.options)
    }
}

impl fmt::Debug for ChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBuilder")
            .field("codec", &self.codec)
            .field("settings", &self.settings)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
