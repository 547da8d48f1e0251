//! The calling side: a channel to a service, its options, its connections.

mod attempt;
#[cfg(feature = "fleet")]
mod balanced;
#[cfg(not(feature = "fleet"))]
#[path = "client/unbalanced.rs"]
mod balanced;
mod call;
mod connection;
mod connections;
mod dialer;
mod general;
mod glance;
mod intercepted;
mod invoked;
mod letterbox;
mod line;
mod near;
mod opening;
mod options;
mod pickup;
#[cfg(feature = "fleet")]
mod pool;
#[cfg(feature = "fleet")]
mod pooled;
#[cfg(not(feature = "fleet"))]
#[path = "client/unpooled.rs"]
mod pooled;
mod remote;
mod resend;
#[cfg(test)]
mod schedules;
mod slot;
mod stats;
mod streams;
mod unary;
mod waiters;
mod woken;

#[cfg(feature = "fleet")]
pub use balanced::{IntoPolicy, Resilience};
use call::MethodRef;
pub(crate) use general::exchange;
pub use options::{CallOptions, ChannelBuilder};
#[cfg(feature = "fleet")]
pub use pool::ConnectionPool;
pub(crate) use slot::Answer;
use slot::Failure;
pub use stats::{ChannelStats, ConnectionStats, EndpointStats};
use unary::Tried;
pub(crate) use unary::{Decode, UnaryCall};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rpc_core::codec::EncodeArguments;
use rpc_core::{Codec, MetadataError, Status};
use serde_core::de::DeserializeOwned;

use crate::boxed::Boxed;
use crate::error::Error;
use crate::invoke::Invoke;
use crate::middleware::Interceptors;
use balanced::{Balanced, Endpoint};
use glance::Glance;
use invoked::Answers;
use near::Near;
use pooled::Pooled;
use remote::Remote;

/// Where calls go: a cheap handle that typed clients share.
///
/// A channel to a server connects when it is first used, multiplexes any number of concurrent calls
/// on its connection, and connects again after the connection was lost.
///
/// Dropping the future of a call gives the call up: the server is told to stop its handler, and a
/// late answer is dropped. A call that was not sent yet is never sent.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
    options: Arc<CallOptions>,
    near: Near,
}

/// What all clones of a channel share.
#[derive(Debug)]
struct Inner {
    route: Route,
    /// That of the route, at hand for each call.
    codec: Codec,
    settings: Settings,
}

/// What applies to every call of a channel.
#[derive(Clone, Default)]
struct Settings {
    interceptors: Interceptors,
    default_timeout: Option<Duration>,
    /// One look at the clock for calls that interceptors see, if there is one connection.
    glance: Option<Arc<Glance>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("interceptors", &self.interceptors.len())
            .field("default_timeout", &self.default_timeout)
            .finish()
    }
}

#[derive(Debug)]
enum Route {
    Remote(Box<Remote>),
    Pooled(Pooled),
    Balanced(Arc<Balanced>),
    /// One of those of a channel that balances.
    One(Arc<Balanced>, Arc<Endpoint>),
    Invoked(Box<dyn Answers>),
}

impl Route {
    fn codec(&self) -> &Codec {
        match self {
            Self::Remote(remote) => remote.codec(),
            Self::Pooled(pooled) => pooled.codec(),
            Self::Balanced(balanced) | Self::One(balanced, _) => balanced.codec(),
            Self::Invoked(invoked) => invoked.codec(),
        }
    }
}

impl Channel {
    /// A channel with settings of its own.
    #[must_use]
    pub fn builder() -> ChannelBuilder {
        ChannelBuilder::default()
    }

    /// A channel whose calls are answered by `invoke`: a server in this process, or a test double.
    #[must_use]
    pub fn from_invoke(invoke: impl Invoke) -> Self {
        Self::builder().with_invoke(invoke)
    }

    fn new(route: Route, settings: Settings, options: CallOptions) -> Self {
        let codec = route.codec().clone();
        let inner = Inner {
            route,
            codec,
            settings,
        };
        Self {
            inner: Arc::new(inner),
            options: Arc::new(options),
            near: Near::default(),
        }
    }

    /// True while a connection is open that takes calls. Without one, the next call connects.
    #[must_use]
    pub fn is_available(&self) -> bool {
        match &self.inner.route {
            Route::Remote(remote) => remote.is_available(),
            Route::Pooled(pooled) => pooled.pool.is_connected(),
            Route::Balanced(balanced) => balanced.is_available(),
            Route::One(_, endpoint) => endpoint.pool.is_connected(),
            Route::Invoked(_) => true,
        }
    }

