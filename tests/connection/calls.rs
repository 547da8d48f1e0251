//! What can be seen of a call beside its answer: counters, doubles, peers, interceptors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rpc::{
    CallInfo, Channel, Code, Codec, Context, Interceptor, Invoke, Request, Response, Server,
    Status, async_trait,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::common::{network, raw, soon, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// The source paid a connection for each call.
#[tokio::test]
async fn s0_10_ten_thousand_calls_use_one_connection() {
    let (client, wires, server) = pair(builder(&Worker::default()), |_, ends| ends);
    for nonce in 0..10_000 {
        assert_eq!(client.echo(nonce, vec![]).await.unwrap().0, nonce);
    }
    assert_eq!(wires.opened(), 1);
    assert_eq!(server.connection_count(), 1);
}

/// Many first calls at once share one attempt to connect.
#[tokio::test]
async fn s0_10_a_hundred_first_calls_make_one_connection() {
    let (client, wires, _server) = pair(builder(&Worker::default()), |_, ends| ends);
    let answers = join_all((0..100).map(|nonce| client.echo(nonce, vec![]))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(wires.opened(), 1);
}

/// Tasks that have made their calls are not held by the connection.
#[tokio::test]
async fn wakers_are_let_go_when_no_call_is_open() {
    struct Caller;
    impl Wake for Caller {
        fn wake(self: Arc<Self>) {}
    }
    let (client, _wires, _server) = pair(builder(&Worker::default()), |_, ends| ends);
    client.echo(0, vec![]).await.unwrap();
    let caller = Arc::new(Caller);
    let waker = Waker::from(caller.clone());
    let mut cx = task::Context::from_waker(&waker);
    let mut calls: Vec<_> = (1..9).map(|n| Box::pin(client.echo(n, vec![]))).collect();
    until(|| {
        calls.retain_mut(|call| call.as_mut().poll(&mut cx).is_pending());
        calls.is_empty()
    })
    .await;
    drop(waker);
    until(|| Arc::strong_count(&caller) == 1).await;
}

/// S3-9: each request carries the next id, and its body is in the codec that the hello named, of
/// several channels each in its own.
#[tokio::test]
async fn s3_9_a_request_has_the_next_id_and_the_codec_of_its_channel() {
    let (wires, mut exchange) = network(|_, ends| ends);
    let channel = |codec| {
        let builder = Channel::builder().codec(codec);
        WorkClient::new(builder.with_connector(Arc::new(wires.clone())))
    };
    let bincode = [7, 1, 9];
    let json = br#"{"nonce":7,"padding":[9]}"#;
    let each = [(Codec::Bincode, &bincode[..]), (Codec::Json, &json[..])];
    for (codec, body) in each {
        let id = codec.id().number();
        let client = channel(codec);
        let calls =
            tokio::spawn(async move { join_all((0..3).map(|_| client.echo(7, vec![9]))).await });
        let mut stream = exchange.next().await;
        let (hello, _) = soon(raw::read_ack(&mut stream)).await;
        assert_eq!((&hello[..4], hello[6]), (&raw::MAGIC[..], id));
        let mut ids = Vec::new();
        for _ in 0..3 {
            let (header, sent) = soon(raw::read_frame(&mut stream)).await;
            assert_eq!((header[8], &sent[..]), (raw::REQUEST, body), "codec {id}");
            ids.push(u32::from_le_bytes(header[4..8].try_into().unwrap()));
        }
        assert!(ids[0] > 0 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        drop(stream);
        assert!(soon(calls).await.unwrap().iter().all(Result::is_err));
    }
}

#[derive(Clone, Debug, Default)]
struct Double(Arc<Mutex<Vec<Request>>>);

#[async_trait]
impl Invoke for Double {
    async fn invoke(&self, request: Request) -> Result<Response, Status> {
        let refused = &*request.method == "fail";
        self.0.lock().unwrap().push(request);
        if refused {
            return Err(Status::aborted("canned"));
        }
        let mut body = Vec::new();
        let canned = (42_u64, vec![1_u8]);
        self.codec().encode(&canned, &mut body).unwrap();
        Ok(Response::new(Bytes::from(body)))
    }
}

#[tokio::test]
async fn s0_20_a_double_records_calls_and_answers_them() {
    let double = Double::default();
    let client = WorkClient::new(Channel::from_invoke(double.clone()));
    let client = client.with_timeout(Duration::from_secs(7));
    let client = client.with_metadata("tenant", "a").unwrap();
    assert_eq!(client.echo(3, vec![9, 8]).await.unwrap(), (42, vec![1]));
    let status = client.fail(1).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "canned"));
    client.swallow(b"x").await.unwrap();

    let calls = double.0.lock().unwrap();
    let seen: Vec<_> = calls
        .iter()
        .map(|c| (&*c.service, &*c.method, &*c.body, c.oneway))
        .collect();
    // Bincode: the number, the length, the bytes.
    let expected: [(&str, &str, &[u8], bool); 3] = [
        ("Work", "echo", &[3, 2, 9, 8], false),
        ("Work", "fail", &[1], false),
        ("Work", "swallow", &[1, b'x'], true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(calls[0].timeout, Some(Duration::from_secs(7)));
    assert_eq!(calls[0].metadata.get("tenant"), Some("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_6_counters_equal_the_calls_of_64_concurrent_callers() {
    const CALLERS: u64 = 64;
    const EACH: u64 = 50;
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker), |_, ends| ends);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for nonce in 0..EACH {
                    client.echo(nonce, vec![]).await.unwrap();
                    client.fail(nonce).await.unwrap_err();
                }
                client.wait(caller).await.unwrap();
            })
        })
        .collect();
    until(|| worker.waiting() == CALLERS).await;
    let stats = |name| server.method_stats(name).unwrap();
    assert_eq!(stats("Work.wait").in_flight, CALLERS);
    assert_eq!(stats("Work.wait").latency.count(), 0);
    worker.go.add_permits(CALLERS as usize);
    soon(join_all(callers))
        .await
        .into_iter()
        .for_each(|caller| caller.unwrap());
    // The caller has its answer a moment before the handler is counted out.
    until(|| server.stats().iter().all(|stats| stats.in_flight == 0)).await;
    for (name, calls, errors) in [
        ("Work.echo", CALLERS * EACH, 0),
        ("Work.fail", CALLERS * EACH, CALLERS * EACH),
        ("Work.wait", CALLERS, 0),
        ("Work.swallow", 0, 0),
    ] {
        let stats = stats(name);
        assert_eq!((stats.calls, stats.errors), (calls, errors), "{name}");
        assert_eq!(stats.latency.count(), calls, "{name}");
        let (median, slowest) = (stats.latency.quantile(0.5), stats.latency.quantile(1.0));
        assert!(median <= slowest, "{name}");
        assert_eq!(slowest > Duration::ZERO, calls > 0, "{name}");
    }
    assert_eq!(server.stats().len(), 5);
}

