//! volo-thrift, as its README and its examples write it, multiplexed or with its pool.
//!
//! Beyond the defaults: timeouts of 10 s instead of 1 s, which 1,024 calls in flight could reach on
//! a slow machine. It sets `TCP_NODELAY` itself.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use peers_harness::{Client, Peer, Result, Work};
use tokio::net::TcpListener;
use volo::net::Address;
use volo::net::incoming::DefaultIncoming;
use volo_thrift::ServerError;

mod record;

#[allow(warnings, reason = "written by a generator")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/volo_gen.rs"));
}

use generated::volo_gen::bench::{Bench, BenchClient, BenchClientBuilder, BenchServer, Person};

const TIMEOUT: Duration = Duration::from_secs(10);

struct Handlers;

impl Bench for Handlers {
    async fn echo(&self, payload: Bytes) -> Result<Bytes, ServerError> {
        Ok(payload)
    }
    async fn record(&self, person: Person) -> Result<Person, ServerError> {
        Ok(person)
    }
    async fn work(&self, which: i32, micros: i32, payload: Bytes) -> Result<Bytes, ServerError> {
        Work::from_numbers(which as u32, micros as u32).run().await;
        Ok(payload)
    }
}

#[derive(Clone)]
pub struct Connection {
    client: BenchClient,
    record: Person,
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        Ok(self.client.echo(payload.clone()).await?)
    }
    async fn record(&self) -> Result<usize> {
        Ok(self.client.record(self.record.clone()).await?.items.len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        let reply = self
            .client
            .work(which as i32, micros as i32, payload.clone());
        Ok(reply.await?)
    }
}

/// Many calls at once on a connection, or its default: a pool of connections, a call at a time on
/// each.
pub struct Volo<const MULTIPLEX: bool>;

impl<const MULTIPLEX: bool> Peer for Volo<MULTIPLEX> {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listening(listener.local_addr()?);
        let server = BenchServer::new(Handlers).multiplex(MULTIPLEX);
        server.run(DefaultIncoming::from(listener)).await
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let client = BenchClientBuilder::new("bench")
            .address(Address::from(server))
            .rpc_timeout(Some(TIMEOUT))
            .read_write_timeout(Some(TIMEOUT))
            .connect_timeout(Some(TIMEOUT))
            .multiplex(MULTIPLEX)
            .build();
        let record = record::sample();
        Ok(Connection { client, record })
    }
}
