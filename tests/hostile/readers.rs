//! F13: peers that ask for much, or are sent much, and read nothing; and what that costs in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::Streaming;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::process::{self, Process, Role};
use crate::common::relay::{Passes, Relay};
use crate::common::{raw, soon, until};
use crate::{Work, WorkClient, Worker, builder, endless, method, open, served};

const CALLS: u32 = 10_000;
/// 65,536 as bincode writes it.
const SIZE: [u8; 5] = [252, 0, 0, 1, 0];

/// The slowest of so many calls but one in a hundred.
async fn p99(client: &WorkClient) -> Duration {
    let mut times = Vec::new();
    for nonce in 0..500 {
        let begin = Instant::now();
        assert_eq!(soon(client.echo(nonce)).await.unwrap(), nonce);
        times.push(begin.elapsed());
    }
    times.sort();
    times[495]
}

/// By how much the memory of a process grows within half a second, in KiB.
async fn grown(process: &Process, before: usize) -> usize {
    let mut grown = 0;
    for _ in 0..10 {
        sleep(Duration::from_millis(50)).await;
        grown = grown.max(process.resident_kib().saturating_sub(before));
    }
    grown
}

/// What a client that asks for so much costs the server, which answers others meanwhile.
async fn growth(name: &str) -> usize {
    let mut server = Process::start(&Role {
        test: "serving",
        target: "tcp://127.0.0.1:0",
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    let canary = WorkClient::connect(&uri).await.unwrap();
    // What the process needs once is not the slow reader's, also if the allocator has just given it
    // back.
    let mut before = 0;
    for _ in 0..20 {
        canary.many(65_536).await.unwrap();
        canary.later(65_536).await.unwrap();
        before = before.max(server.resident_kib());
    }
    let quiet = p99(&canary).await;
    before = before.max(server.resident_kib());

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = uri.strip_prefix("tcp://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    open(&mut stream).await;
    let mut requests = Vec::new();
    for call in 1..=CALLS {
        requests.extend(raw::request(call, 0, method(name), 5));
        requests.extend(SIZE);
    }
    // The server may stop reading long before the end.
    let _ = timeout(Duration::from_secs(1), stream.write_all(&requests)).await;
    let grown = grown(&server, before).await;
    let disturbed = p99(&canary).await;
    println!("{name}: + {grown} KiB; p99 of another connection {quiet:?}, then {disturbed:?}");
    assert!(
        disturbed <= 3 * quiet + Duration::from_millis(50),
        "{disturbed:?}"
    );
    grown
}

/// What handlers that run already may hold: the answers of 1,024, and a quarter for what is around them.
const RUNNING_KIB_MAX: usize = 1024 * 64 * 5 / 4;
const ATTEMPTS: usize = 5;

/// No request is started while many answers wait. But where other work interrupts a handler, it seems to
/// be slow, and the next ones of its method run on tasks of their own: that says nothing of the others.
#[tokio::test]
async fn f13_answers_that_nobody_reads_take_little_memory() {
    let mut least = usize::MAX;
    for _ in 0..ATTEMPTS {
        let grown = growth("many").await;
        assert!(grown <= RUNNING_KIB_MAX, "{grown} KiB");
        least = least.min(grown);
        if least <= 4 * 1024 {
            return;
        }
    }
    panic!("{least} KiB at least");
}

/// Handlers that run already come to an end: what they hold then is limited by how many may run.
#[tokio::test]
async fn f13_handlers_that_run_already_hold_at_most_an_answer_each() {
    let grown = growth("later").await;
    assert!(grown <= RUNNING_KIB_MAX, "{grown} KiB");
}

const STREAMS: usize = 20;
/// Of the 4 MiB a connection may cost. Each of the streams wants megabytes.
const STREAMS_KIB_MAX: usize = 4 * 1024;

/// Streams that flowed for a moment, so that a process has what it needs for them.
async fn let_flow(client: &WorkClient) -> Vec<Streaming<Vec<u8>>> {
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = client.flow().await.unwrap();
        for _ in 0..3 {
            stream.next().await.unwrap().unwrap();
        }
        streams.push(stream);
    }
    streams
}

/// The consumer takes all there is, and the way to it is closed: the server has no more than the
/// windows in its hands.
#[tokio::test]
async fn f13_streams_to_a_client_that_reads_nothing_take_little_memory() {
    let mut server = Process::start(&Role {
        test: "serving",
        target: "tcp://127.0.0.1:0",
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    let relay = Relay::open_narrow(uri.strip_prefix("tcp://").unwrap()).await;
    let canary = WorkClient::connect(&uri).await.unwrap();
    drop(let_flow(&canary).await);
    let quiet = p99(&canary).await;
    let before = server.resident_kib();

    let client = WorkClient::connect(format!("tcp://{}", relay.host)).await;
    let mut streams = let_flow(&client.unwrap()).await;
    relay.let_pass(Passes::ToServer);
    let mut consuming = JoinSet::new();
    for mut stream in streams.drain(..) {
        consuming.spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    }
    let grown = grown(&server, before).await;
    let disturbed = p99(&canary).await;
    println!("F13: + {grown} KiB; p99 of another connection {quiet:?}, then {disturbed:?}");
    assert!(grown <= STREAMS_KIB_MAX, "{grown} KiB");
    assert!(
        disturbed <= 3 * quiet + Duration::from_millis(50),
        "{disturbed:?}"
    );
}

/// The same with the sides changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_uploads_to_a_server_that_reads_nothing_take_little_memory() {
    let (_server, address) = served(builder(&Worker::default())).await;
    let relay = Relay::open_narrow(&address).await;
    let mut client = Process::start(&Role {
        test: "readers::uploading",
        target: &format!("tcp://{}", relay.host),
        ..Role::default()
    });
    client.wait_for("flows");
    let before = client.resident_kib();
    relay.let_pass(Passes::ToClient);
    let grown = grown(&client, before).await;
    println!("F13: + {grown} KiB");
    assert!(grown <= STREAMS_KIB_MAX, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the other tests"]
async fn uploading() {
    let Some((target, _)) = process::role() else {
        return;
    };
    let client = WorkClient::connect(target).await.unwrap();
    let made = Arc::<AtomicU64>::default();
    let mut uploads = JoinSet::new();
    for _ in 0..STREAMS {
        let (client, made) = (client.clone(), made.clone());
        let items = endless().inspect(move |_| {
            made.fetch_add(1, SeqCst);
        });
        let items = Streaming::try_new(items);
        uploads.spawn(async move { client.fill(items).await });
    }
    until(|| made.load(SeqCst) >= 2 * STREAMS as u64).await;
    println!("flows");
    process::parent_gone().await;
}
