//! The serving side: listens, accepts, keeps count, shuts down.

mod accept;
mod builder;
mod connection;
mod connections;
mod conversation;
mod orphans;
mod parked;
#[cfg(feature = "fleet")]
mod registrations;
#[cfg(not(feature = "fleet"))]
#[path = "server/unregistered.rs"]
mod registrations;
mod together;
mod work;

pub use builder::ServerBuilder;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc_core::ServiceDescriptor;
use tokio::task::JoinHandle;

use crate::boxed::Boxed;
use crate::dispatch::{MethodStats, Router};
use crate::log;
use connections::Connections;
use registrations::Registered;

/// A server that runs. Dropping it stops it at once; [`shutdown`](Self::shutdown) stops it gently.
pub struct Server {
    uri: String,
    router: Arc<Router>,
    connections: Arc<Connections>,
    accepting: JoinHandle<()>,
    registered: Registered,
    shutdown_grace: Duration,
}

impl Server {
    /// A server to be set up.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where clients reach this server, with the real port.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The services: the name each is registered under, and its descriptor.
    pub fn services(&self) -> impl Iterator<Item = (&str, &'static ServiceDescriptor)> {
        self.router.services()
    }

    /// What happened to the calls of each method so far, sorted by `Service.method`.
    #[must_use]
    pub fn stats(&self) -> Vec<MethodStats> {
        self.router.stats()
    }

    /// What happened to the calls of one `Service.method`.
    #[must_use]
    pub fn method_stats(&self, path: &str) -> Option<MethodStats> {
        self.stats().into_iter().find(|stats| stats.path == path)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// What the server is doing, and what it has refused so far.
    #[must_use]
    pub fn load(&self) -> ServerLoad {
        let admission = self.router.admission();
        ServerLoad {
            connections: self.connections.len(),
            connections_refused: self.connections.refused(),
            calls_in_flight: admission.running(),
            calls_refused: admission.refused(),
        }
    }

    /// Serves until a signal comes, then shuts down gently; a second signal ends it at once.
    ///
    /// `signal` is asked for a future before each wait, for example `tokio::signal::ctrl_c`.
    pub async fn serve_until<S, F>(self, mut signal: S)
    where
        S: FnMut() -> F,
        F: Future,
    {
        signal().await;
        let connections = self.connections.clone();
        let mut shutdown = pin!(self.shutdown());
        let mut second = pin!(signal());
        poll_fn(|cx| {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            second.as_mut().poll(cx).map(drop)
        })
        .await;
        connections.abandon();
    }

    /// Stops gently: leaves the directories it is registered in, accepts no more connections, tells
    /// its clients to make no more calls, takes those that are on their way, lets the running calls
    /// finish, closes. Oneway calls that outlived their connection are running calls as well.
    ///
    /// A directory that does not answer holds it up for 2 s.
    /// Ready when all of that is done; after the grace period (10 s unless it was set) those
    /// connections that are left are closed with their calls unanswered. Dropping the future before
    /// stops at once.
    pub async fn shutdown(self) {
        self.stop().await;
    }

    fn stop(self) -> Boxed<'static, ()> {
        Box::pin(self.drain())
    }

    async fn drain(mut self) {
        // First of all: whoever looks now is sent to another server.
        std::mem::take(&mut self.registered).leave().await;
        self.accepting.abort();
        // Ready once the listener is dropped and its address is free.
        let _ = (&mut self.accepting).await;
        self.connections.drain();
        let drained = self.connections.wait_until_empty();
        if tokio::time::timeout(self.shutdown_grace, drained)
            .await
            .is_err()
        {
            log::warn!(
                connections = self.connections.len(),
                "shutdown grace is over; closing connections with calls in flight"
            );
            self.connections.abandon();
            self.connections.wait_until_empty().await;
        }
    }
}

/// What a server is doing. It queues no calls: each runs at once or is refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLoad {
    /// Connections that are open; those that are being turned away do not count.
    pub connections: usize,
    /// Connections turned away so far because of a limit.
    pub connections_refused: u64,
    /// Calls that run.
    pub calls_in_flight: usize,
    /// Calls refused so far because too many were in flight, on the server or on a connection.
    pub calls_refused: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.connections.abandon();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("uri", &self.uri)
            .field("router", &self.router)
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}