    /// Closes the channel and its clones: open calls fail at once, and neither later calls nor those
    /// that still waited to be written, oneway calls among them, are sent.
    ///
    /// Closing twice is closing once. Dropping the last clone closes the connection as well, but
    /// only when the last call on it has ended.
    pub fn close(&self) {
        match &self.inner.route {
            Route::Remote(remote) => remote.close(),
            Route::Pooled(pooled) => pooled.close(),
            Route::Balanced(balanced) | Route::One(balanced, _) => balanced.close(),
            Route::Invoked(_) => {}
        }
    }

    /// What the channel has done so far, and how its servers fare; of one that does not balance, its
    /// connections.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        match &self.inner.route {
            Route::Balanced(balanced) | Route::One(balanced, _) => balanced.stats(),
            Route::Remote(remote) => ChannelStats::of(remote.stats()),
            Route::Pooled(pooled) => ChannelStats::of(pooled.pool.stats()),
            Route::Invoked(_) => ChannelStats::default(),
        }
    }

    /// A channel to each of the servers that are listed now, for [`many`](crate::many): each shares
    /// its server's connection with this one, and makes one attempt for a call. Waits for the first
    /// list; a channel that does not balance gives itself.
    ///
    /// # Errors
    /// The name cannot be resolved, or the channel is closed.
    pub async fn each(&self) -> Result<Vec<Self>, Status> {
        let Route::Balanced(balanced) = &self.inner.route else {
            return Ok(vec![self.clone()]);
        };
        let endpoints = balanced.endpoints().await?.into_iter();
        let one = |endpoint| Self {
            inner: Arc::new(Inner {
                route: Route::One(balanced.clone(), endpoint),
                codec: self.inner.codec.clone(),
                settings: self.inner.settings.clone(),
            }),
            options: self.options.clone(),
            near: Near::default(),
        };
        Ok(endpoints.map(one).collect())
    }

    /// True if it chooses one of several servers for each call.
    #[inline]
    pub(crate) fn balances(&self) -> bool {
        matches!(self.inner.route, Route::Balanced(_))
    }

    /// Waits until there is a connection.
    pub(crate) fn ready(&self) -> Boxed<'_, Result<(), Error>> {
        match &self.inner.route {
            Route::Remote(remote) => Box::pin(remote.connect()),
            Route::Pooled(pooled) => Box::pin(pooled.pool.connect()),
            Route::Balanced(balanced) => Box::pin(balanced.connect()),
            Route::One(..) | Route::Invoked(_) => Box::pin(std::future::ready(Ok(()))),
        }
    }

    /// The same channel with other options for its calls. It shares the connection.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self {
            inner: self.inner.clone(),
            options: Arc::new(options),
            near: self.near.clone(),
        }
    }

    /// The options of the calls on this channel.
    #[must_use]
    pub fn options(&self) -> &CallOptions {
        &self.options
    }

    /// The same channel whose calls may take this long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.with_options(CallOptions::clone(&self.options).with_timeout(timeout))
    }

    /// The same channel whose calls carry one more pair of metadata.
    ///
    /// # Errors
    /// The key or the value cannot travel.
    pub fn with_metadata(&self, key: &str, value: &str) -> Result<Self, MetadataError> {
        let options = CallOptions::clone(&self.options).with_metadata(key, value)?;
        Ok(self.with_options(options))
    }

    /// The codec of the bodies on this channel.
    #[inline]
    #[must_use]
    pub fn codec(&self) -> &Codec {
        &self.inner.codec
    }

    /// Calls `Service.method` with arguments that are encoded already, and gives the encoded reply.
    ///
    /// Both are in the [`codec`](Self::codec) of the channel: in bincode the arguments one after the
    /// other, in JSON an object with their names.
    ///
    /// # Errors
    /// As a typed call; `InvalidArgument` if the path has no dot.
    pub async fn call_raw(
        &self,
        path: &str,
        arguments: impl AsRef<[u8]> + Send + Sync,
    ) -> Result<Bytes, Status> {
        let method = MethodRef::parse(path)?;
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(arguments.as_ref());
            Ok(())
        };
        let reply = self.exchange(method, false, &append).await;
        let reply = reply.map_err(Failure::into_status)?;
        Ok(reply.body.into_bytes())
    }

    /// Calls `Service.method` by name, with a tuple of references as arguments.
    ///
    /// The names of the arguments are not known here: with the JSON codec they travel as an array.
    ///
    /// # Errors
    /// As a typed call; `InvalidArgument` if the path has no dot.
    pub async fn call<A, T>(&self, path: &str, arguments: &A) -> Result<T, Status>
    where
        A: EncodeArguments + Sync + ?Sized,
        T: DeserializeOwned + Send + 'static,
    {
        let method = MethodRef::parse(path)?;
        let codec = self.codec();
        let encode = |out: &mut Vec<u8>| codec.encode_arguments(&[], arguments, out);
        let reply = self.exchange(method, false, &encode).await;
        let reply = reply.map_err(Failure::into_status)?;
        self.decode_reply(method.service, method.name, reply)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("inner", &self.inner)
            .field("options", &self.options)
            .finish()
    }
}
