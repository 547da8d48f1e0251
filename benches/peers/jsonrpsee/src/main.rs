//! jsonrpsee, as its README and its examples write it: JSON-RPC over WebSocket.
//!
//! Beyond the defaults: room for 10,000 connections instead of 100, and for 10,000 requests at once
//! instead of 256. The payload is text, as JSON has no bytes.

use std::future;
use std::net::SocketAddr;
use std::str;
use std::sync::Arc;

use bytes::Bytes;
use jsonrpsee::core::{RpcResult, async_trait};
use jsonrpsee::proc_macros::rpc;
use jsonrpsee::server::{Server, ServerConfig};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use peers_harness::{Client, Peer, Record, Result, Work, run};

const CONNECTIONS_MAX: u32 = 10_000;
const AT_ONCE_MAX: usize = 10_000;

#[rpc(client, server)]
trait Bench {
    #[method(name = "echo")]
    async fn echo(&self, payload: String) -> RpcResult<String>;
    #[method(name = "record")]
    async fn record(&self, record: Record) -> RpcResult<Record>;
    #[method(name = "work")]
    async fn work(&self, which: u32, micros: u32, payload: String) -> RpcResult<String>;
}

struct Handlers;

#[async_trait]
impl BenchServer for Handlers {
    async fn echo(&self, payload: String) -> RpcResult<String> {
        Ok(payload)
    }
    async fn record(&self, record: Record) -> RpcResult<Record> {
        Ok(record)
    }
    async fn work(&self, which: u32, micros: u32, payload: String) -> RpcResult<String> {
        Work::from_numbers(which, micros).run().await;
        Ok(payload)
    }
}

#[derive(Clone)]
struct Connection {
    client: Arc<WsClient>,
    record: Record,
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let payload = str::from_utf8(payload)?.to_owned();
        Ok(self.client.echo(payload).await?)
    }
    async fn record(&self) -> Result<usize> {
        Ok(self.client.record(self.record.clone()).await?.items.len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        let payload = str::from_utf8(payload)?.to_owned();
        Ok(self.client.work(which, micros, payload).await?)
    }
}

struct Jsonrpsee;

impl Peer for Jsonrpsee {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let config = ServerConfig::builder()
            .max_connections(CONNECTIONS_MAX)
            .build();
        let server = Server::builder()
            .set_config(config)
            .build("127.0.0.1:0")
            .await?;
        listening(server.local_addr()?);
        let _running = server.start(Handlers.into_rpc());
        future::pending().await
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let client = WsClientBuilder::default()
            .max_concurrent_requests(AT_ONCE_MAX)
            .build(format!("ws://{server}"))
            .await?;
        let record = Record::sample();
        Ok(Connection {
            client: Arc::new(client),
            record,
        })
    }
}

fn main() {
    run::<Jsonrpsee>();
}
