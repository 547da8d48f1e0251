//! F13: a client that asks for much and reads nothing, and what that costs the server's memory.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::common::process::{Process, Role};
use crate::common::{raw, soon};
use crate::{Work, WorkClient, method, open};

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

async fn growth(name: &str) -> usize {
    let mut server = Process::start(&Role {
        test: "serving",
        target: "tcp://127.0.0.1:0",
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    let canary = WorkClient::connect(&uri).await.unwrap();
    // What the process needs once is not the slow reader's.
    for _ in 0..20 {
        canary.many(65_536).await.unwrap();
        canary.later(65_536).await.unwrap();
    }
    let quiet = p99(&canary).await;
    let before = server.resident_kib();

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
    let mut grown = 0;
    for _ in 0..10 {
        sleep(Duration::from_millis(50)).await;
        grown = grown.max(server.resident_kib().saturating_sub(before));
    }
    let disturbed = p99(&canary).await;
    println!("{name}: + {grown} KiB; p99 of another connection {quiet:?}, then {disturbed:?}");
    assert!(
        disturbed <= 3 * quiet + Duration::from_millis(50),
        "{disturbed:?}"
    );
    grown
}

/// No request is started while many answers wait.
#[tokio::test]
async fn f13_answers_that_nobody_reads_take_little_memory() {
    let grown = growth("many").await;
    assert!(grown <= 4 * 1024, "{grown} KiB");
}

/// Handlers that run already come to an end: what they hold then is limited by how many may run.
#[tokio::test]
async fn f13_handlers_that_run_already_hold_at_most_an_answer_each() {
    let grown = growth("later").await;
    assert!(grown <= (1024 * 64 * 5) / 4, "{grown} KiB");
}
