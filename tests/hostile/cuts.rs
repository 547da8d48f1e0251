//! F18: connections over TCP that are cut, by their end or by a reset, at every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use rpc::{CallOptions, Channel, Code};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::common::soon;
use crate::{Work, WorkClient, Worker, builder, served};

/// What a relay does to its first connection.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Bytes from the client that it passes on, then it cuts.
    up: usize,
    /// Bytes from the server.
    down: usize,
    /// By a reset rather than the end of the stream.
    reset: bool,
    /// Bytes that it passes on at a time.
    piece: usize,
}

const WHOLE: Rules = Rules {
    up: usize::MAX,
    down: usize::MAX,
    reset: false,
    piece: 4096,
};

/// Passes bytes on until there are none or there were enough.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (mut left, piece): (usize, usize),
    count: &AtomicUsize,
) {
    let mut buffer = vec![0; piece];
    while left > 0 {
        let room = left.min(piece);
        let Ok(read @ 1..) = from.read(&mut buffer[..room]).await else {
            return;
        };
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        left -= read;
        count.fetch_add(read, SeqCst);
    }
}

struct Relay {
    uri: String,
    /// Bytes that passed, up and down.
    passed: Arc<[AtomicUsize; 2]>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    async fn start(server: String, rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("tcp://{}", listener.local_addr().unwrap());
        let passed = Arc::<[AtomicUsize; 2]>::default();
        let counts = passed.clone();
        let task = tokio::spawn(async move {
            let mut rules = rules;
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(relay(client, server, rules, counts.clone()));
                rules = WHOLE;
            }
        });
        Self { uri, passed, task }
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    rules: Rules,
    counts: Arc<[AtomicUsize; 2]>,
) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = forward(from_client, to_server, (rules.up, rules.piece), &counts[0]) => {}
            () = forward(from_server, to_client, (rules.down, rules.piece), &counts[1]) => {}
        }
    }
    if rules.reset {
        client.set_zero_linger().unwrap();
        server.set_zero_linger().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const CALLS: u64 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Three calls through a relay: each ends once, in time, and with an outcome that fits.
async fn converse(worker: &Worker, address: &str, rules: Rules, first: u64) -> (usize, usize) {
    let relay = Relay::start(address.to_owned(), rules).await;
    let client = WorkClient::new(Channel::connect_lazy(&relay.uri).unwrap());
    let limited = client.with_timeout(TIMEOUT);
    let begin = Instant::now();
    let calls = (first..first + CALLS).map(|nonce| limited.echo(nonce));
    let answers = soon(join_all(calls)).await;
    let elapsed = begin.elapsed();
    assert!(elapsed <= TIMEOUT + Duration::from_millis(50), "{rules:?}");
    for (nonce, answer) in (first..).zip(answers) {
        let executed = worker.echoed.lock().unwrap().get(&nonce).copied();
        let executed = executed.unwrap_or(0);
        match answer {
            Ok(reply) => assert_eq!((reply, executed), (nonce, 1), "{rules:?}"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{rules:?}: {status}");
                assert!(executed <= 1, "{rules:?}: {executed}");
                let denied = executed == 1 && status.is_not_processed();
                assert!(!denied, "{rules:?}: {status}");
            }
        }
    }
    // The end of the connection may not have arrived yet.
    let patient = CallOptions::new().with_wait_for_ready(true);
    let again = client.with_options(patient.with_timeout(TIMEOUT));
    let recovered = async { while again.echo(u64::MAX).await.is_err() {} };
    soon(recovered).await;
    let [up, down] = &*relay.passed;
    (up.load(SeqCst), down.load(SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_connection_cut_at_every_byte_ends_each_call_once() {
    let worker = Worker::default();
    let (_server, address) = served(builder(&worker)).await;
    let (up, down) = converse(&worker, &address, WHOLE, 0).await;
    assert!(up > 50 && down > 50, "{up} up, {down} down");
    let begin = Instant::now();
    let cuts = [false, true].into_iter().flat_map(|reset| {
        let rules = Rules { reset, ..WHOLE };
        let ups = (0..up).map(move |up| Rules { up, ..rules });
        ups.chain((0..down).map(move |down| Rules { down, ..rules }))
    });
    let cuts: Vec<_> = (1..).zip(cuts).collect();
    let conversations = cuts.iter().map(|(number, rules)| {
        let (worker, address) = (&worker, &address);
        async move { converse(worker, address, *rules, 10 * number).await }
    });
    let mut conversations = stream::iter(conversations).buffer_unordered(8);
    while conversations.next().await.is_some() {}
    println!("{} cuts in {:?}", cuts.len(), begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_bytes_that_come_one_by_one_are_a_conversation_too() {
    let worker = Worker::default();
    let (_server, address) = served(builder(&worker)).await;
    let relay = Relay::start(address, Rules { piece: 1, ..WHOLE }).await;
    let client = WorkClient::new(Channel::connect_lazy(&relay.uri).unwrap());
    let calls = (0..50).map(|nonce| client.echo(nonce));
    for (nonce, answer) in (0..).zip(soon(join_all(calls)).await) {
        assert_eq!(answer, Ok(nonce));
    }
}
