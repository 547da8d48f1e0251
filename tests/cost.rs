//! What a call costs: writes to the stream and allocations.
//!
//! Why these and not time? They are the same on every machine, idle or busy, so a test can hold
//! them; time follows from them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::thread;

use allocation_counter::{AllocationInfo, measure};
use rpc::Streaming;
use rpc::transport::{Connector, Duplex, Listener, Peer};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, oneshot};
use tokio::task::yield_now;

/// The structured message: ten fields, one nested, one a vector of ten.
#[path = "../benches/peers/harness/src/record.rs"]
#[allow(unreachable_pub, reason = "it is public where it is at home")]
mod record;

use record::Record;

const IN_FLIGHT: u64 = 64;
/// Calls before anything is counted.
const WARM_UP: u64 = 2_000;

#[rpc::service]
trait Arith {
    async fn add(&self, a: i64, b: i64) -> rpc::Result<i64>;
    async fn add_later(&self, a: i64, b: i64) -> rpc::Result<i64>;
    async fn copy(&self, record: &Record) -> rpc::Result<Record>;
    #[rpc(oneway)]
    async fn note(&self, n: u64) -> rpc::Result<()>;
    async fn sum(&self, numbers: Streaming<u64>) -> rpc::Result<u64>;
}

struct Adder;

impl Arith for Adder {
    async fn add(&self, a: i64, b: i64) -> rpc::Result<i64> {
        Ok(a + b)
    }
    async fn add_later(&self, a: i64, b: i64) -> rpc::Result<i64> {
        yield_now().await;
        Ok(a + b)
    }
    async fn copy(&self, record: &Record) -> rpc::Result<Record> {
        Ok(record.clone())
    }
    async fn note(&self, _: u64) -> rpc::Result<()> {
        Ok(())
    }
    async fn sum(&self, mut numbers: Streaming<u64>) -> rpc::Result<u64> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }
}

/// Which call is made.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// Plain values, and a handler that is ready at once.
    Add,
    /// The same with a handler that waits once.
    AddLater,
    /// The structured message, there and back.
    Copy,
}

impl Call {
    async fn make(self, client: &ArithClient, n: u64) {
        static SAMPLE: LazyLock<Record> = LazyLock::new(Record::sample);
        match self {
            Self::Add => add(client, n).await,
            Self::AddLater => {
                let n = n as i64;
                assert_eq!(client.add_later(n, 1).await.unwrap(), n + 1);
            }
            Self::Copy => assert_eq!(client.copy(&SAMPLE).await.unwrap(), *SAMPLE),
        }
    }
}

/// Writes that took bytes, and the bytes.
#[derive(Debug, Default)]
struct Written {
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Written {
    fn take(&self) -> (u64, u64) {
        (self.writes.swap(0, Relaxed), self.bytes.swap(0, Relaxed))
    }
}

/// A writer that counts.
struct Counting<W> {
    inner: W,
    written: Arc<Written>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Counting<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Counted before: the peer may see the bytes, and the test read the count, before this
        // thread runs on.
        self.written.writes.fetch_add(1, Relaxed);
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        match written {
            Poll::Ready(Ok(count)) => self.written.bytes.fetch_add(count as u64, Relaxed),
            _ => self.written.writes.fetch_sub(1, Relaxed),
        };
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn counted(stream: TcpStream, written: &Arc<Written>) -> io::Result<Duplex> {
    stream.set_nodelay(true)?;
    let peer = Peer::from_address(stream.peer_addr()?);
    let (reader, inner) = stream.into_split();
    let written = written.clone();
    Ok(Duplex::new(reader, Counting { inner, written }, peer))
}

/// TCP over loopback whose writes are counted.
#[derive(Debug)]
struct CountedConnector {
    uri: String,
    written: Arc<Written>,
}

#[rpc::async_trait]
impl Connector for CountedConnector {
    async fn connect(&self) -> io::Result<Duplex> {
        let address = self.uri.trim_start_matches("tcp://");
        counted(TcpStream::connect(address).await?, &self.written)
    }

