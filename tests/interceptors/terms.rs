//! What calls are held to beside their interceptors: a trace, a deadline, no answer, a connection that
//! is lost; and calls that arrive together, of which only some are changed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use rpc::{
    Answered, CallInfo, Channel, ChannelBuilder, Code, Context, Interceptor, Server, ServerBuilder,
    Status, TraceParent,
};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::common::{Count, network, soon, until};
use crate::ways::Mark;

#[rpc::service]
trait Errands {
    async fn marks(&self) -> rpc::Result<Vec<String>>;
    async fn trace(&self) -> rpc::Result<Option<String>>;
    async fn left(&self) -> rpc::Result<Option<Duration>>;
    /// Hangs when it is run for the first time.
    async fn run(&self) -> rpc::Result<()>;
    #[rpc(idempotent)]
    async fn run_again(&self) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self) -> rpc::Result<()>;
}

#[derive(Clone, Default)]
struct Runner {
    ran: Count,
}

impl Errands for Runner {
    async fn marks(&self) -> rpc::Result<Vec<String>> {
        let context = Context::current();
        let values = context.metadata().get_all("mark").map(str::to_owned);
        Ok(values.collect())
    }
    async fn trace(&self) -> rpc::Result<Option<String>> {
        let metadata = Context::current().metadata().clone();
        Ok(metadata.get("traceparent").map(str::to_owned))
    }
    async fn left(&self) -> rpc::Result<Option<Duration>> {
        Ok(Context::current().remaining())
    }
    async fn run(&self) -> rpc::Result<()> {
        self.ran.add();
        match self.ran.get() {
            1 => std::future::pending().await,
            _ => Ok(()),
        }
    }
    async fn run_again(&self) -> rpc::Result<()> {
        self.run().await
    }
    async fn note(&self) -> rpc::Result<()> {
        self.ran.add();
        Ok(())
    }
}

fn server(runner: &Runner) -> ServerBuilder {
    Server::builder().add_service(ErrandsServer::new(runner.clone()))
}

fn pair(server: ServerBuilder, channel: ChannelBuilder) -> (ErrandsClient, Server) {
    let (wires, exchange) = network(|_, ends| ends);
    let server = server.serve(exchange).unwrap();
    let client = ErrandsClient::new(channel.with_connector(Arc::new(wires)));
    (client, server)
}

/// Keeps what it sees before a call and after it, the latter with what it is told.
#[derive(Clone, Default)]
struct Witness {
    waits: bool,
    before: Arc<Mutex<Vec<CallInfo>>>,
    after: Arc<Mutex<Vec<(CallInfo, Answered)>>>,
}

impl Interceptor for Witness {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.before.lock().unwrap().push(call.clone());
        if self.waits {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        self.after.lock().unwrap().push((call.clone(), answered));
    }
}

impl Witness {
    fn new(waits: bool) -> Self {
        Self {
            waits,
            ..Self::default()
        }
    }

