//! What an idle connection costs a server. Alone in its file: the server is a process of its own.

mod common;

use std::future::ready;
use std::hint::black_box;

use common::process::{self, Process, Role};
use common::raw;
use rpc::{MethodId, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The most bytes of server memory that an idle connection may take.
const BYTES_MAX: usize = 4096;

/// So many numbers make a handler that is just short enough for an idle connection: of 504 bytes.
const HELD: usize = 52;
/// And so many one that is too long for it.
const HELD_BRIEFLY: usize = 256;

#[rpc::service]
trait Work {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64>;
    async fn pause(&self, nonce: u64) -> rpc::Result<u64>;
    async fn hold(&self, nonce: u64) -> rpc::Result<u64>;
    async fn hold_briefly(&self, nonce: u64) -> rpc::Result<u64>;
}

struct Worker;
impl Work for Worker {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64> {
        Ok(nonce)
    }
    async fn pause(&self, nonce: u64) -> rpc::Result<u64> {
        tokio::task::yield_now().await;
        Ok(nonce)
    }
    async fn hold(&self, nonce: u64) -> rpc::Result<u64> {
        let held = [nonce; HELD];
        ready(()).await;
        Ok(black_box(&held)[0])
    }
    async fn hold_briefly(&self, nonce: u64) -> rpc::Result<u64> {
        let held = [nonce; HELD_BRIEFLY];
        ready(()).await;
        Ok(black_box(&held)[0])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the other tests"]
async fn serving() {
    let Some((target, _)) = process::role() else {
        return;
    };
    let builder = Server::builder()
        .add_service(WorkServer::new(Worker))
        .connections_per_ip_max(10_000);
    process::serve(builder, &target).await;
}

/// A connection that has made one call.
async fn used(address: &str, method: MethodId) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, _) = raw::read_ack(&mut stream).await;
    assert_eq!(fixed[5], 0, "accepted");
    let request = [raw::request(1, 0, method.number(), 1), vec![7]];
    stream.write_all(&request.concat()).await.unwrap();
    let (_, body) = raw::read_frame(&mut stream).await;
    assert_eq!(body, [7]);
    stream
}

async fn bytes_per_connection(method: MethodId) -> usize {
    let mut server = Process::start(&Role {
        test: "serving",
        target: "tcp://127.0.0.1:0",
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    let address = uri.strip_prefix("tcp://").unwrap();
    let count = 5_000.min(process::descriptors_max() - 200);
    let mut streams = Vec::new();
    // What the process needs once is not the connections'.
    for _ in 0..100 {
        streams.push(used(address, method).await);
    }
    let before = server.resident_kib();
    for _ in 0..count {
        streams.push(used(address, method).await);
    }
    let grown = server.resident_kib().saturating_sub(before);
    let each = grown * 1024 / count;
    println!("{count} idle connections: {grown} KiB, {each} bytes each");
    each
}

/// T23: after one call whose handler was ready at once, after one that had to wait, and after ones whose
/// handlers are about as long as any that a connection keeps, and longer.
#[tokio::test]
async fn t23_an_idle_connection_costs_at_most_four_kib() {
    for name in ["echo", "pause", "hold", "hold_briefly"] {
        let each = bytes_per_connection(MethodId::of("Work", name)).await;
        assert!(each <= BYTES_MAX, "{name}: {each} bytes");
    }
}
