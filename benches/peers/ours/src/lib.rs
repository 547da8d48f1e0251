//! This project, as its README writes it, with a deadline for each call: tarpc and volo have one
//! too. Its variants have more or less switched on.

use std::borrow::Cow;
use std::future;
use std::hint::black_box;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use peers_harness::{Client, Peer, Record, Result, Work};
use rpc::{Channel, ChannelBuilder, ConnectionPool, Interceptor, Server, ServerBuilder, Streaming};
use serde::de::DeserializeOwned;

/// More than the 1,000 of one address that a server takes unless it is told.
const CONNECTIONS_MAX: usize = 10_000;
/// That of tarpc, unless its users say another.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is switched on.
pub trait Switches: 'static {
    fn server(server: ServerBuilder) -> ServerBuilder {
        server
    }
    fn channel(channel: ChannelBuilder) -> ChannelBuilder;
}

/// What it promises: deadlines, pings, the end of idle connections.
pub struct Promised;

impl Switches for Promised {
    fn channel(channel: ChannelBuilder) -> ChannelBuilder {
        channel.default_timeout(TIMEOUT)
    }
}

/// Nothing that has a switch.
pub struct Off;

impl Switches for Off {
    fn server(server: ServerBuilder) -> ServerBuilder {
        server.keep_alive(None).idle_timeout(None)
    }
    fn channel(channel: ChannelBuilder) -> ChannelBuilder {
        channel.keep_alive(None)
    }
}

/// What it promises, and an interceptor on each side.
pub struct On;

impl Switches for On {
    fn server(server: ServerBuilder) -> ServerBuilder {
        server.interceptor(Idle)
    }
    fn channel(channel: ChannelBuilder) -> ChannelBuilder {
        channel.default_timeout(TIMEOUT).interceptor(Idle)
    }
}

/// What it promises, on as many connections as there are calls in flight.
pub struct Pooled;

impl Switches for Pooled {
    fn channel(channel: ChannelBuilder) -> ChannelBuilder {
        let pool = ConnectionPool::new()
            .with_max_connections(CONNECTIONS_MAX)
            .with_calls_per_connection_max(1);
        channel.default_timeout(TIMEOUT).connection_pool(pool)
    }
}

/// Does nothing, at the price of being asked.
struct Idle;
impl Interceptor for Idle {}

#[rpc::service]
trait Bench {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes>;
    async fn record(&self, record: Cow<'_, Record>) -> rpc::Result<Record>;
    async fn work(&self, which: u32, micros: u32, payload: Bytes) -> rpc::Result<Bytes>;
    async fn items(&self, count: u32, payload: Bytes) -> rpc::Result<Streaming<Bytes>>;
    async fn small(&self, count: u32, item: Small) -> rpc::Result<Streaming<Small>>;
}

/// A small item of a fixed size, by value.
type Small = [u8; 32];

struct Handlers;

impl Bench for Handlers {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes> {
        Ok(payload)
    }
    async fn record(&self, record: Cow<'_, Record>) -> rpc::Result<Record> {
        Ok(record.into_owned())
    }
    async fn work(&self, which: u32, micros: u32, payload: Bytes) -> rpc::Result<Bytes> {
        Work::from_numbers(which, micros).run().await;
        Ok(payload)
    }
    async fn items(&self, count: u32, payload: Bytes) -> rpc::Result<Streaming<Bytes>> {
        let items = (0..count).map(move |_| payload.clone());
        Ok(Streaming::new(stream::iter(items)))
    }
    async fn small(&self, count: u32, item: Small) -> rpc::Result<Streaming<Small>> {
        let items = (0..count).map(move |_| black_box(item));
        Ok(Streaming::new(stream::iter(items)))
    }
}

#[derive(Clone)]
pub struct Connection {
    client: BenchClient,
    record: Record,
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        Ok(self.client.echo(payload.clone()).await?)
    }
    async fn record(&self) -> Result<usize> {
        Ok(self
            .client
            .record(Cow::Borrowed(&self.record))
            .await?
            .items
            .len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        Ok(self.client.work(which, micros, payload.clone()).await?)
    }
    async fn items(&self, count: u32, payload: &Bytes) -> Result<u32> {
        match Small::try_from(&payload[..]) {
            Ok(item) => count_items(self.client.small(count, item).await?).await,
            Err(_) => count_items(self.client.items(count, payload.clone()).await?).await,
        }
    }
}

async fn count_items<T: DeserializeOwned + 'static>(mut items: Streaming<T>) -> Result<u32> {
    let mut came = 0;
    while let Some(item) = items.next().await {
        black_box(item?);
        came += 1;
    }
    Ok(came)
}

pub struct Ours<S>(PhantomData<S>);

impl<S: Switches> Peer for Ours<S> {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let server = S::server(Server::builder())
            .connections_per_ip_max(CONNECTIONS_MAX)
            .add_service(BenchServer::new(Handlers))
            .bind("tcp://127.0.0.1:0")
            .await?;
        let address = server.uri().trim_start_matches("tcp://");
        listening(address.parse()?);
        future::pending().await
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let channel = S::channel(Channel::builder());
        let channel = channel.connect(format!("tcp://{server}")).await?;
        let client = BenchClient::new(channel);
        let record = Record::sample();
        Ok(Connection { client, record })
    }
}
