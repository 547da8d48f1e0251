//! T14: panics whose value panics once more when it is dropped.

use std::future::Future;
use std::io;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::join_all;
use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Answered, CallInfo, Channel, Code, Interceptor, Peer, Server, Status, async_trait};
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::AsyncWrite;

use crate::common::{Exchange, network, soon, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// Panics when it is dropped, with another of its kind until there are none left.
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

#[derive(Debug, Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic_any(Bomb(3))
    }
}

#[rpc::service]
trait Bombs {
    async fn echo(&self, number: u64) -> rpc::Result<u64>;
    async fn at_once(&self) -> rpc::Result<()>;
    async fn later(&self) -> rpc::Result<()>;
    async fn reply(&self) -> rpc::Result<Unspeakable>;
    async fn argument(&self, it: Unspeakable) -> rpc::Result<()>;
}

struct Bomber;

impl Bombs for Bomber {
    async fn echo(&self, number: u64) -> rpc::Result<u64> {
        Ok(number)
    }
    async fn at_once(&self) -> rpc::Result<()> {
        panic_any(Bomb(3))
    }
    async fn later(&self) -> rpc::Result<()> {
        tokio::task::yield_now().await;
        panic_any(Bomb(3))
    }
    async fn reply(&self) -> rpc::Result<Unspeakable> {
        Ok(Unspeakable)
    }
    async fn argument(&self, _: Unspeakable) -> rpc::Result<()> {
        Ok(())
    }
}

/// Panics before calls whose metadata asks for it, and after those.
struct Fuse;

impl Interceptor for Fuse {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        if call.metadata().get("bomb") == Some("before") {
            panic_any(Bomb(3));
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, _: Answered) {
        if call.metadata().get("bomb") == Some("after") {
            panic_any(Bomb(3));
        }
    }
}

#[tokio::test]
async fn t14_a_panic_whose_value_panics_fails_its_call_alone() {
    for intercepted in [false, true] {
        let (wires, exchange) = network(|_, ends| ends);
        let mut builder = Server::builder().add_service(BombsServer::new(Bomber));
        if intercepted {
            builder = builder.interceptor(Fuse);
        }
        let _server = builder.serve(exchange).unwrap();
        let channel = Channel::builder().with_connector(Arc::new(wires.clone()));
        let client = BombsClient::new(channel.clone());
        for round in 0..3 {
            let failures = [
                soon(client.at_once()).await.unwrap_err(),
                soon(client.later()).await.unwrap_err(),
                soon(client.reply()).await.unwrap_err(),
                soon(client.argument(Unspeakable)).await.unwrap_err(),
            ];
            for status in failures {
                assert_eq!(status.code(), Code::Internal, "{status}");
            }
            assert_eq!(soon(client.echo(round)).await.unwrap(), round);
        }
        if intercepted {
            let before = BombsClient::new(channel.with_metadata("bomb", "before").unwrap());
            let status = soon(before.echo(1)).await.unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{status}");
            let after = BombsClient::new(channel.with_metadata("bomb", "after").unwrap());
            assert_eq!(soon(after.echo(2)).await.unwrap(), 2);
        }
        assert_eq!(wires.opened(), 1, "the connection did not notice");
    }
}

/// Where a stream panics next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Write,
    Flush,
}

type Fused = Arc<Mutex<Option<At>>>;

/// A writer that panics where it is told to, once.
struct Fragile<W> {
    inner: W,
    at: Fused,
}

