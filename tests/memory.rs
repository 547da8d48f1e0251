//! What strangers can make a server allocate. Alone in its process, because it measures that.

mod common;

use common::raw;
use rpc::{MethodId, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[rpc::service]
trait Work {
    async fn swallow(&self, bytes: &[u8]) -> rpc::Result<()>;
}

struct Worker;
impl Work for Worker {
    async fn swallow(&self, _: &[u8]) -> rpc::Result<()> {
        Ok(())
    }
}

async fn opened(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, _) = raw::read_ack(&mut stream).await;
    assert_eq!(fixed[5], 0, "accepted");
    stream
}

/// A length is not believed: memory grows with the bytes that came, in a frame and in pieces. (What is
/// given in advance for pieces is only addresses until something comes.)
#[tokio::test]
async fn t1_announced_bodies_take_no_memory() {
    let method = MethodId::of("Work", "swallow").number();
    let frame = raw::request(1, 0, method, 4 << 20);
    let mut pieces = raw::request(1, raw::MORE, method, 4);
    pieces.extend_from_slice(&(4_u32 << 20).to_le_bytes());
    pieces.extend_from_slice(&raw::chunk(1, 64 * 1024));
    for announced in [frame, pieces] {
        announced_bodies_take_no_memory(&announced).await;
    }
}

async fn announced_bodies_take_no_memory(announced: &[u8]) {
    let builder = Server::builder().add_service(WorkServer::new(Worker));
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap();
    let before = resident_kib();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = opened(address).await;
        stream.write_all(announced).await.unwrap();
        stream.write_all(&[1]).await.unwrap();
        streams.push(stream);
    }
    let canary = WorkClient::connect(server.uri()).await.unwrap();
    canary.swallow(&[]).await.unwrap();
    // A call that is answered, so that every byte above has been read.
    let missing = canary.channel().call_raw("Work.absent", []).await;
    missing.unwrap_err();
    assert_eq!(server.connection_count(), 101);
    let grown = resident_kib().saturating_sub(before);
    println!("100 connections that announced 4 MiB each: {grown} KiB");
    assert!(grown <= 20 * 1024, "{grown} KiB");
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
