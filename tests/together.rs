//! What calls that arrive in one read have to do with each other: nothing.
//!
//! Do they arrive in one read? A test and its server take turns on one thread: when the server reads, all
//! calls are in the pipe. That it then runs them before any caller goes on is the first test.

mod common;

use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};
use rpc::{Channel, Code, Context, Interceptor, MethodId, Server, ServerBuilder, Status};
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::AsyncWriteExt;

use common::{Count, network, raw, soon};

#[rpc::service]
trait Work {
    async fn one(&self, number: u64) -> rpc::Result<String>;
    async fn two(&self, number: u64) -> rpc::Result<String>;
    async fn act(&self, number: u64, deed: Deed) -> rpc::Result<u64>;
    /// The time left, of a handler that may not look, wait before it looks, or keep its context.
    async fn left(&self, way: Way) -> rpc::Result<Option<Duration>>;
    /// How many other handlers have something, of one that may panic with it.
    async fn hold(&self, panics: bool) -> rpc::Result<usize>;
    /// The time left, of a handler that another one calls at once.
    async fn relay(&self) -> rpc::Result<Option<Duration>>;
    async fn load(&self) -> rpc::Result<Loaded>;
    /// Fails with what panics where it is dropped.
    async fn blame(&self) -> Result<(), Blame>;
    /// Returns what cannot be encoded, and panics where it is dropped.
    async fn mumble(&self) -> rpc::Result<Mumbled>;
}

/// Panics where it is dropped, unless it was sent.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Loaded {
    #[serde(skip)]
    is_loaded: bool,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        assert!(!self.is_loaded, "as asked");
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Blame(Loaded);

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was not me")
    }
}

impl From<Status> for Blame {
    fn from(_: Status) -> Self {
        Self::default()
    }
}

#[derive(Debug, Deserialize)]
struct Mumbled {
    _loaded: Loaded,
}

impl Serialize for Mumbled {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("as asked"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Deed {
    Answer,
    Fail,
    Panic,
    Wait,
    WaitAndPanic,
    /// Not even decoded.
    Garble,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Way {
    Blind,
    Look,
    Wait,
    Keep,
    LookAndPanic,
}

#[derive(Clone, Default)]
struct Worker {
    name: &'static str,
    ran: Count,
    kept: Arc<Mutex<Vec<Context>>>,
    held: Held,
    next: Option<WorkClient>,
}

impl Work for Worker {
    async fn one(&self, number: u64) -> rpc::Result<String> {
        self.ran.add();
        Ok(format!("{} one {number}", self.name))
    }
    async fn two(&self, number: u64) -> rpc::Result<String> {
        self.ran.add();
        Ok(format!("{} two {number}", self.name))
    }
    async fn act(&self, number: u64, deed: Deed) -> rpc::Result<u64> {
        if matches!(deed, Deed::Wait | Deed::WaitAndPanic) {
            tokio::task::yield_now().await;
        }
        match deed {
            Deed::Answer | Deed::Wait => Ok(number),
            Deed::Fail => Err(Status::aborted(number.to_string())),
            Deed::Panic | Deed::WaitAndPanic => panic!("as asked"),
            Deed::Garble => unreachable!("it is not decoded"),
        }
    }
    async fn left(&self, way: Way) -> rpc::Result<Option<Duration>> {
        match way {
            Way::Blind => return Ok(None),
            Way::Wait => tokio::task::yield_now().await,
            Way::Look | Way::Keep | Way::LookAndPanic => {}
        }
        let context = Context::current();
        let left = context.remaining();
        assert_ne!(way, Way::LookAndPanic, "as asked");
        if way == Way::Keep {
            self.kept.lock().unwrap().push(context);
        }
        Ok(left)
    }
    async fn hold(&self, panics: bool) -> rpc::Result<usize> {
        let hold = self.held.take();
        assert!(!panics, "as asked");
        Ok(hold.others)
    }
    async fn relay(&self) -> rpc::Result<Option<Duration>> {
        let next = self.next.as_ref().expect("there is a next one");
        next.left(Way::Look).await
    }
    async fn load(&self) -> rpc::Result<Loaded> {
        Ok(Loaded { is_loaded: true })
    }
    async fn blame(&self) -> Result<(), Blame> {
        Err(Blame(Loaded { is_loaded: true }))
    }
    async fn mumble(&self) -> rpc::Result<Mumbled> {
        let _loaded = Loaded { is_loaded: true };
        Ok(Mumbled { _loaded })
    }
}

/// What handlers have at the moment.
#[derive(Clone, Default)]
struct Held(Arc<AtomicUsize>);

impl Held {
    fn take(&self) -> Hold {
        let others = self.0.fetch_add(1, SeqCst);
        let held = self.clone();
        Hold { others, held }
    }
}

struct Hold {
    others: usize,
    held: Held,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.0.fetch_sub(1, SeqCst);
    }
}

/// Is ready at once, and has it still.
impl Future for Hold {
    type Output = rpc::Result<usize>;

    fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.others))
    }
}