    fn target(&self) -> String {
        self.uri.clone()
    }
}

struct CountedListener {
    inner: TcpListener,
    written: Arc<Written>,
}

#[rpc::async_trait]
impl Listener for CountedListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let (stream, _) = self.inner.accept().await?;
        counted(stream, &self.written)
    }

    fn target(&self) -> String {
        format!("tcp://{}", self.inner.local_addr().unwrap())
    }
}

/// A server and one connection to it, warm, with both directions counted.
struct Pair {
    client: ArithClient,
    to_server: Arc<Written>,
    to_client: Arc<Written>,
    _server: rpc::Server,
}

impl Pair {
    async fn new() -> Self {
        Self::with_room_for(1024).await
    }

    /// The connection takes so many calls at once.
    async fn with_room_for(calls_max: u32) -> Self {
        let (to_server, to_client) = (Arc::<Written>::default(), Arc::<Written>::default());
        let listener = CountedListener {
            inner: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            written: to_client.clone(),
        };
        let server = rpc::Server::builder().calls_per_connection_max(calls_max);
        let server = server.add_service(ArithServer::new(Adder));
        let server = server.serve(listener).unwrap();
        let connector = CountedConnector {
            uri: server.uri().to_owned(),
            written: to_server.clone(),
        };
        let channel = rpc::Channel::builder().with_connector(Arc::new(connector));
        let pair = Self {
            client: ArithClient::new(channel),
            to_server,
            to_client,
            _server: server,
        };
        add(&pair.client, 1).await;
        pair.forget();
        pair
    }

    /// Counts from here.
    fn forget(&self) {
        self.to_server.take();
        self.to_client.take();
    }

    /// Calls for each write, client and server.
    fn calls_per_write(&self, calls: u64, runtime: &str) -> [f64; 2] {
        [(&self.to_server, "client"), (&self.to_client, "server")].map(|(written, side)| {
            let (writes, bytes) = written.take();
            let each = calls as f64 / writes as f64;
            let size = bytes / writes;
            println!("{runtime}: {side}: {each:.1} calls a write, {size} bytes a write");
            each
        })
    }
}

async fn add(client: &impl Arith, n: u64) {
    let n = n as i64;
    assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
}

