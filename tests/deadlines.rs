//! Deadlines: who sets them, where they hold, what is left on the next hop, what they leave behind.

mod common;
#[path = "deadlines/places.rs"]
mod places;
#[path = "deadlines/storms.rs"]
mod storms;
#[path = "deadlines/terms.rs"]
mod terms;

use std::sync::Arc;
use std::time::Duration;

use rpc::{Channel, ChannelBuilder, Code, Context, Server, ServerBuilder, Status};

use common::{Count, Wires, network};

#[rpc::service]
trait Timed {
    /// What is left when the handler starts.
    async fn left(&self) -> rpc::Result<Option<Duration>>;
    #[rpc(timeout = "500ms")]
    async fn left_of_500(&self) -> rpc::Result<Option<Duration>>;
    /// Never returns.
    async fn hang(&self) -> rpc::Result<()>;
    /// Takes a while.
    async fn pause(&self, millis: u64) -> rpc::Result<()>;
    /// Computes without waiting.
    async fn grind(&self, millis: u64) -> rpc::Result<()>;
    async fn length(&self, bytes: &[u8]) -> rpc::Result<usize>;
    async fn zeros(&self, count: usize) -> rpc::Result<Vec<u8>>;
}

#[derive(Clone, Default)]
struct Clock {
    started: Count,
    stopped: Count,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Timed for Clock {
    async fn left(&self) -> rpc::Result<Option<Duration>> {
        self.started.add();
        Ok(Context::current().remaining())
    }
    async fn left_of_500(&self) -> rpc::Result<Option<Duration>> {
        self.left().await
    }
    async fn hang(&self) -> rpc::Result<()> {
        self.started.add();
        let _stopped = self.stopped.on_drop();
        std::future::pending().await
    }
    async fn pause(&self, millis: u64) -> rpc::Result<()> {
        self.started.add();
        let _stopped = self.stopped.on_drop();
        tokio::time::sleep(ms(millis)).await;
        Ok(())
    }
    async fn grind(&self, millis: u64) -> rpc::Result<()> {
        self.started.add();
        // Stands for a computation: the handler does not let others run.
        std::thread::sleep(ms(millis));
        Ok(())
    }
    async fn length(&self, bytes: &[u8]) -> rpc::Result<usize> {
        self.started.add();
        Ok(bytes.len())
    }
    async fn zeros(&self, count: usize) -> rpc::Result<Vec<u8>> {
        self.started.add();
        Ok(vec![0; count])
    }
}

fn builder(clock: &Clock) -> ServerBuilder {
    Server::builder().add_service(TimedServer::new(clock.clone()))
}

/// A channel over a network in memory that does no damage.
fn pair(clock: &Clock, channel: ChannelBuilder) -> (TimedClient, Wires, Server) {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(clock).serve(exchange).unwrap();
    let channel: Channel = channel.with_connector(Arc::new(wires.clone()));
    (TimedClient::new(channel), wires, server)
}

/// The one code for time that ran out.
#[track_caller]
fn assert_overdue(status: &Status) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}