struct Idle;

impl Interceptor for Idle {}

/// A channel that is connected.
async fn serve(builder: ServerBuilder, intercepted: bool) -> (Channel, Server) {
    let builder = builder.add_function("Test.connect", |()| ready(Ok::<_, Status>(())));
    let builder = match intercepted {
        true => builder.interceptor(Idle),
        false => builder,
    };
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder.serve(exchange).unwrap();
    let channel = Channel::builder().with_connector(Arc::new(wires));
    let () = channel.call("Test.connect", &()).await.unwrap();
    (channel, server)
}

async fn serve_worker(worker: &Worker, intercepted: bool) -> (Channel, Server) {
    let builder = Server::builder().add_service(WorkServer::new(worker.clone()));
    serve(builder, intercepted).await
}

#[tokio::test]
async fn they_are_run_before_any_caller_goes_on() {
    for intercepted in [false, true] {
        let worker = Worker::default();
        let (channel, _server) = serve_worker(&worker, intercepted).await;
        let client = WorkClient::new(channel);
        let calls = (0..8).map(async |number| {
            client.one(number).await.unwrap();
            worker.ran.get()
        });
        assert_eq!(soon(join_all(calls)).await, [8; 8]);
    }
}

/// A B A B B A.
const TURNS: [usize; 6] = [0, 1, 0, 1, 1, 0];

/// Calls two methods in turns, all together and then one after the other, and finds each answer to be
/// its own.
async fn take_turns(channel: &Channel, methods: [&str; 2], names: [&str; 2]) {
    let call = async |(number, turn): (u64, usize)| {
        let answer: String = channel.call(methods[turn], &(number,)).await.unwrap();
        assert_eq!(answer, format!("{} {number}", names[turn]));
    };
    let calls = || (0..).zip(TURNS).map(call);
    soon(join_all(calls())).await;
    for call in calls() {
        soon(call).await;
    }
}

#[tokio::test]
async fn each_method_answers_as_itself() {
    for intercepted in [false, true] {
        let name = "a";
        let worker = |name| Worker {
            name,
            ..Worker::default()
        };
        let builder = Server::builder()
            .add_service(WorkServer::new(worker(name)))
            .add_service_as("Other", WorkServer::new(worker("b")));
        let (channel, _server) = serve(builder, intercepted).await;
        take_turns(&channel, ["Work.one", "Work.two"], ["a one", "a two"]).await;
        take_turns(&channel, ["Work.one", "Other.one"], ["a one", "b one"]).await;
        take_turns(&channel, ["Other.two", "Work.one"], ["b two", "a one"]).await;
    }
}

type Function = fn((u64,)) -> Ready<rpc::Result<String>>;

/// Whatever they are told apart by, it is not their types.
#[tokio::test]
async fn functions_of_one_type_answer_as_themselves() {
    let one: Function = |(number,)| ready(Ok(format!("one {number}")));
    let two: Function = |(number,)| ready(Ok(format!("two {number}")));
    for intercepted in [false, true] {
        let builder = Server::builder().add_function("Test.one", one);
        let builder = builder.add_function("Test.two", two);
        let (channel, _server) = serve(builder, intercepted).await;
        take_turns(&channel, ["Test.one", "Test.two"], ["one", "two"]).await;
    }
}

fn act(channel: &Channel, number: u64, deed: Deed) -> LocalBoxFuture<'_, rpc::Result<u64>> {
    Box::pin(async move {
        match deed {
            Deed::Garble => channel.call("Work.act", &(number,)).await,
            _ => channel.call("Work.act", &(number, deed)).await,
        }
    })
}

