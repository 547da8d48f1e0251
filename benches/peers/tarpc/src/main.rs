//! tarpc, as its README and its example service write it: bincode over TCP, a task for each request.
//!
//! Beyond the defaults: `TCP_NODELAY`, and room for more requests at once, which 1,024 in flight
//! need. The payload is `Bytes`, as in this project; a `Vec<u8>` would go byte by byte through serde.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt;
use peers_harness::{Client, Peer, Record, Result, Work, run};
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context, serde_transport, server};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::LengthDelimitedCodec;

const AT_ONCE_MAX: usize = 10_000;

#[tarpc::service]
trait Bench {
    async fn echo(payload: Bytes) -> Bytes;
    async fn record(record: Record) -> Record;
    async fn work(which: u32, micros: u32, payload: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Handlers;

impl Bench for Handlers {
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }
    async fn record(self, _: context::Context, record: Record) -> Record {
        record
    }
    async fn work(self, _: context::Context, which: u32, micros: u32, payload: Bytes) -> Bytes {
        Work::from_numbers(which, micros).run().await;
        payload
    }
}

#[derive(Clone)]
struct Connection {
    client: BenchClient,
    record: Record,
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        Ok(self
            .client
            .echo(context::current(), payload.clone())
            .await?)
    }
    async fn record(&self) -> Result<usize> {
        let record = self.record.clone();
        Ok(self
            .client
            .record(context::current(), record)
            .await?
            .items
            .len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        Ok(self
            .client
            .work(context::current(), which, micros, payload.clone())
            .await?)
    }
}

struct Tarpc;

impl Peer for Tarpc {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listening(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let framed = LengthDelimitedCodec::builder().new_framed(stream);
            let config = server::Config {
                pending_response_buffer: AT_ONCE_MAX,
            };
            let channel =
                BaseChannel::new(config, serde_transport::new(framed, Bincode::default()));
            tokio::spawn(
                channel
                    .execute(Handlers.serve())
                    .for_each(|response| async {
                        tokio::spawn(response);
                    }),
            );
        }
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let mut config = client::Config::default();
        config.max_in_flight_requests = AT_ONCE_MAX;
        config.pending_request_buffer = AT_ONCE_MAX;
        let transport = serde_transport::new(framed, Bincode::default());
        let client = BenchClient::new(config, transport).spawn();
        let record = Record::sample();
        Ok(Connection { client, record })
    }
}

fn main() {
    run::<Tarpc>();
}
