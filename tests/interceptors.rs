//! Code of the user's own around every call, on the client and on the server.

mod common;
#[path = "interceptors/haste.rs"]
mod haste;
#[path = "interceptors/terms.rs"]
mod terms;
#[path = "interceptors/ways.rs"]
mod ways;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rpc::{
    Answered, CallInfo, Channel, Code, Context, Interceptor, Server, ServerBuilder, Status,
    capture_metadata,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

use common::{Count, Wires, network, until};

static ENCODED: Mutex<usize> = Mutex::new(0);
static DECODED: Mutex<usize> = Mutex::new(0);

/// Bytes that count how often they are encoded and decoded.
#[derive(Debug)]
struct Load(Bytes);

impl Serialize for Load {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        *ENCODED.lock().unwrap() += 1;
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        *DECODED.lock().unwrap() += 1;
        Ok(Self(Vec::<u8>::deserialize(deserializer)?.into()))
    }
}

#[rpc::service]
trait Vault {
    async fn store(&self, load: Load) -> rpc::Result<usize>;
    /// The values of a key as the handler finds them.
    async fn metadata(&self, key: String) -> rpc::Result<Vec<String>>;
    async fn fail(&self) -> rpc::Result<()>;
    /// At once, or after it has waited.
    async fn panic(&self, waits: bool) -> rpc::Result<()>;
    async fn hang(&self) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self) -> rpc::Result<()>;
}

#[derive(Clone, Default)]
struct Cellar {
    ran: Count,
}

impl Vault for Cellar {
    async fn store(&self, load: Load) -> rpc::Result<usize> {
        self.ran.add();
        Ok(load.0.len())
    }
    async fn metadata(&self, key: String) -> rpc::Result<Vec<String>> {
        self.ran.add();
        let context = Context::current();
        let values = context.metadata().get_all(&key).map(str::to_owned);
        Ok(values.collect())
    }
    async fn fail(&self) -> rpc::Result<()> {
        self.ran.add();
        Err(Status::aborted("as asked"))
    }
    async fn panic(&self, waits: bool) -> rpc::Result<()> {
        if waits {
            tokio::task::yield_now().await;
        }
        panic!("a secret of the handler");
    }
    async fn hang(&self) -> rpc::Result<()> {
        self.ran.add();
        std::future::pending().await
    }
    async fn note(&self) -> rpc::Result<()> {
        self.ran.add();
        Ok(())
    }
}

fn builder(cellar: &Cellar) -> ServerBuilder {
    Server::builder().add_service(VaultServer::new(cellar.clone()))
}

fn pair(server: ServerBuilder, channel: rpc::ChannelBuilder) -> (VaultClient, Wires, Server) {
    let (wires, exchange) = network(|_, ends| ends);
    let server = server.serve(exchange).unwrap();
    let channel = channel.with_connector(Arc::new(wires.clone()));
    (VaultClient::new(channel), wires, server)
}

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it sees, and does what its orders are.
struct Scribe {
    name: &'static str,
    log: Log,
    orders: Orders,
}

#[derive(Clone, Copy, PartialEq)]
enum Orders {
    Nothing,
    Refuse,
    PanicBefore,
    PanicAfter,
}

impl Scribe {
    fn new(name: &'static str, log: &Log, orders: Orders) -> Self {
        let log = log.clone();
        Self { name, log, orders }
    }
    fn write(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }
}

impl Interceptor for Scribe {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.write(format!("{} before {}", self.name, call.method()));
        // Those of an even length are ready at once.
        if self.name.len() % 2 == 1 {
            tokio::task::yield_now().await;
        }
        match self.orders {
            Orders::Refuse => Err(Status::permission_denied("not you")),
            Orders::PanicBefore => panic!("a secret of before"),
            _ => Ok(()),
        }
    }
    fn after(&self, _: &CallInfo, answered: Answered) {
        self.write(format!("{} after {answered:?}", self.name));
        if self.orders == Orders::PanicAfter {
            panic!("a secret of after");
        }
    }
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// Asked in order, told in the opposite order; who refuses, and who was asked before, is told.
#[tokio::test]
async fn interceptors_run_in_order_and_see_outcomes_in_reverse() {
    let log = Log::default();
    let scribe = |name| Scribe::new(name, &log, Orders::Nothing);
    let server = builder(&Cellar::default());
    let server = server.interceptor(scribe("s1")).interceptor(scribe("s2"));
    let channel = Channel::builder();
    let channel = channel.interceptor(scribe("c1")).interceptor(scribe("c2"));
    let (client, _, server) = pair(server, channel);
    client.metadata("x".into()).await.unwrap();
    until(|| log.lock().unwrap().len() == 8).await;
    let lines = take(&log);
    let before = ["c1", "c2", "s1", "s2"].map(|name| format!("{name} before metadata"));
    assert_eq!(lines[..4], before);
    let after = |side: &str| -> Vec<String> {
        let told = lines.iter().filter(|line| line.contains("after"));
        told.filter(|line| line.starts_with(side))
            .cloned()
            .collect()
    };
    assert_eq!(after("s"), ["s2 after Reply", "s1 after Reply"]);
    assert_eq!(after("c"), ["c2 after Reply", "c1 after Reply"]);

    client.fail().await.unwrap_err();
    until(|| log.lock().unwrap().len() == 8).await;
    let lines = take(&log);
    let errors = lines.iter().filter(|line| line.ends_with("Error(Aborted)"));
    assert_eq!(errors.count(), 4, "{lines:?}");
    drop(server);
}