/// Finds the answer to be that of the deed.
fn check(number: u64, deed: Deed, answer: rpc::Result<u64>) {
    let code = match deed {
        Deed::Answer | Deed::Wait => return assert_eq!(answer, Ok(number), "{deed:?}"),
        Deed::Fail => Code::Aborted,
        Deed::Panic | Deed::WaitAndPanic => Code::Internal,
        Deed::Garble => Code::InvalidArgument,
    };
    let status = answer.expect_err("the deed is none that succeeds");
    assert_eq!(status.code(), code, "{deed:?}: {status}");
    if deed == Deed::Fail {
        assert_eq!(status.message(), number.to_string());
    }
}

#[tokio::test]
async fn what_becomes_of_one_is_nothing_to_the_next() {
    use Deed::{Answer, Fail, Garble, Panic, Wait, WaitAndPanic};
    let deeds = [
        Answer,
        Garble,
        Answer,
        Panic,
        Answer,
        Wait,
        Answer,
        Fail,
        Garble,
        Panic,
        Wait,
        WaitAndPanic,
    ];
    for intercepted in [false, true] {
        let (channel, _server) = serve_worker(&Worker::default(), intercepted).await;
        // Each is the first once.
        for first in 0..deeds.len() {
            let deeds = || (0_u64..).zip(deeds.into_iter().cycle().skip(first).take(deeds.len()));
            let calls = deeds().map(|(number, deed)| act(&channel, number, deed));
            let answers = soon(join_all(calls)).await;
            for ((number, deed), answer) in deeds().zip(answers) {
                check(number, deed, answer);
            }
        }
    }
}

/// In seconds. The first call is read alone. Behind it, whichever of two ways comes first, the other follows
/// with the same timeout and with another.
const TIMEOUTS: [Option<u64>; 8] = [
    Some(50),
    Some(50),
    Some(50),
    Some(50),
    None,
    None,
    Some(20),
    Some(50),
];

fn assert_near(left: Option<Duration>, timeout: Option<u64>) {
    let timeout = timeout.map(Duration::from_secs);
    assert_eq!(left.is_some(), timeout.is_some(), "{left:?}: {timeout:?}");
    if let Some((left, timeout)) = left.zip(timeout) {
        let passed = timeout.checked_sub(left);
        let is_near = passed.is_some_and(|passed| passed < Duration::from_secs(10));
        assert!(is_near, "{left:?} of {timeout:?}");
    }
}

/// What the handler before made of the context, if it looked, is nothing to the next; and one that does
/// not look leaves the next one its own.
#[tokio::test]
async fn each_has_its_own_deadline_also_if_contexts_are_kept() {
    use Way::{Blind, Keep, Look, LookAndPanic, Wait};
    let ways = [Blind, Look, Wait, Keep, LookAndPanic];
    let pairs = ways
        .into_iter()
        .flat_map(|even| ways.map(|odd| [even, odd]));
    for (pair, intercepted) in pairs.flat_map(|pair| [(pair, false), (pair, true)]) {
        let worker = Worker::default();
        let (channel, _server) = serve_worker(&worker, intercepted).await;
        let client = WorkClient::new(channel);
        let calls = || TIMEOUTS.into_iter().zip(pair.into_iter().cycle());
        let made = calls().map(async |(timeout, way)| {
            let client = match timeout {
                Some(timeout) => client.clone().with_timeout(Duration::from_secs(timeout)),
                None => client.clone(),
            };
            client.left(way).await
        });
        for ((timeout, way), left) in calls().zip(soon(join_all(made)).await) {
            match left {
                Ok(left) => assert_near(left, timeout.filter(|_| way != Blind)),
                Err(status) => {
                    let told = (way, status.code());
                    assert_eq!(told, (LookAndPanic, Code::Internal), "{status}");
                }
            }
        }
        // Those that are kept are still their own.
        let kept = worker.kept.lock().unwrap();
        let keepers: Vec<_> = calls().filter(|&(_, way)| way == Keep).collect();
        assert_eq!(kept.len(), keepers.len());
        for (context, (timeout, _)) in kept.iter().zip(keepers) {
            assert_near(context.remaining(), timeout);
        }
    }
}

