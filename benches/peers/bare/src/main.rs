//! No RPC: a frame of 16 bytes and a body over TCP, as fast as Tokio goes.
//!
//! The yardstick for the others. It has their tasks, one for each caller that is woken by its
//! answer, and writes many frames at once as this project does; it has no deadlines, limits,
//! methods, errors or codec, and nothing is checked.

use std::net::SocketAddr;

use bytes::Bytes;
use peers_harness::{Client, Peer, Result, Work, not_available, run};

mod client;
mod driver;
mod frame;
mod link;
mod server;

use client::Connection;
use frame::{ECHO, ITEMS, WORK};

struct Bare;

impl Peer for Bare {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        server::serve(listening).await
    }
    async fn connect(server: SocketAddr) -> Result<Connection> {
        Connection::open(server).await
    }
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        self.call(ECHO, 0, payload).await
    }
    async fn record(&self) -> Result<usize> {
        Err(not_available("structured messages, for want of a codec"))
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        self.call(WORK + which, micros, payload).await
    }
    async fn items(&self, count: u32, payload: &Bytes) -> Result<u32> {
        Ok(self.call(ITEMS, count, payload).await?.items())
    }
}

fn main() {
    run::<Bare>();
}
