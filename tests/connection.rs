//! Connections that are cut, crowded, abused or shut down.

#[path = "connection/accepting.rs"]
mod accepting;
#[path = "connection/buffered.rs"]
mod buffered;
#[path = "connection/calls.rs"]
mod calls;
mod common;
#[path = "connection/crowds.rs"]
mod crowds;
#[path = "connection/cuts.rs"]
mod cuts;
#[path = "connection/ending.rs"]
mod ending;
#[path = "connection/hijack.rs"]
mod hijack;
#[path = "connection/oneway.rs"]
mod oneway;
#[path = "connection/panics.rs"]
mod panics;
#[path = "connection/reports.rs"]
mod reports;
#[path = "connection/room.rs"]
mod room;
#[path = "connection/shutdown.rs"]
mod shutdown;
#[path = "connection/slow.rs"]
mod slow;
#[path = "connection/strangers.rs"]
mod strangers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpc::{Server, ServerBuilder, Status};
use tokio::sync::Semaphore;

#[rpc::service]
trait Work {
    async fn echo(&self, nonce: u64, padding: Vec<u8>) -> rpc::Result<(u64, Vec<u8>)>;
    async fn fail(&self, nonce: u64) -> rpc::Result<()>;
    /// Waits until the test lets one more go.
    async fn wait(&self, nonce: u64) -> rpc::Result<u64>;
    /// As `wait`, for nobody.
    #[rpc(oneway)]
    async fn wait_alone(&self, nonce: u64) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn swallow(&self, bytes: &[u8]) -> rpc::Result<()>;
}

#[derive(Clone)]
struct Worker {
    /// Handlers of `wait` that have begun, and those that were dropped before their end.
    waiting: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    swallowed: Arc<AtomicU64>,
    go: Arc<Semaphore>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            waiting: Arc::default(),
            dropped: Arc::default(),
            swallowed: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

struct CountDrop(Option<Arc<AtomicU64>>);
impl Drop for CountDrop {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Work for Worker {
    async fn echo(&self, nonce: u64, padding: Vec<u8>) -> rpc::Result<(u64, Vec<u8>)> {
        if nonce.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        Ok((nonce, padding))
    }
    async fn fail(&self, nonce: u64) -> rpc::Result<()> {
        Err(Status::aborted(nonce.to_string()))
    }
    async fn wait(&self, nonce: u64) -> rpc::Result<u64> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = CountDrop(Some(self.dropped.clone()));
        let permit = self.go.acquire().await;
        permit
            .map_err(|e| Status::internal(e.to_string()))?
            .forget();
        guard.0 = None;
        Ok(nonce)
    }
    async fn wait_alone(&self, nonce: u64) -> rpc::Result<()> {
        self.wait(nonce).await?;
        self.swallow(&[1]).await
    }
    async fn swallow(&self, bytes: &[u8]) -> rpc::Result<()> {
        self.swallowed
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

impl Worker {
    fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::SeqCst)
    }
    fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::SeqCst)
    }
}

fn builder(worker: &Worker) -> ServerBuilder {
    Server::builder().add_service(WorkServer::new(worker.clone()))
}

/// A client whose damaged or counted wires lead to a server.
fn pair(
    builder: ServerBuilder,
    damage: impl Fn(usize, common::Ends) -> common::Ends + Send + Sync + 'static,
) -> (WorkClient, common::Wires, Server) {
    let (wires, exchange) = common::network(damage);
    let server = builder.serve(exchange).unwrap();
    let channel = rpc::Channel::builder().with_connector(Arc::new(wires.clone()));
    (WorkClient::new(channel), wires, server)
}