impl<W> Fragile<W> {
    fn pass(&self, here: At) {
        let is_due = self.at.lock().unwrap().take_if(|at| *at == here).is_some();
        assert!(!is_due, "a stream that panics");
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Fragile<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pass(At::Write);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pass(At::Flush);
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// It goes in pieces.
const LONG: usize = 100_000;

/// Whoever writes to a stream is told of its panic as of any other error, and those behind him go on.
#[tokio::test(start_paused = true)]
async fn t14_a_stream_that_panics_in_a_call_ends_its_connection_alone() {
    for (at, length) in [(At::Write, 0), (At::Write, LONG), (At::Flush, 0)] {
        let fused = Fused::default();
        let at_client = fused.clone();
        let (client, wires, _server) = pair(builder(&Worker::default()), move |_, ends| {
            let (inner, at) = (ends.1, at_client.clone());
            (ends.0, Box::new(Fragile { inner, at }))
        });
        soon(client.echo(1, vec![])).await.unwrap();
        *fused.lock().unwrap() = Some(at);
        // The first is alone, and writes by itself; what the other has appended was not sent.
        let calls = [length, 0].map(|length| client.echo(2, vec![0; length]));
        let mut answers = soon(join_all(calls)).await;
        assert_eq!(answers.pop().unwrap().unwrap().0, 2, "{at:?}");
        // Of a long one only a piece was on its way. A short one may be there.
        let answer = answers.pop().unwrap().map(|(nonce, _)| nonce);
        if length == LONG {
            assert_eq!(answer, Ok(2));
        } else {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{at:?}: {status}");
            assert!(status.message().contains("panicked"), "{at:?}: {status}");
        }
        assert_eq!(soon(client.echo(4, vec![])).await.unwrap().0, 4);
        assert_eq!(wires.opened(), 2);
    }
}

/// Gives the server writers that break.
struct Brittle(Exchange, Fused);

#[async_trait]
impl Listener for Brittle {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let (reader, inner) = tokio::io::split(self.0.next().await);
        let at = self.1.clone();
        let peer = Peer::from_uri("test://client");
        Ok(Duplex::new(reader, Fragile { inner, at }, peer))
    }
    fn target(&self) -> String {
        "test://brittle".into()
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_stream_that_panics_in_a_handler_ends_its_connection_alone() {
    for at in [At::Write, At::Flush] {
        let (wires, exchange) = network(|_, ends| ends);
        let (fused, worker) = (Fused::default(), Worker::default());
        let server = builder(&worker)
            .serve(Brittle(exchange, fused.clone()))
            .unwrap();
        let channel = Channel::builder().with_connector(Arc::new(wires.clone()));
        let client = WorkClient::new(channel);
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.wait(1).await }
        });
        until(|| worker.waiting() == 1).await;
        // The handler is alone, and writes by itself.
        *fused.lock().unwrap() = Some(at);
        worker.go.add_permits(1);
        let answer = soon(waiting).await.unwrap();
        // Once it is written, it is there whatever becomes of the flush.
        match at {
            At::Write => assert_eq!(answer.unwrap_err().code(), Code::Unavailable),
            At::Flush => assert_eq!(answer.unwrap(), 1),
        }
        until(|| server.connection_count() == 0).await;
        assert_eq!(soon(client.echo(4, vec![])).await.unwrap().0, 4);
        assert_eq!(wires.opened(), 2);
        let stats = server.method_stats("Work.wait").unwrap();
        assert_eq!((stats.calls, stats.errors), (1, 0), "it has answered");
    }
}

#[derive(Debug)]
struct Mine {
    /// In the call, before there is a future.
    early: bool,
}

impl Connector for Mine {
    fn connect<'c, 'f>(&'c self) -> Pin<Box<dyn Future<Output = io::Result<Duplex>> + Send + 'f>>
    where
        'c: 'f,
        Self: 'f,
    {
        if self.early {
            panic_any(Bomb(3));
        }
        Box::pin(async { panic_any(Bomb(3)) })
    }
    fn target(&self) -> String {
        "test://mine".into()
    }
}

#[tokio::test]
async fn t14_a_connector_whose_panic_panics_fails_the_call() {
    for early in [false, true] {
        let mine = Arc::new(Mine { early });
        let client = BombsClient::new(Channel::builder().with_connector(mine));
        let status = soon(client.echo(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.to_string().contains("panicked"), "{status}");
    }
}

/// Makes calls whose arguments panic.
#[derive(Clone)]
pub(crate) struct Exploding(BombsClient);

impl Exploding {
    pub(crate) async fn explode(&self) -> rpc::Result<()> {
        self.0.argument(Unspeakable).await
    }
}

pub(crate) fn bombs(channel: &Channel) -> Exploding {
    Exploding(BombsClient::new(channel.clone()))
}
