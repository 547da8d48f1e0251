//! The life of a channel and of a server: close, reconnect, keep-alive, drain, limits, secrets.

#[path = "lifecycle/closing.rs"]
mod closing;
mod common;
#[path = "lifecycle/draining.rs"]
mod draining;
#[path = "lifecycle/limits.rs"]
mod limits;
#[path = "lifecycle/reconnecting.rs"]
mod reconnecting;
#[path = "lifecycle/secrets.rs"]
mod secrets;
#[path = "lifecycle/silence.rs"]
mod silence;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Connector, Duplex};
use rpc::{CallOptions, Channel, Server, ServerBuilder, Status, Streaming, async_trait};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use common::{Count, Wires, network};

#[rpc::service]
trait Work {
    async fn echo(&self, number: u64) -> rpc::Result<u64>;
    async fn pause(&self, millis: u64) -> rpc::Result<u64>;
    /// Waits until the test lets one more go.
    async fn wait(&self) -> rpc::Result<()>;
    async fn panic(&self, text: String) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self) -> rpc::Result<()>;
    async fn sum(&self, numbers: Streaming<u64>) -> rpc::Result<u64>;
}

#[derive(Clone)]
struct Worker {
    started: Count,
    stopped: Count,
    go: Arc<Semaphore>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            started: Count::default(),
            stopped: Count::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Work for Worker {
    async fn echo(&self, number: u64) -> rpc::Result<u64> {
        self.started.add();
        Ok(number)
    }
    async fn pause(&self, millis: u64) -> rpc::Result<u64> {
        self.started.add();
        tokio::time::sleep(ms(millis)).await;
        Ok(millis)
    }
    async fn wait(&self) -> rpc::Result<()> {
        self.started.add();
        let _stopped = self.stopped.on_drop();
        let permit = self.go.acquire().await;
        permit
            .map_err(|e| Status::internal(e.to_string()))?
            .forget();
        Ok(())
    }
    async fn panic(&self, text: String) -> rpc::Result<()> {
        panic!("{text}");
    }
    async fn note(&self) -> rpc::Result<()> {
        self.started.add();
        Ok(())
    }
    async fn sum(&self, mut numbers: Streaming<u64>) -> rpc::Result<u64> {
        self.started.add();
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn builder(worker: &Worker) -> ServerBuilder {
    Server::builder().add_service(WorkServer::new(worker.clone()))
}

fn client(connector: impl Connector) -> WorkClient {
    WorkClient::new(Channel::builder().with_connector(Arc::new(connector)))
}

/// A client over a network in memory.
fn pair(builder: ServerBuilder) -> (WorkClient, Wires, Server) {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder.serve(exchange).unwrap();
    (client(wires.clone()), wires, server)
}

/// The same client, for calls that wait for a server.
fn patient(client: &WorkClient) -> WorkClient {
    client.with_options(CallOptions::new().with_wait_for_ready(true))
}

/// An address at which servers come and go; keeps a record of the attempts to connect.
#[derive(Clone, Debug, Default)]
struct Address {
    server: Arc<Mutex<Option<Wires>>>,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Address {
    /// Starts a server here; the one before is not reached any more.
    fn start(&self, builder: ServerBuilder) -> Server {
        let (wires, exchange) = network(|_, ends| ends);
        *self.server.lock().unwrap() = Some(wires);
        builder.serve(exchange).unwrap()
    }
    fn clear(&self) {
        *self.server.lock().unwrap() = None;
    }
    fn attempts(&self) -> Vec<Instant> {
        self.attempts.lock().unwrap().clone()
    }
}

#[async_trait]
impl Connector for Address {
    async fn connect(&self) -> io::Result<Duplex> {
        self.attempts.lock().unwrap().push(Instant::now());
        let server = self.server.lock().unwrap().clone();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        server.ok_or_else(refused)?.connect().await
    }
    fn target(&self) -> String {
        "test://address".into()
    }
}

#[track_caller]
fn assert_unavailable(status: &Status) {
    assert_eq!(status.code(), rpc::Code::Unavailable, "{status:?}");
}