    /// The one call that it saw, which was the same before and after, and was answered.
    fn take(&self) -> CallInfo {
        let before = std::mem::take(&mut *self.before.lock().unwrap());
        let after = std::mem::take(&mut *self.after.lock().unwrap());
        let ([before], [(after, answered)]) = (&before[..], &after[..]) else {
            panic!("asked {} times, told {}", before.len(), after.len());
        };
        assert_eq!(*answered, Answered::Reply);
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        after.clone()
    }
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn s3_8_an_interceptor_sees_the_trace_that_its_call_belongs_to() {
    for waits in [false, true] {
        let witness = Witness::new(waits);
        let channel = Channel::builder().interceptor(witness.clone());
        let (client, _server) = pair(server(&Runner::default()), channel);
        assert_eq!(client.trace().await.unwrap(), None);
        assert_eq!(witness.take().metadata().get("traceparent"), None);

        let trace: TraceParent = TRACE.parse().unwrap();
        let traced = Context::new().with_trace_parent(trace);
        let found = traced.scope(client.trace()).await.unwrap();
        let seen = witness.take();
        assert_eq!(seen.metadata().get("traceparent"), found.as_deref());
        let found: TraceParent = found.unwrap().parse().unwrap();
        assert_eq!(found.trace_id(), trace.trace_id());

        assert_eq!(client.trace().await.unwrap(), None, "nothing is left of it");
        assert_eq!(witness.take().metadata().get("traceparent"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_sees_the_nearest_deadline_of_its_call() {
    let [near, far] = [7, 100].map(Duration::from_secs);
    for waits in [false, true] {
        let witness = Witness::new(waits);
        let channel = Channel::builder().interceptor(witness.clone());
        let (client, _server) = pair(server(&Runner::default()), channel);
        assert_eq!(client.left().await.unwrap(), None);
        assert_eq!(witness.take().deadline(), None);
        for (own, inherited) in [(far, near), (near, far)] {
            let client = client.with_timeout(own);
            let due = (Instant::now() + near).into_std();
            let within = Context::new().with_timeout(inherited);
            assert_eq!(within.scope(client.left()).await.unwrap(), Some(near));
            assert_eq!(witness.take().deadline().unwrap().instant(), due);
        }
        assert_eq!(client.left().await.unwrap(), None);
        assert_eq!(witness.take().deadline(), None);
    }
}

/// Lets oneway calls wait for a permit.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    asked: Count,
    told: Arc<Mutex<Vec<Answered>>>,
}

impl Interceptor for Gate {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        if call.method() == "note" {
            self.asked.add();
            self.permits.acquire().await.unwrap().forget();
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        if call.method() == "note" {
            self.told.lock().unwrap().push(answered);
        }
    }
}

#[tokio::test]
async fn a_oneway_call_waits_for_its_interceptor_as_others_do() {
    for on_client in [true, false] {
        let (runner, permits) = (Runner::default(), Arc::new(Semaphore::new(0)));
        let (asked, told) = Default::default();
        let gate = Gate {
            permits,
            asked,
            told,
        };
        let (mut server, mut channel) = (server(&runner), Channel::builder());
        if on_client {
            channel = channel.interceptor(gate.clone());
        } else {
            server = server.interceptor(gate.clone());
        }
        let (client, _server) = pair(server, channel);
        for times in 1..=2 {
            let noting = tokio::spawn({
                let client = client.clone();
                async move { client.note().await }
            });
            until(|| gate.asked.get() == times).await;
            client.marks().await.unwrap();
            assert_eq!(noting.is_finished(), !on_client, "sent");
            assert_eq!(runner.ran.get(), times - 1);
            assert_eq!(gate.told.lock().unwrap().len(), times - 1);
            gate.permits.add_permits(1);
            noting.await.unwrap().unwrap();
            until(|| runner.ran.get() == times).await;
            until(|| gate.told.lock().unwrap().len() == times).await;
        }
        client.marks().await.unwrap();
        assert_eq!(gate.asked.get(), 2);
        assert_eq!(*gate.told.lock().unwrap(), [Answered::Reply; 2]);
    }
}

/// A connection that ends when it is told to.
struct Fused<R>(R, oneshot::Receiver<()>);

impl<R: AsyncRead + Unpin> AsyncRead for Fused<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.1).poll(cx) {
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => Pin::new(&mut self.0).poll_read(cx, out),
        }
    }
}

/// The first attempt goes the short way and is lost; a second one, if there is any, is the same call.
#[tokio::test]
async fn a_call_whose_connection_is_lost_is_told_of_once() {
    for (again, waits) in [(false, false), (true, false), (false, true), (true, true)] {
        let (runner, mark) = (Runner::default(), Mark::new("c", waits));
        let fuses = Arc::new(Mutex::new(Vec::new()));
        let (wires, exchange) = network({
            let fuses = fuses.clone();
            move |_, (reader, writer)| {
                let (fuse, burnt) = oneshot::channel();
                fuses.lock().unwrap().push(fuse);
                (Box::new(Fused(reader, burnt)), writer)
            }
        });
        let _server = server(&runner).serve(exchange).unwrap();
        let channel = Channel::builder().interceptor(mark.clone());
        let client = ErrandsClient::new(channel.with_connector(Arc::new(wires.clone())));
        client.marks().await.unwrap();
        mark.check(1, 0).await;

        let lost = async {
            match again {
                true => client.run_again().await,
                false => client.run().await,
            }
        };
        let cut = async {
            until(|| runner.ran.get() == 1).await;
            fuses.lock().unwrap().remove(0).send(()).unwrap();
        };
        let (answer, ()) = soon(async { tokio::join!(lost, cut) }).await;
        if again {
            answer.unwrap();
            mark.check(1, 0).await;
        } else {
            assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
            mark.check(0, 1).await;
        }
        assert_eq!(runner.ran.get(), 1 + usize::from(again));
        client.marks().await.unwrap();
        mark.check(1, 0).await;
        assert_eq!(wires.opened(), 2);
    }
}

/// Makes a call of its own, by way of itself, for each of `marks`.
#[derive(Clone, Default)]
struct Busy {
    client: Arc<OnceLock<ErrandsClient>>,
    asked: Count,
    told: Count,
}

impl Interceptor for Busy {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.asked.add();
        if call.method() == "marks" {
            let left = self.client.get().unwrap().left().await?;
            call.metadata_mut().append("mark", "busy").unwrap();
            assert_eq!(left, None);
        }
        Ok(())
    }
    fn after(&self, _: &CallInfo, _: Answered) {
        self.told.add();
    }
}