/// Counts how often it is decoded.
#[derive(Debug, Serialize)]
struct Counted;

static DECODED: AtomicU64 = AtomicU64::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

#[rpc::service]
trait Guarded {
    async fn who(&self) -> rpc::Result<Option<String>>;
    async fn enter(&self, counted: Counted) -> rpc::Result<()>;
}

struct Room;
impl Guarded for Room {
    async fn who(&self) -> rpc::Result<Option<String>> {
        let peer = Context::current().peer().cloned();
        Ok(peer.and_then(|peer| peer.address()).map(|a| a.to_string()))
    }
    async fn enter(&self, _: Counted) -> rpc::Result<()> {
        Ok(())
    }
}

/// Notes what it sees; refuses who does not know the word, and panics on demand.
#[derive(Clone, Default)]
struct Guard(Arc<Mutex<Vec<String>>>);

impl Interceptor for Guard {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let context = Context::current();
        let word = context.metadata().get("word");
        let who = context.peer().map(ToString::to_string).unwrap_or_default();
        let method = call.method();
        self.0
            .lock()
            .unwrap()
            .push(format!("{}.{method} {who}", call.service()));
        match word {
            Some("friend") => Ok(()),
            Some("panic") => panic!("secret of the interceptor"),
            _ => Err(Status::unauthenticated("say the word")),
        }
    }
    fn after(&self, _: &CallInfo, answered: rpc::Answered) {
        self.0.lock().unwrap().push(format!("{answered:?}"));
    }
}

#[tokio::test]
async fn s3_5_an_interceptor_refuses_before_anything_is_decoded() {
    let guard = Guard::default();
    let server = Server::builder()
        .add_service_as("Vault", GuardedServer::new(Room))
        .add_service(GuardedServer::new(Room))
        .interceptor(guard.clone())
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let stranger = GuardedClient::connect(server.uri()).await.unwrap();
    let status = stranger.enter(Counted).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "say the word")
    );
    assert_eq!(DECODED.load(Ordering::SeqCst), 0, "it was decoded");
    let rude = stranger.with_metadata("word", "panic").unwrap();
    let status = rude.enter(Counted).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "T14: {status}");
    assert!(!status.to_string().contains("secret"));
    assert_eq!(DECODED.load(Ordering::SeqCst), 0, "it was decoded");

    let friend = stranger.with_metadata("word", "friend").unwrap();
    friend.enter(Counted).await.unwrap();
    assert_eq!(DECODED.load(Ordering::SeqCst), 1);
    let seen = guard.0.lock().unwrap();
    assert!(
        seen[0].starts_with("Guarded.enter tcp://127.0.0.1:"),
        "{seen:?}"
    );
    assert_eq!(seen[1], "Error(Unauthenticated)");
    assert_eq!(seen.last().unwrap(), "Reply");
}

#[tokio::test]
async fn s3_5_a_handler_sees_the_address_of_its_peer() {
    let builder = Server::builder().add_service(GuardedServer::new(Room));
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let first = GuardedClient::connect(server.uri()).await.unwrap();
    let second = GuardedClient::connect(server.uri()).await.unwrap();
    let one = first.who().await.unwrap().unwrap();
    let two = second.who().await.unwrap().unwrap();
    assert!(one.starts_with("127.0.0.1:") && one != two, "{one} {two}");
    assert_eq!(first.who().await.unwrap().unwrap(), one);
    assert!(Context::current().peer().is_none(), "outside of a handler");
}
