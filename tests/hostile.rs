//! Peers that do harm: slowly, in floods, by silence, by not reading, by hanging up in the middle.

mod common;
#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/cuts.rs"]
mod cuts;
#[path = "hostile/floods.rs"]
mod floods;
#[path = "hostile/readers.rs"]
mod readers;
#[path = "hostile/servers.rs"]
mod servers;
#[path = "hostile/silence.rs"]
mod silence;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use common::{Exchange, Wires, process, raw, soon};
use rpc::{Channel, MethodId, Server, ServerBuilder, Streaming};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

#[rpc::service]
trait Work {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64>;
    /// As many bytes, at once.
    async fn many(&self, bytes: u64) -> rpc::Result<Vec<u8>>;
    /// As many bytes, after the handler had to wait.
    async fn later(&self, bytes: u64) -> rpc::Result<Vec<u8>>;
    async fn take(&self, bytes: &[u8]) -> rpc::Result<u64>;
    /// Never answers.
    async fn wait(&self) -> rpc::Result<()>;
    /// Items of 64 KiB without end.
    async fn flow(&self) -> rpc::Result<Streaming<Vec<u8>>>;
    /// Reads all items.
    async fn fill(&self, items: Streaming<Vec<u8>>) -> rpc::Result<()>;
}

fn endless() -> Streaming<Vec<u8>> {
    Streaming::new(futures_util::stream::repeat_with(|| vec![7; 64 * 1024]))
}

#[derive(Clone, Default)]
struct Worker {
    /// Handlers of `wait` that run.
    waiting: Arc<AtomicU64>,
    /// Handlers of `wait` that ever ran at the same time.
    waiting_most: Arc<AtomicU64>,
    /// How often `echo` was called with what.
    echoed: Arc<Mutex<HashMap<u64, u32>>>,
}

struct Leave<'a>(&'a AtomicU64);
impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Work for Worker {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64> {
        *self.echoed.lock().unwrap().entry(nonce).or_default() += 1;
        Ok(nonce)
    }
    async fn many(&self, bytes: u64) -> rpc::Result<Vec<u8>> {
        Ok(vec![7; bytes as usize])
    }
    async fn later(&self, bytes: u64) -> rpc::Result<Vec<u8>> {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        Ok(vec![7; bytes as usize])
    }
    async fn take(&self, bytes: &[u8]) -> rpc::Result<u64> {
        Ok(bytes.len() as u64)
    }
    async fn wait(&self) -> rpc::Result<()> {
        let waiting = self.waiting.fetch_add(1, SeqCst) + 1;
        let _leave = Leave(&self.waiting);
        self.waiting_most.fetch_max(waiting, SeqCst);
        std::future::pending().await
    }
    async fn flow(&self) -> rpc::Result<Streaming<Vec<u8>>> {
        Ok(endless())
    }
    async fn fill(&self, mut items: Streaming<Vec<u8>>) -> rpc::Result<()> {
        while let Some(item) = items.next().await {
            item?;
        }
        Ok(())
    }
}

fn builder(worker: &Worker) -> ServerBuilder {
    Server::builder()
        .add_service(WorkServer::new(worker.clone()))
        .connections_per_ip_max(2_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the other tests"]
async fn serving() {
    if let Some((target, _)) = process::role() {
        process::serve(builder(&Worker::default()), &target).await;
    }
}

fn method(name: &str) -> u32 {
    MethodId::of("Work", name).number()
}

/// The header of a frame that is no request.
fn header(kind: u8, call: u32, length: u32) -> Vec<u8> {
    let mut header = raw::request(call, 0, 0, length);
    header[8] = kind;
    header
}

const RESPONSE: u8 = 2;
const PING: u8 = 8;
const PONG: u8 = 9;
const GO_AWAY: u8 = 10;
const UNKNOWN: u8 = 99;

/// Says hello and reads the ack; its bytes are given back.
async fn open(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Vec<u8> {
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, rest) = raw::read_ack(stream).await;
    assert_eq!(fixed[5], 0, "accepted");
    [&fixed[..], &rest].concat()
}

async fn opened(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    open(&mut stream).await;
    stream
}

/// A server on TCP and its address.
async fn served(builder: ServerBuilder) -> (Server, String) {
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap().to_owned();
    (server, address)
}

/// The bytes with which a server of this kind accepts.
async fn ack() -> Vec<u8> {
    let (wires, exchange) = common::network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    soon(async { open(&mut wires.dial().await).await }).await
}

/// A client whose connections a test answers itself.
fn alone() -> (WorkClient, Wires, Exchange) {
    let (wires, exchange) = common::network(|_, ends| ends);
    let channel = Channel::builder().with_connector(Arc::new(wires.clone()));
    (WorkClient::new(channel), wires, exchange)
}

/// What the peer says before it closes.
async fn last_words(stream: &mut (impl AsyncRead + Unpin)) -> String {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