/// A refusal by one ends the call: neither the next interceptor nor anything behind it runs.
#[tokio::test]
async fn a_refusal_on_either_side_runs_nothing_behind_it() {
    for on_client in [true, false] {
        let (log, cellar) = (Log::default(), Cellar::default());
        let scribe = |name, orders| Scribe::new(name, &log, orders);
        let (mut server, mut channel) = (builder(&cellar), Channel::builder());
        for (name, orders) in [
            ("1", Orders::Nothing),
            ("2", Orders::Refuse),
            ("3", Orders::Nothing),
        ] {
            if on_client {
                channel = channel.interceptor(scribe(name, orders));
            } else {
                server = server.interceptor(scribe(name, orders));
            }
        }
        let (client, wires, server) = pair(server, channel);
        let status = client.fail().await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "not you");
        assert!(status.is_not_processed());
        assert_eq!(cellar.ran.get(), 0);
        assert_eq!(wires.opened(), usize::from(!on_client), "sent");
        until(|| log.lock().unwrap().len() == 4).await;
        let told = "after Error(PermissionDenied)";
        let (two, one) = (format!("2 {told}"), format!("1 {told}"));
        assert_eq!(take(&log), ["1 before fail", "2 before fail", &*two, &*one]);
        // A oneway call that the server refuses is refused in silence.
        assert_eq!(client.note().await.is_err(), on_client);
        until(|| server.load().calls_in_flight == 0 && log.lock().unwrap().len() == 4).await;
        assert_eq!(cellar.ran.get(), 0);
    }
}

/// T14: a panic in one ends its call only; its text stays on this side.
#[tokio::test]
async fn t14_a_panic_in_an_interceptor_fails_its_call_alone() {
    for (on_client, orders) in [
        (true, Orders::PanicBefore),
        (false, Orders::PanicBefore),
        (true, Orders::PanicAfter),
        (false, Orders::PanicAfter),
    ] {
        let (log, cellar) = (Log::default(), Cellar::default());
        let scribe = |name, orders| Scribe::new(name, &log, orders);
        let (mut server, mut channel) = (builder(&cellar), Channel::builder());
        for (name, orders) in [("outer", Orders::Nothing), ("rude", orders)] {
            if on_client {
                channel = channel.interceptor(scribe(name, orders));
            } else {
                server = server.interceptor(scribe(name, orders));
            }
        }
        let (client, wires, server) = pair(server, channel);
        let answer = client.metadata("x".into()).await;
        if orders == Orders::PanicBefore {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::Internal);
            assert!(!format!("{status:?} {status}").contains("secret"));
            assert_eq!(cellar.ran.get(), 0);
        } else {
            // The outcome is there already: it cannot change any more.
            answer.unwrap();
        }
        until(|| log.lock().unwrap().len() == 4).await;
        assert!(take(&log)[3].starts_with("outer after"), "it is told");
        until(|| server.load().calls_in_flight == 0).await;
        let calls = join_all((0..10).map(|_| client.fail())).await;
        let expected = match orders {
            Orders::PanicBefore => Code::Internal,
            _ => Code::Aborted,
        };
        assert!(calls.into_iter().all(|c| c.unwrap_err().code() == expected));
        assert!(wires.opened() <= 1, "on one connection");
    }
}

/// T14: a handler that panics is an outcome as any other.
#[tokio::test]
async fn t14_interceptors_are_told_of_a_handler_that_panicked() {
    for waits in [false, true] {
        let (log, cellar) = (Log::default(), Cellar::default());
        let scribe = Scribe::new("it", &log, Orders::Nothing);
        let server = builder(&cellar).interceptor(scribe);
        let (client, _, server) = pair(server, Channel::builder());
        let status = client.panic(waits).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.is_not_processed(), "it ran up to the panic");
        assert!(!format!("{status:?} {status}").contains("secret"));
        until(|| log.lock().unwrap().len() == 2).await;
        assert_eq!(take(&log), ["it before panic", "it after Error(Internal)"]);
        until(|| server.load().calls_in_flight == 0).await;
        let stats = server.method_stats("Vault.panic").unwrap();
        assert_eq!((stats.calls, stats.errors, stats.in_flight), (1, 1, 0));
    }
}

/// What each side can see of a call.
#[derive(Default)]
struct Witness(Arc<Mutex<Vec<CallInfo>>>, Arc<Mutex<Vec<Duration>>>);

