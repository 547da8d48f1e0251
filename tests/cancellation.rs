//! Giving up a call stops its work everywhere, and disturbs nobody.

#[path = "cancellation/causes.rs"]
mod causes;
#[path = "cancellation/chain.rs"]
mod chain;
mod common;
#[path = "cancellation/places.rs"]
mod places;
#[path = "cancellation/polls.rs"]
mod polls;

use std::sync::Arc;
use std::time::Duration;

use rpc::{Channel, Context, InCurrentContext, Server, ServerBuilder, Status};

use common::{Count, Wires, network};

#[rpc::service]
trait Work {
    async fn echo(&self, number: u64) -> rpc::Result<u64>;
    /// Never returns.
    async fn hang(&self) -> rpc::Result<()>;
    async fn pause(&self, millis: u64) -> rpc::Result<()>;
    /// Waits so many times for nothing.
    async fn steps(&self, steps: u64) -> rpc::Result<()>;
    /// Computes without waiting.
    async fn grind(&self, millis: u64) -> rpc::Result<()>;
    /// Leaves work behind that waits for the end of the call; then hangs, or returns.
    async fn spawn(&self, returns: bool) -> rpc::Result<()>;
    /// Hangs, and panics when it is stopped.
    async fn hang_badly(&self) -> rpc::Result<()>;
}

/// What handlers leave behind.
#[derive(Clone, Default)]
struct Worker {
    started: Count,
    stopped: Count,
    /// Spawned work that learned of the end of its call.
    told: Count,
}

struct Panics;
impl Drop for Panics {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a secret in Drop");
        }
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Work for Worker {
    async fn echo(&self, number: u64) -> rpc::Result<u64> {
        Ok(number)
    }
    async fn hang(&self) -> rpc::Result<()> {
        self.started.add();
        let _stopped = self.stopped.on_drop();
        std::future::pending().await
    }
    async fn pause(&self, millis: u64) -> rpc::Result<()> {
        self.started.add();
        tokio::time::sleep(ms(millis)).await;
        Ok(())
    }
    async fn steps(&self, steps: u64) -> rpc::Result<()> {
        self.started.add();
        let _stopped = self.stopped.on_drop();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    async fn grind(&self, millis: u64) -> rpc::Result<()> {
        self.started.add();
        std::thread::sleep(ms(millis));
        Ok(())
    }
    async fn spawn(&self, returns: bool) -> rpc::Result<()> {
        let told = self.told.clone();
        let work = async move {
            Context::current().cancelled().await;
            told.add();
        };
        tokio::spawn(work.in_current_context());
        if returns {
            return Ok(());
        }
        self.hang().await
    }
    async fn hang_badly(&self) -> rpc::Result<()> {
        self.started.add();
        let (_first, _second) = (self.stopped.on_drop(), Panics);
        std::future::pending().await
    }
}

fn builder(worker: &Worker) -> ServerBuilder {
    Server::builder().add_service(WorkServer::new(worker.clone()))
}

/// A client over a network in memory, connected.
async fn pair(builder: ServerBuilder) -> (WorkClient, Wires, Server) {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder.serve(exchange).unwrap();
    let channel = Channel::builder().with_connector(Arc::new(wires.clone()));
    let client = WorkClient::new(channel);
    client.echo(0).await.unwrap();
    (client, wires, server)
}

/// Calls once each, spawned.
fn spawn_each<F>(calls: impl IntoIterator<Item = F>) -> Vec<tokio::task::JoinHandle<()>>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let drop_result = |call: F| tokio::spawn(async move { drop(call.await) });
    calls.into_iter().map(drop_result).collect()
}
