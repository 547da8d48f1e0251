//! Interceptors that are ready at once and ones that wait, on every way that a call may take.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rpc::{
    Answered, CallInfo, Channel, Code, ConnectionPool, Context, Interceptor, Server, ServerBuilder,
    Status, Streaming,
};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::common::{Count, network, soon, until};

#[rpc::service]
pub(super) trait Ways {
    async fn echo(&self, bytes: Vec<u8>) -> rpc::Result<Vec<u8>>;
    async fn later(&self) -> rpc::Result<()>;
    async fn seen(&self) -> rpc::Result<Vec<String>>;
    async fn panic(&self, waits: bool) -> rpc::Result<()>;
    async fn items(&self, count: u32) -> rpc::Result<Streaming<u32>>;
    async fn sum(&self, items: Streaming<u32>) -> rpc::Result<u32>;
}

struct Handlers;

impl Ways for Handlers {
    async fn echo(&self, bytes: Vec<u8>) -> rpc::Result<Vec<u8>> {
        Ok(bytes)
    }
    async fn later(&self) -> rpc::Result<()> {
        yield_now().await;
        Ok(())
    }
    async fn seen(&self) -> rpc::Result<Vec<String>> {
        let context = Context::current();
        let values = context.metadata().get_all("seen").map(str::to_owned);
        Ok(values.collect())
    }
    async fn panic(&self, waits: bool) -> rpc::Result<()> {
        if waits {
            yield_now().await;
        }
        panic!("as asked");
    }
    async fn items(&self, count: u32) -> rpc::Result<Streaming<u32>> {
        Ok(Streaming::new(stream::iter(0..count)))
    }
    async fn sum(&self, mut items: Streaming<u32>) -> rpc::Result<u32> {
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item?;
        }
        Ok(sum)
    }
}

/// Counts what it is asked and told, and leaves its mark.
#[derive(Clone)]
pub(super) struct Mark {
    side: &'static str,
    waits: bool,
    asked: Arc<AtomicUsize>,
    told: Arc<Mutex<Vec<Answered>>>,
}

impl Mark {
    pub(super) fn new(side: &'static str, waits: bool) -> Self {
        let (asked, told) = Default::default();
        Self {
            side,
            waits,
            asked,
            told,
        }
    }

    /// Checks that all who were asked were told, and forgets it.
    pub(super) async fn check(&self, replies: usize, errors: usize) {
        until(|| self.told.lock().unwrap().len() >= replies + errors).await;
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let failed = told.iter().filter(|told| **told != Answered::Reply).count();
        let side = self.side;
        assert_eq!((told.len() - failed, failed), (replies, errors), "{side}");
        assert_eq!(
            self.asked.swap(0, SeqCst),
            replies + errors,
            "{side}: asked once"
        );
    }
}

impl Interceptor for Mark {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.asked.fetch_add(1, SeqCst);
        call.metadata_mut().append("seen", self.side).unwrap();
        if self.waits {
            yield_now().await;
            yield_now().await;
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        assert_eq!(call.metadata().get("seen"), Some("c"));
        self.told.lock().unwrap().push(answered);
    }
}

pub(super) fn server() -> ServerBuilder {
    Server::builder().add_service(WaysServer::new(Handlers))
}

async fn call_all_ways(client: WaysClient, marks: &[Mark; 2]) {
    let check = async |replies, errors| {
        marks[0].check(replies, errors).await;
        marks[1].check(replies, errors).await;
    };
    for length in [32, 200_000] {
        let bytes = vec![7; length];
        assert_eq!(client.echo(bytes.clone()).await.unwrap(), bytes);
    }
    client.later().await.unwrap();
    assert_eq!(client.seen().await.unwrap(), ["c", "s"]);
    check(4, 0).await;

    for waits in [false, true] {
        let status = client.panic(waits).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
    }
    check(0, 2).await;

    let items = client.items(1_000).await.unwrap();
    assert_eq!(items.count().await, 1_000);
    let items = Streaming::new(stream::iter(0..1_000));
    assert_eq!(client.sum(items).await.unwrap(), 499_500);
    check(2, 0).await;

    let calls = (0..64).map(|n| client.echo(vec![n; 32]));
    for (n, echoed) in (0..64).zip(join_all(calls).await) {
        assert_eq!(echoed.unwrap(), [n; 32]);
    }
    check(64, 0).await;
}

