//! The serving side: listens, accepts, keeps count, shuts down.

mod accept;
mod builder;
mod connection;
mod connections;

pub use builder::ServerBuilder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::ServiceDescriptor;
use tokio::task::JoinHandle;

use crate::dispatch::{MethodStats, Router};
use connections::Connections;

/// A server that runs. Dropping it stops it at once; [`shutdown`](Self::shutdown) stops it gently.
pub struct Server {
    uri: String,
    router: Arc<Router>,
    connections: Arc<Connections>,
    accepting: JoinHandle<()>,
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

    /// Stops gently: accepts no more connections and calls, lets the running calls finish, closes.
    ///
    /// Ready when all connections are closed; after the grace period (10 s unless it was set) those
    /// that are left are closed with their calls unanswered.
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        // Ready once the listener is dropped and its address is free.
        let _ = (&mut self.accepting).await;
        self.connections.drain();
        let drained = self.connections.wait_until_empty();
        if tokio::time::timeout(self.shutdown_grace, drained)
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections.len(),
                "shutdown grace is over; closing connections with calls in flight"
            );
            self.connections.abandon();
            self.connections.wait_until_empty().await;
        }
    }
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