/// Makes calls, always as many in flight.
async fn make_concurrently(call: Call, client: &ArithClient, calls: u64, in_flight: u64) {
    let callers = (0..in_flight).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0..calls / in_flight {
                call.make(&client, n).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_workers() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn s1_4_a_call_costs_one_write_on_each_side() {
    const CALLS: u64 = 2_000;
    for (name, runtime) in [("one thread", current_thread()), ("two", two_workers())] {
        runtime.block_on(async {
            let pair = Pair::new().await;
            for call in [Call::Add, Call::AddLater, Call::Copy] {
                for n in 0..CALLS {
                    call.make(&pair.client, n).await;
                }
                let each = pair.calls_per_write(CALLS, name);
                assert_eq!(each, [1.0, 1.0], "{name}, {call:?}: written at once");
            }
        });
    }
}

#[test]
fn s2_5_with_64_calls_in_flight_a_write_carries_16() {
    const CALLS: u64 = 10_000;
    for (name, runtime) in [("one thread", current_thread()), ("two", two_workers())] {
        runtime.block_on(async {
            let pair = Arc::new(Pair::new().await);
            for call in [Call::Add, Call::AddLater, Call::Copy] {
                let load = (IN_FLIGHT, CALLS);
                let [client, server] = measure_under_load(call, &pair, load, name).await;
                assert!(client >= 16.0 && server >= 16.0, "{name}: {call:?}");
            }
        });
    }
}

#[test]
fn calls_that_waited_for_room_share_a_write() {
    const ROOM: u32 = 64;
    let load = (4 * u64::from(ROOM), 10_000);
    current_thread().block_on(async {
        let pair = Arc::new(Pair::with_room_for(ROOM).await);
        for call in [Call::Add, Call::AddLater] {
            let [client, server] = measure_under_load(call, &pair, load, "in line").await;
            assert!(client >= 16.0 && server >= 16.0, "{call:?}");
        }
    });
}

#[test]
fn oneway_calls_in_a_row_share_a_write() {
    const CALLS: u64 = 10_000;
    current_thread().block_on(async {
        let pair = Pair::new().await;
        add(&pair.client, 1).await;
        pair.forget();
        let callers = (0..IN_FLIGHT).map(|_| {
            let client = pair.client.clone();
            tokio::spawn(async move {
                for n in 0..CALLS / IN_FLIGHT {
                    client.note(n).await.unwrap();
                    yield_now().await;
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        // What was sent before it is written before it.
        add(&pair.client, 1).await;
        let [client, _] = pair.calls_per_write(CALLS, "oneway");
        assert!(client >= 16.0);
    });
}

#[test]
fn items_in_a_row_share_a_write_though_each_is_sent_by_itself() {
    const ITEMS: u64 = 10_000;
    current_thread().block_on(async {
        let pair = Pair::new().await;
        add(&pair.client, 1).await;
        pair.forget();
        let (sender, numbers) = Streaming::channel(1);
        let sending = tokio::spawn(async move {
            for _ in 0..ITEMS {
                sender.send(1).await.unwrap();
            }
        });
        assert_eq!(pair.client.sum(numbers).await.unwrap(), ITEMS);
        sending.await.unwrap();
        let [client, _] = pair.calls_per_write(ITEMS, "items");
        // The driver lets all who are ready go first, once: the one producer there is.
        assert!(client >= 1.9);
    });
}

/// Calls for each write while so many callers are at work: from the moment when all of them are, until
/// the first of them stops.
async fn measure_under_load(
    call: Call,
    pair: &Arc<Pair>,
    (callers, calls): (u64, u64),
    runtime: &'static str,
) -> [f64; 2] {
    let together = Arc::new(Barrier::new(callers as usize));
    let made = Arc::<AtomicU64>::default();
    let callers = (0..callers).map(|_| {
        let (pair, together, made) = (pair.clone(), together.clone(), made.clone());
        tokio::spawn(async move {
            together.wait().await;
            loop {
                call.make(&pair.client, 1).await;
                match made.fetch_add(1, Relaxed) {
                    WARM_UP => pair.forget(),
                    n if n == WARM_UP + calls => {
                        return Some(pair.calls_per_write(calls, runtime));
                    }
                    n if n > WARM_UP + calls => return None,
                    _ => {}
                }
            }
        })
    });
    let mut measured = None;
    for caller in callers.collect::<Vec<_>>() {
        measured = measured.or(caller.await.unwrap());
    }
    measured.unwrap()
}

/// What is around a call, at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Nothing,
    Interceptors,
}

/// Looks at a call, and lets it through.
struct Nod;

impl rpc::Interceptor for Nod {
    async fn before(&self, call: &mut rpc::CallInfo) -> rpc::Result<()> {
        match call.method() {
            "" => Err(rpc::Status::invalid_argument("a method has a name")),
            _ => Ok(()),
        }
    }
}

/// Allocations while `calls` calls were made, on the client's thread and on the server's.
///
/// Allocations are counted for each thread, so each side has a thread and a runtime of its own.
fn allocations(call: Call, calls: u64, in_flight: u64, around: Around) -> [f64; 2] {
    let (uri, server_uri) = sync_channel(1);
    let (begin, began) = oneshot::channel();
    let (ready, server_ready) = sync_channel(1);
    let (end, ended) = oneshot::channel();
    let server = thread::spawn(move || serve_counted(&uri, began, &ready, ended, around));
    let uri: String = server_uri.recv().unwrap();
    let runtime = current_thread();
    let channel = match around {
        Around::Nothing => rpc::Channel::builder(),
        Around::Interceptors => rpc::Channel::builder().interceptor(Nod),
    };
    let channel = runtime.block_on(channel.connect(uri)).unwrap();
    let client = ArithClient::new(channel);
    let make = || runtime.block_on(make_concurrently(call, &client, calls, in_flight));
    make();
    begin.send(()).unwrap();
    server_ready.recv().unwrap();
    let client_side = measure(make);
    end.send(()).unwrap();
    let server_side = server.join().unwrap();
    [client_side, server_side].map(|side| side.count_total as f64 / calls as f64)
}

/// Serves on this thread; counts from the first signal to the second.
fn serve_counted(
    uri: &SyncSender<String>,
    began: oneshot::Receiver<()>,
    ready: &SyncSender<()>,
    ended: oneshot::Receiver<()>,
    around: Around,
) -> AllocationInfo {
    let runtime = current_thread();
    let mut server = rpc::Server::builder().add_service(ArithServer::new(Adder));
    if around == Around::Interceptors {
        server = server.interceptor(Nod);
    }
    let server = runtime.block_on(server.bind("tcp://127.0.0.1:0")).unwrap();
    uri.send(server.uri().to_owned()).unwrap();
    runtime.block_on(began).unwrap();
    measure(|| {
        ready.send(()).unwrap();
        runtime.block_on(ended).unwrap();
    })
}

/// What the values of a structured message take: five strings, the vector, ten strings in it.
const RECORD: f64 = 16.0;
/// For buffers that grow now and then.
const SPARE: f64 = 0.1;
/// On a machine that is busy with something else, a handler may seem to compute for long, and gets a task
/// of its own. What a call costs by itself is the least of some measurements.
const ATTEMPTS: usize = 3;

/// Measures what the client and the server allocate for each of such calls.
fn assert_admitted(call: Call, [client_max, server_max]: [f64; 2], measure: impl Fn() -> [f64; 2]) {
    let [mut client, mut server] = measure();
    for _ in 1..ATTEMPTS {
        if client <= client_max && server <= server_max {
            break;
        }
        let again = measure();
        (client, server) = (client.min(again[0]), server.min(again[1]));
    }
    println!("{call:?}: client {client:.3}, server {server:.3}");
    assert!(client <= client_max, "{call:?}: client: {client}");
    assert!(server <= server_max, "{call:?}: server: {server}");
}

/// Calls, how many are in flight, and what the client and the server may allocate for each: what was
/// measured. The goal for small calls is 1 and 2.
const BUDGETS: [(Call, u64, [f64; 2]); 6] = [
    (Call::Add, 1, [0.0, 1.0]),
    // Those that arrive together share the memory of their handlers.
    (Call::Add, IN_FLIGHT, [0.0, 0.0]),
    (Call::AddLater, 1, [0.0, 2.0]),
    (Call::AddLater, IN_FLIGHT, [0.0, 2.0]),
    // A long reply is kept for its caller, and the handler makes a copy.
    (Call::Copy, 1, [1.0 + RECORD, 1.0 + 2.0 * RECORD]),
    (Call::Copy, IN_FLIGHT, [1.0 + RECORD, 1.0 + 2.0 * RECORD]),
];

#[test]
fn a_call_allocates_what_its_budget_admits() {
    const CALLS: u64 = 10_240;
    for (call, in_flight, budget) in BUDGETS {
        let most = budget.map(|most| most + SPARE);
        assert_admitted(call, most, || {
            allocations(call, CALLS, in_flight, Around::Nothing)
        });
    }
}

/// An interceptor at each end: the client asks it in the same memory for each call; the server does so for
/// all calls of a read.
const INTERCEPTED: [(Call, u64, [f64; 2]); 3] = [
    (Call::Add, 1, [0.0, 4.0]),
    (Call::Add, IN_FLIGHT, [0.0, 0.1]),
    (Call::AddLater, IN_FLIGHT, [0.0, 5.0]),
];

#[test]
fn interceptors_allocate_what_their_budget_admits() {
    const CALLS: u64 = 10_240;
    for (call, in_flight, budget) in INTERCEPTED {
        let most = budget.map(|most| most + SPARE);
        assert_admitted(call, most, || {
            allocations(call, CALLS, in_flight, Around::Interceptors)
        });
    }
}