#[tokio::test]
async fn each_call_is_asked_about_once_and_told_of_once_on_every_way() {
    for (client_waits, server_waits) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let marks = [Mark::new("c", client_waits), Mark::new("s", server_waits)];
        let channel = || Channel::builder().interceptor(marks[0].clone());
        let server = || server().interceptor(marks[1].clone());
        let ends = [(); 2].map(|()| server().bind("tcp://127.0.0.1:0"));
        let ends = join_all(ends).await.into_iter().map(Result::unwrap);
        let ends: Vec<_> = ends.collect();
        let name = ends
            .iter()
            .map(|end| end.uri().trim_start_matches("tcp://"));
        let name = format!("static://{}", name.collect::<Vec<_>>().join(","));
        let pool = ConnectionPool::new().with_max_connections(2);
        for (target, builder) in [
            (ends[0].uri(), channel()),
            (&*name, channel().balancing("round_robin")),
            (ends[0].uri(), channel().connection_pool(pool)),
        ] {
            // Nobody is connected yet: the first call is not the short way's.
            let client = WaysClient::new(builder.connect_lazy(target).unwrap());
            soon(call_all_ways(client, &marks)).await;
        }
        let within = server().in_process().unwrap();
        let client = WaysClient::new(channel().with_invoke(within));
        soon(call_all_ways(client, &marks)).await;
    }
}

/// Lets calls of `later` wait for a permit, and counts those that wait.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    waiting: Count,
    /// Those that wait no longer.
    left: Count,
    told: Arc<Mutex<Vec<Answered>>>,
}

impl Gate {
    fn new() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let (waiting, left, told) = Default::default();
        Self {
            permits,
            waiting,
            left,
            told,
        }
    }

    fn told(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

impl Interceptor for Gate {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        if call.method() == "later" {
            self.waiting.add();
            let _leaving = self.left.on_drop();
            self.permits.acquire().await.unwrap().forget();
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        if call.method() == "later" {
            self.told.lock().unwrap().push(answered);
        }
    }
}

/// A client with a gate at one end.
async fn gated(on_client: bool) -> (WaysClient, Gate, Server) {
    let (gate, mut server, mut channel) = (Gate::new(), server(), Channel::builder());
    if on_client {
        channel = channel.interceptor(gate.clone());
    } else {
        server = server.interceptor(gate.clone());
    }
    let (wires, exchange) = network(|_, ends| ends);
    let server = server.serve(exchange).unwrap();
    let client = WaysClient::new(channel.with_connector(Arc::new(wires)));
    // From here on it is connected.
    client.echo(Vec::new()).await.unwrap();
    (client, gate, server)
}

#[tokio::test]
async fn an_interceptor_that_waits_holds_up_its_own_call_alone() {
    for on_client in [true, false] {
        let (client, gate, _server) = gated(on_client).await;
        let held = join_all((0..8).map(|_| client.later()));
        let others = join_all((0..56).map(|n| client.echo(vec![n; 32])));
        let mut held = std::pin::pin!(held);
        tokio::select! {
            biased;
            _ = &mut held => panic!("nobody has let them through"),
            echoed = soon(others) => assert!(echoed.iter().all(Result::is_ok)),
        }
        assert_eq!((gate.waiting.get(), gate.told()), (8, 0));
        gate.permits.add_permits(8);
        assert!(soon(held).await.iter().all(Result::is_ok));
        until(|| gate.told() == 8).await;
    }
}

/// A call that is given up while an interceptor thinks about it: that is dropped, and told nothing.
#[tokio::test]
async fn an_interceptor_is_dropped_with_its_call() {
    for on_client in [true, false] {
        let (client, gate, server) = gated(on_client).await;
        for times in 1..=3 {
            tokio::select! {
                _ = client.later() => panic!("nobody has let it through"),
                () = until(|| gate.waiting.get() == times) => {}
            }
            soon(until(|| gate.left.get() == times)).await;
            client.echo(vec![1; 32]).await.unwrap();
        }
        until(|| server.load().calls_in_flight == 0).await;
        assert_eq!(gate.told(), 0);
        gate.permits.add_permits(1);
        client.later().await.unwrap();
        until(|| gate.told() == 1).await;
    }
}

/// The deadline of a call holds for the interceptors as well. That of the client is told, as the call is
/// over; that of the server is not, as its server has given the call up.
#[tokio::test(start_paused = true)]
async fn an_interceptor_that_waits_for_too_long_ends_its_call() {
    for on_client in [true, false] {
        let (client, gate, server) = gated(on_client).await;
        let limit = Duration::from_millis(250);
        let begin = Instant::now();
        let status = client.with_timeout(limit).later().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(begin.elapsed(), limit);
        until(|| gate.left.get() == 1 && server.load().calls_in_flight == 0).await;
        let told = gate.told.lock().unwrap().clone();
        let late = Answered::Error(Code::DeadlineExceeded);
        assert_eq!(told, if on_client { vec![late] } else { vec![] });
        client.echo(vec![1; 32]).await.unwrap();
    }
}