impl Interceptor for Witness {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.0.lock().unwrap().push(call.clone());
        Ok(())
    }
    fn after(&self, call: &CallInfo, answered: Answered) {
        assert_eq!(answered, Answered::Error(Code::DeadlineExceeded));
        self.1.lock().unwrap().push(call.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn each_side_sees_service_method_metadata_peer_deadline_and_time() {
    let (seen, times) = (Arc::default(), Arc::default());
    let witness = || Witness(Arc::clone(&seen), Arc::clone(&times));
    let server = builder(&Cellar::default()).interceptor(witness());
    let (client, _, _server) = pair(server, Channel::builder().interceptor(witness()));
    let client = client.with_metadata("tenant", "acme").unwrap();
    let begin = Instant::now();
    let limit = Duration::from_millis(250);
    client.with_timeout(limit).hang().await.unwrap_err();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "the client's side, then the server's");
    for call in seen.iter() {
        assert_eq!((call.service(), call.method()), ("Vault", "hang"));
        assert_eq!(call.metadata().get("tenant"), Some("acme"));
        let deadline = call.deadline().unwrap().instant();
        assert_eq!(deadline, (begin + limit).into_std());
    }
    assert!(seen[0].peer().is_none());
    let peer = seen[1].peer().unwrap();
    assert_eq!(peer.to_string(), "test://client");
    // The server stops a handler without asking anybody further: only the caller's side is told.
    assert_eq!(*times.lock().unwrap(), [limit]);
}

/// Adds a pair on its way, in both directions where it can.
struct Stamp(&'static str);

impl Interceptor for Stamp {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        call.metadata_mut().append("stamp", self.0)?;
        Ok(Context::current().add_response_metadata("stamped-by", self.0)?)
    }
}

#[tokio::test]
async fn metadata_is_added_on_both_sides() {
    let server = builder(&Cellar::default());
    let server = server.interceptor(Stamp("s1")).interceptor(Stamp("s2"));
    let channel = Channel::builder();
    let channel = channel.interceptor(Stamp("c1")).interceptor(Stamp("c2"));
    let (client, _, _server) = pair(server, channel);
    let client = client.with_metadata("stamp", "own").unwrap();
    for _ in 0..2 {
        let (stamps, response) = capture_metadata(client.metadata("stamp".into())).await;
        assert_eq!(stamps.unwrap(), ["own", "c1", "c2", "s1", "s2"]);
        let by: Vec<_> = response.get_all("stamped-by").collect();
        assert_eq!(by, ["s1", "s2"], "only the server's side has a response");
    }
}

const KEY: &str = "Bearer S3CR3T-key";

/// The client's half of authentication: the key is written once, not at each call.
struct WithKey(&'static str);

impl Interceptor for WithKey {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let added = call.metadata_mut().insert("authorization", self.0);
        added.map_err(|error| Status::internal(error.to_string()))
    }
}

/// The server's half.
struct KeyRequired;

impl Interceptor for KeyRequired {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        match call.metadata().get("authorization") {
            Some(KEY) => Ok(()),
            Some(_) => Err(Status::unauthenticated("wrong key")),
            None => Err(Status::unauthenticated("no key")),
        }
    }
}

/// S2-1, T25: the key is asked for before a byte of the body is decoded.
#[tokio::test]
async fn s2_1_t25_a_wrong_key_runs_neither_decoder_nor_handler() {
    let cellar = Cellar::default();
    let server = builder(&cellar).message_bytes_max(5 << 20);
    let server = server.interceptor(KeyRequired);
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let load = || Load(vec![7; 4 << 20].into());
    for (key, told) in [(None, "no key"), (Some("Bearer guess"), "wrong key")] {
        let mut channel = Channel::builder().message_bytes_max(5 << 20);
        if let Some(key) = key {
            channel = channel.interceptor(WithKey(key));
        }
        let channel = channel.connect(server.uri()).await.unwrap();
        let client = VaultClient::new(channel);
        let status = client.store(load()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), told);
        assert_eq!((cellar.ran.get(), *DECODED.lock().unwrap()), (0, 0));
        // The connection is as good as before.
        let status = client.metadata("x".into()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    assert_eq!(*ENCODED.lock().unwrap(), 2, "4 MiB were sent, twice");
    let channel = Channel::builder().interceptor(WithKey(KEY));
    let channel = channel.message_bytes_max(5 << 20);
    let client = VaultClient::new(channel.connect(server.uri()).await.unwrap());
    assert_eq!(client.store(load()).await.unwrap(), 4 << 20);
    assert_eq!((cellar.ran.get(), *DECODED.lock().unwrap()), (1, 1));

    // A client that refuses by itself does not even encode.
    let log = Log::default();
    let strict = Scribe::new("strict", &log, Orders::Refuse);
    let channel = Channel::builder().interceptor(strict);
    let client = VaultClient::new(channel.connect(server.uri()).await.unwrap());
    client.store(load()).await.unwrap_err();
    assert_eq!(*ENCODED.lock().unwrap(), 3);
}