/// Nobody waits for the memory that an interceptor is asked in, not even itself.
#[tokio::test]
async fn an_interceptor_may_make_calls_that_it_sees() {
    let busy = Busy::default();
    let channel = Channel::builder().interceptor(busy.clone());
    let (client, _server) = pair(server(&Runner::default()), channel);
    client.left().await.unwrap();
    busy.client.set(client.clone()).unwrap();
    for _ in 0..3 {
        let calls = join_all((0..8).map(|_| client.marks()));
        for marks in soon(calls).await {
            assert_eq!(marks.unwrap(), ["busy"]);
        }
    }
    until(|| busy.told.get() == 1 + 3 * 16).await;
    assert_eq!(busy.asked.get(), 1 + 3 * 16);
}

/// Marks one of so many calls.
#[derive(Clone)]
struct Every {
    side: &'static str,
    each: usize,
    asked: Arc<AtomicUsize>,
    told: Arc<AtomicUsize>,
    /// Those of them that it had changed.
    told_changed: Arc<AtomicUsize>,
}

impl Every {
    fn new(side: &'static str, each: usize) -> Self {
        let (asked, told, told_changed) = Default::default();
        Self {
            side,
            each,
            asked,
            told,
            told_changed,
        }
    }
}

impl Interceptor for Every {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let number = self.asked.fetch_add(1, SeqCst);
        if number.is_multiple_of(self.each) {
            call.metadata_mut().append("mark", self.side).unwrap();
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        let mut marks = call.metadata().get_all("mark");
        let is_marked = marks.any(|mark| mark == self.side);
        if answered == Answered::Reply && is_marked {
            self.told_changed.fetch_add(1, SeqCst);
        }
        self.told.fetch_add(1, SeqCst);
    }
}

/// Memory goes from call to call, and nothing that one was changed to.
#[tokio::test]
async fn of_calls_that_arrive_together_those_are_changed_that_are_to_be() {
    let (two, three) = (Every::new("2", 2), Every::new("3", 3));
    let channel = Channel::builder().interceptor(two.clone());
    let (client, _server) = pair(
        server(&Runner::default()).interceptor(three.clone()),
        channel,
    );
    for round in 0..3 {
        let numbers = round * 64..(round + 1) * 64;
        let calls = numbers.clone().map(|_| client.marks());
        for (number, marks) in numbers.zip(soon(join_all(calls)).await) {
            let expected = [(2, "2"), (3, "3")].into_iter();
            let expected = expected.filter(|&(each, _)| number % each == 0);
            let expected: Vec<_> = expected.map(|(_, mark)| mark).collect();
            assert_eq!(marks.unwrap(), expected, "{number}");
        }
    }
    until(|| three.told.load(SeqCst) == 3 * 64).await;
    assert_eq!(two.told.load(SeqCst), 3 * 64);
    for every in [two, three] {
        let changed = (0..3 * 64).filter(|number| number % every.each == 0);
        assert_eq!(every.told_changed.load(SeqCst), changed.count());
    }
}

/// Marks calls a second time with what they are marked with, and counts those that are told otherwise.
#[derive(Clone, Default)]
struct Twice {
    told: Count,
    wrong: Count,
}

impl Interceptor for Twice {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let mark = call.metadata().get("mark").unwrap().to_owned();
        call.metadata_mut().append("mark", &mark).unwrap();
        Ok(())
    }
    fn after(&self, call: &CallInfo, _: Answered) {
        let marks: Vec<_> = call.metadata().get_all("mark").collect();
        if !matches!(marks[..], [one, other] if one == other) {
            self.wrong.add();
        }
        self.told.add();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_ask_at_once_do_not_mix_their_calls() {
    let twice = Twice::default();
    let channel = Channel::builder().interceptor(twice.clone());
    let (client, _server) = pair(server(&Runner::default()), channel);
    let tasks = (0..8).map(|number| {
        let mark = number.to_string();
        let client = client.clone().with_metadata("mark", &mark).unwrap();
        tokio::spawn(async move {
            for _ in 0..250 {
                assert_eq!(client.marks().await.unwrap(), [&*mark, &*mark]);
            }
        })
    });
    for task in soon(join_all(tasks)).await {
        task.unwrap();
    }
    assert_eq!((twice.told.get(), twice.wrong.get()), (8 * 250, 0));
}
