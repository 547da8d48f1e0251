//! connectrpc, as its README and its documentation write it: the Connect protocol with protobuf over
//! one HTTP/2 connection, without compression, with the dispatcher that is generated for the service.
//!
//! Beyond the defaults: windows of 4 MiB, and room for 10,000 streams at once.

use std::net::SocketAddr;

use bytes::Bytes;
use connectrpc::client::{ClientConfig, Http2Connection, SharedHttp2Connection};
use connectrpc::{
    ConnectError, ConnectRpcService, Encodable, RequestContext, Response, Server, ServiceRequest,
    ServiceResult, ServiceStream,
};
use futures_util::stream;
use peers_harness::{Client, Peer, Result, Work, run};
use tokio::net::TcpListener;

mod record;

#[allow(warnings, clippy::use_self, reason = "written by a generator")]
mod proto {
    connectrpc::include_generated!();
}

use proto::bench::{Bench, BenchClient, BenchServer, Payload, Person, Task, Wanted};

const WINDOW_BYTES: u32 = 4 << 20;
const STREAMS_MAX: u32 = 10_000;

struct Handlers;

impl Bench for Handlers {
    async fn echo<'a>(
        &'a self,
        _: RequestContext,
        request: ServiceRequest<'_, Payload>,
    ) -> ServiceResult<impl Encodable<Payload> + Send + use<'a>> {
        Response::ok(request.to_owned_message())
    }
    async fn record<'a>(
        &'a self,
        _: RequestContext,
        request: ServiceRequest<'_, Person>,
    ) -> ServiceResult<impl Encodable<Person> + Send + use<'a>> {
        Response::ok(request.to_owned_message())
    }
    async fn work<'a>(
        &'a self,
        _: RequestContext,
        request: ServiceRequest<'_, Task>,
    ) -> ServiceResult<impl Encodable<Payload> + Send + use<'a>> {
        let task = request.to_owned_message();
        Work::from_numbers(task.which, task.micros).run().await;
        Response::ok(payload(&task.payload))
    }
    async fn items(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Wanted>,
    ) -> ServiceResult<ServiceStream<impl Encodable<Payload> + Send + use<>>> {
        let wanted = request.to_owned_message();
        let item = move |_| Ok::<_, ConnectError>(payload(&wanted.payload));
        Response::stream_ok(stream::iter((0..wanted.count).map(item)))
    }
}

fn payload(payload: &Bytes) -> Payload {
    Payload {
        payload: payload.clone(),
        ..Payload::default()
    }
}

#[derive(Clone)]
struct Connection {
    client: BenchClient<SharedHttp2Connection>,
    record: Person,
}

impl Client for Connection {
    async fn echo(&self, bytes: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        Ok(self.client.echo(payload(bytes)).await?.into_owned().payload)
    }
    async fn record(&self) -> Result<usize> {
        let reply = self.client.record(self.record.clone()).await?;
        Ok(reply.into_owned().items.len())
    }
    async fn work(&self, work: Work, payload: &Bytes) -> Result<impl AsRef<[u8]> + Send> {
        let (which, micros) = work.to_numbers();
        let task = Task {
            which,
            micros,
            payload: payload.clone(),
            ..Task::default()
        };
        Ok(self.client.work(task).await?.into_owned().payload)
    }
    async fn items(&self, count: u32, payload: &Bytes) -> Result<u32> {
        let wanted = Wanted {
            count,
            payload: payload.clone(),
            ..Wanted::default()
        };
        let mut items = self.client.items(wanted).await?;
        let mut came = 0;
        while items.message().await?.is_some() {
            came += 1;
        }
        Ok(came)
    }
}

struct Connectrpc;

impl Peer for Connectrpc {
    type Client = Connection;

    async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listening(listener.local_addr()?);
        Server::from_listener(listener)
            .with_http2_initial_stream_window_size(WINDOW_BYTES)
            .with_http2_initial_connection_window_size(WINDOW_BYTES)
            .with_max_concurrent_streams(STREAMS_MAX)
            .serve_with_service(ConnectRpcService::new(BenchServer::new(Handlers)))
            .await?;
        Ok(())
    }

    async fn connect(server: SocketAddr) -> Result<Connection> {
        let uri: http::Uri = format!("http://{server}").parse()?;
        let connection = Http2Connection::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_plaintext(uri.clone())
            .await?;
        let shared = connection.shared(STREAMS_MAX as usize);
        let client = BenchClient::new(shared, ClientConfig::new(uri));
        let record = record::sample();
        Ok(Connection { client, record })
    }
}

fn main() {
    run::<Connectrpc>();
}
