//! tonic, as its examples write it, with `TCP_NODELAY` on both sides, and windows and frames that a
//! message of 1 MiB fits into.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use peers_harness::{Client, Peer, Result, Work, run};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

mod record;

mod proto {
    tonic::include_proto!("bench");
}

use proto::bench_client::BenchClient;
use proto::bench_server::{Bench, BenchServer};
use proto::{Payload, Person, Task, Wanted};

const WINDOW_BYTES: u32 = 4 << 20;
/// Instead of 16 KiB: echoes of 1 MiB take little more than half of the CPU time.
const FRAME_BYTES: u32 = 1 << 20;
/// More than the 200 that a server allows unless it is told.
const STREAMS_MAX: u32 = 10_000;

struct Handlers;

type Items = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

#[tonic::async_trait]
impl Bench for Handlers {
    type ItemsStream = Items;

    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
    async fn record(&self, request: Request<Person>) -> Result<Response<Person>, Status> {
        Ok(Response::new(request.into_inner()))
    }
    async fn work(&self, request: Request<Task>) -> Result<Response<Payload>, Status> {
        let task = request.into_inner();
        Work::from_numbers(task.which, task.micros).run().await;
        let payload = task.payload;
        Ok(Response::new(Payload { payload }))
    }
    async fn items(&self, request: Request<Wanted>) -> Result<Response<Items>, Status> {
        let Wanted { count, payload } = request.into_inner();
        let item = move |_| {
            let payload = payload.clone();
            Ok(Payload { payload })
        };
        let items = stream::iter((0..count).map(item));
        Ok(Response::new(Box::pin(items)))
    }
}

#[derive(Clone)]
struct Connection {
    client: BenchClient<Channel>,
    record: Person,
}

impl Client for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let payload = payload.clone();
        let reply = self.client.clone().echo(Payload { payload }).await?;
        Ok(reply.into_inner().payload)
    }
    async fn record(&self) -> Result<usize> {
        let reply = self.client.clone().record(self.record.clone()).await?;
        Ok(reply.into_inner().items.len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        let payload = payload.clone();
        let task = Task {
            which,
            micros,
            payload,
        };
        Ok(self.client.clone().work(task).await?.into_inner().payload)
    }
    async fn items(&self, count: u32, payload: &Bytes) -> Result<u32> {
        let payload = payload.clone();
        let reply = self.client.clone().items(Wanted { count, payload }).await?;
        let mut items = reply.into_inner();
        let mut came = 0;
        while items.message().await?.is_some() {
            came += 1;
        }
        Ok(came)
    }
}

struct Tonic;

impl Peer for Tonic {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listening(listener.local_addr()?);
        Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_frame_size(FRAME_BYTES)
            .add_service(BenchServer::new(Handlers))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await?;
        Ok(())
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let channel = Endpoint::from_shared(format!("http://{server}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .buffer_size(STREAMS_MAX as usize)
            .max_frame_size(FRAME_BYTES)
            .connect()
            .await?;
        let client = BenchClient::new(channel);
        let record = record::sample();
        Ok(Connection { client, record })
    }
}

fn main() {
    run::<Tonic>();
}