/// Also of a call that is made in the poll in which its own was read, and behind calls that had to wait.
#[tokio::test]
async fn what_a_handler_calls_has_its_deadline() {
    for intercepted in [false, true] {
        let (channel, _next) = serve_worker(&Worker::default(), intercepted).await;
        let worker = Worker {
            next: Some(WorkClient::new(channel)),
            ..Worker::default()
        };
        let (channel, _server) = serve_worker(&worker, intercepted).await;
        let client = WorkClient::new(channel).with_timeout(Duration::from_secs(50));
        for _ in 0..3 {
            let calls = (0..3).map(|_| client.relay());
            for left in soon(join_all(calls)).await {
                assert_near(left.unwrap(), Some(50));
            }
        }
    }
}

/// The kinds of the frames that answer a call of each method, all of which come together, in order.
async fn kinds_of_answers(methods: &[&str], intercepted: bool) -> Vec<u8> {
    let builder = Server::builder().add_service(WorkServer::new(Worker::default()));
    let builder = match intercepted {
        true => builder.interceptor(Idle),
        false => builder,
    };
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder.serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let request = |(call, method)| {
        let method = MethodId::of("Work", method).number();
        raw::request(call, 0, method, 0)
    };
    let numbered = (1..).zip(methods.iter().copied());
    let requests: Vec<_> = numbered.map(request).collect();
    stream.write_all(&requests.concat()).await.unwrap();
    let mut kinds = Vec::new();
    for call in (1..).take(methods.len()) {
        let (header, _) = soon(raw::read_frame(&mut stream)).await;
        assert_eq!(header[4], call, "{methods:?}");
        kinds.push(header[8]);
    }
    // Nothing is behind them but the answer of the next.
    stream.write_all(&request((99, "load"))).await.unwrap();
    let (header, _) = soon(raw::read_frame(&mut stream)).await;
    assert_eq!((header[4], header[8]), (99, raw::RESPONSE), "{methods:?}");
    kinds
}

/// What panics behind the back of an answer was sent, and nothing else is.
#[tokio::test]
async fn an_answer_whose_drop_panics_is_the_only_one() {
    for intercepted in [false, true] {
        let kinds = kinds_of_answers(&["load"; 3], intercepted).await;
        assert_eq!(kinds, [raw::RESPONSE; 3]);
        for method in ["blame", "mumble"] {
            let kinds = kinds_of_answers(&[method; 3], intercepted).await;
            assert_eq!(kinds, [raw::ERROR; 3], "{method}");
            let kinds = kinds_of_answers(&["load", method, "load"], intercepted).await;
            assert_eq!(kinds, [raw::RESPONSE, raw::ERROR, raw::RESPONSE]);
        }
    }
}

#[tokio::test]
async fn what_a_handler_has_is_gone_before_the_next_runs() {
    for intercepted in [false, true] {
        let worker = Worker::default();
        let (channel, _server) = serve_worker(&worker, intercepted).await;
        let client = WorkClient::new(channel);
        let calls = (0..9).map(|number| client.hold(number % 3 == 2));
        for (number, others) in soon(join_all(calls)).await.into_iter().enumerate() {
            let code = others.map_err(|status| status.code());
            let expected = if number % 3 == 2 {
                Err(Code::Internal)
            } else {
                Ok(0)
            };
            assert_eq!(code, expected, "{number}");
        }
        assert_eq!(worker.held.0.load(SeqCst), 0);
    }
}

/// As above, of what is part of the future itself.
#[tokio::test]
async fn what_a_future_has_is_gone_before_the_next_is_made() {
    for intercepted in [false, true] {
        let held = Held::default();
        let (part, captured) = (held.clone(), held.clone());
        let builder = Server::builder()
            .add_function("Test.part", move |()| part.take())
            .add_function("Test.captured", move |()| {
                let hold = captured.take();
                async move {
                    // The whole of it.
                    let hold = &hold;
                    Ok::<_, Status>(hold.others)
                }
            });
        let (channel, _server) = serve(builder, intercepted).await;
        let methods = ["Test.part", "Test.captured"];
        let alone = methods.map(|method| [method; 6]);
        for methods in [alone[0], alone[1], TURNS.map(|turn| methods[turn])] {
            let calls = methods.map(|method| channel.call::<_, usize>(method, &()));
            let others = soon(join_all(calls)).await;
            assert_eq!(others, [const { Ok(0) }; 6], "{methods:?}");
            assert_eq!(held.0.load(SeqCst), 0);
        }
    }
}
