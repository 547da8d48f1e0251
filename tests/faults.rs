//! Servers and clients that are killed, stopped and starved while calls are under way.
//!
//! Real processes, real sockets and real time: the bounds are generous, and the figures are printed.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::process::{self, Process, Role};
use common::soon;
use futures_util::future::join_all;
use rpc::{CallOptions, Channel, Code, Server, Status};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

#[rpc::service]
trait Work {
    #[rpc(idempotent)]
    async fn echo(&self, nonce: u64) -> rpc::Result<u64>;
    /// Writes the nonce into the ledger.
    async fn book(&self, nonce: u64) -> rpc::Result<u64>;
    /// Never answers.
    async fn wait(&self) -> rpc::Result<()>;
    /// How many `wait`.
    async fn waiting(&self) -> rpc::Result<u64>;
    async fn sleep(&self, nonce: u64, millis: u64) -> rpc::Result<u64>;
}

struct Worker {
    waiting: AtomicU64,
    ledger: Option<std::fs::File>,
}

impl Work for Worker {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64> {
        if nonce.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        Ok(nonce)
    }
    async fn book(&self, nonce: u64) -> rpc::Result<u64> {
        let mut ledger = self.ledger.as_ref().expect("this child has a ledger");
        // One system call that appends: whole or not at all, also if the process is killed.
        ledger.write_all(&nonce.to_le_bytes()).unwrap();
        Ok(nonce)
    }
    async fn wait(&self) -> rpc::Result<()> {
        self.waiting.fetch_add(1, SeqCst);
        std::future::pending().await
    }
    async fn waiting(&self) -> rpc::Result<u64> {
        Ok(self.waiting.load(SeqCst))
    }
    async fn sleep(&self, nonce: u64, millis: u64) -> rpc::Result<u64> {
        sleep(Duration::from_millis(millis)).await;
        Ok(nonce)
    }
}

fn worker(ledger: &str) -> WorkServer<Worker> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.append(true).create(true);
    WorkServer::new(Worker {
        waiting: AtomicU64::new(0),
        ledger: (!ledger.is_empty()).then(|| options.open(ledger).unwrap()),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the other tests"]
async fn serving() {
    if let Some((target, ledger)) = process::role() {
        let builder = Server::builder().add_service(worker(&ledger));
        process::serve(builder, &target).await;
    }
}

const ANY_PORT: &str = "tcp://127.0.0.1:0";

/// A server process, and where it listens.
fn start(target: &str, ledger: &str) -> (Process, String) {
    let mut server = Process::start(&Role {
        test: "serving",
        target,
        file: ledger,
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    (server, uri)
}

fn lazy(uri: &str) -> WorkClient {
    WorkClient::new(Channel::connect_lazy(uri).unwrap())
}

fn patient() -> CallOptions {
    CallOptions::new()
        .with_wait_for_ready(true)
        .with_timeout(Duration::from_secs(15))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_the_same_client_carries_on_after_kill_9() {
    let (mut server, uri) = start(ANY_PORT, "");
    let client = lazy(&uri);
    let done = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..20_u64)
        .map(|nonce| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let mut failed = 0_u64;
                while !done.load(SeqCst) {
                    match client.echo(nonce).await {
                        Ok(reply) => assert_eq!(reply, nonce),
                        Err(status) => {
                            assert_eq!(status.code(), Code::Unavailable, "{status}");
                            failed += 1;
                            sleep(Duration::from_millis(2)).await;
                        }
                    }
                }
                failed
            })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    server.kill();
    sleep(Duration::from_millis(700)).await;
    assert!(!client.channel().is_available());
    let (_server, again) = start(&uri, "");
    assert_eq!(again, uri);
    let listening = Instant::now();
    while client.echo(1).await.is_err() {
        assert!(listening.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(1)).await;
    }
    let carried_on = listening.elapsed();
    done.store(true, SeqCst);
    let failed: u64 = join_all(load).await.into_iter().map(Result::unwrap).sum();
    println!("carried on {carried_on:?} after the server listened; {failed} calls failed at once");
    assert!(carried_on <= Duration::from_secs(2), "{carried_on:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_22_a_thousand_pending_calls_fail_at_once_when_their_server_is_killed() {
    let (mut server, uri) = start(ANY_PORT, "");
    let client = lazy(&uri);
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { (client.wait().await, Instant::now()) })
        })
        .collect();
    soon(async { while client.waiting().await.unwrap() < 1000 {} }).await;
    let killed = Instant::now();
    server.kill();
    let mut last = Duration::ZERO;
    for call in calls {
        let (answer, ended) = soon(call).await.unwrap();
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(!status.is_not_processed(), "{status}");
        last = last.max(ended.duration_since(killed));
    }
    println!("1000 pending calls failed within {last:?}");
    assert!(last <= Duration::from_secs(1), "{last:?}");
}

/// What became of the calls of one method.
#[derive(Default)]
struct Tally {
    succeeded: Vec<u64>,
    failed: Vec<(u64, Status)>,
}

/// Makes calls with rising nonces, as many a second as it is told, until it is told to stop.
async fn load(
    client: WorkClient,
    first: u64,
    per_second: u64,
    booked: bool,
    done: Arc<AtomicBool>,
) -> Tally {
    let workers = (0..32_u64).map(|worker| {
        let (client, done) = (client.clone(), done.clone());
        tokio::spawn(async move {
            let mut tally = Tally::default();
            let mut ticks =
                tokio::time::interval(Duration::from_micros(1_000_000 * 32 / per_second));
            let mut nonce = first + worker;
            while !done.load(SeqCst) {
                ticks.tick().await;
                let answer = if booked {
                    client.book(nonce).await
                } else {
                    client.echo(nonce).await
                };
                match answer {
                    Ok(reply) => {
                        assert_eq!(reply, nonce, "somebody else's answer");
                        tally.succeeded.push(nonce);
                    }
                    Err(status) => tally.failed.push((nonce, status)),
                }
                nonce += 32;
            }
            tally
        })
    });
    let mut all = Tally::default();
    for tally in join_all(workers).await {
        let tally = tally.unwrap();
        all.succeeded.extend(tally.succeeded);
        all.failed.extend(tally.failed);
    }
    all
}

/// Twenty times SIGKILL in the middle of the load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_twenty_restarts_lose_no_idempotent_call_and_run_no_other_twice() {
    let ledger = std::env::temp_dir().join(common::unique("rpc-ledger"));
    let ledger = ledger.to_str().unwrap();
    let (mut server, uri) = start(ANY_PORT, ledger);
    let client = lazy(&uri).with_options(patient());
    let done = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let echoes = tokio::spawn(load(client.clone(), 0, 2000, false, done.clone()));
    let bookings = tokio::spawn(load(client.clone(), 1 << 32, 1000, true, done.clone()));
    for _ in 0..20 {
        sleep(Duration::from_millis(250)).await;
        server.kill();
        server = start(&uri, ledger).0;
    }
    sleep(Duration::from_millis(250)).await;
    done.store(true, SeqCst);
    let (echoes, bookings) = (echoes.await.unwrap(), bookings.await.unwrap());
    let elapsed = begin.elapsed();

    let mut executions = HashMap::<u64, u32>::new();
    let written = std::fs::read(ledger).unwrap();
    std::fs::remove_file(ledger).unwrap();
    let (nonces, rest) = written.as_chunks::<8>();
    assert!(rest.is_empty(), "a write was torn");
    for nonce in nonces {
        *executions.entry(u64::from_le_bytes(*nonce)).or_default() += 1;
    }
    println!(
        "20 restarts in {elapsed:?}; idempotent: {} succeeded, {} failed; \
         others: {} succeeded, {} failed, {} executed",
        echoes.succeeded.len(),
        echoes.failed.len(),
        bookings.succeeded.len(),
        bookings.failed.len(),
        executions.len(),
    );
    assert!(echoes.failed.is_empty(), "{:?}", echoes.failed[0]);
    let twice = executions.iter().find(|(_, count)| **count > 1);
    assert_eq!(twice, None, "executed twice");
    for nonce in &bookings.succeeded {
        assert!(
            executions.contains_key(nonce),
            "{nonce} was a false success"
        );
    }
    for (nonce, status) in &bookings.failed {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let executed = executions.contains_key(nonce);
        assert!(
            !(executed && status.is_not_processed()),
            "{nonce}: {status}"
        );
    }
    assert!(echoes.succeeded.len() >= 2_000, "hardly any load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_a_frozen_server_gives_no_false_success_and_no_answer_of_another() {
    freeze_a_server(&[100, 1000, 3000]).await;
}

/// Longer than its client waits for the answer to a ping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 20 s: the pipeline runs it"]
async fn f17_a_server_frozen_for_20_seconds_is_found_again() {
    freeze_a_server(&[20_000]).await;
}

async fn freeze_a_server(freezes: &[u64]) {
    const DEADLINE: Duration = Duration::from_millis(500);
    const SLACK: Duration = Duration::from_millis(500);
    let (server, uri) = start(ANY_PORT, "");
    let client = lazy(&uri).with_timeout(DEADLINE);
    client.echo(1).await.unwrap();
    for &millis in freezes {
        server.freeze();
        let begin = Instant::now();
        let calls: Vec<_> = (0..500_u64)
            .map(|nonce| {
                let client = client.clone();
                tokio::spawn(async move {
                    let begin = Instant::now();
                    (client.echo(nonce).await, nonce, begin.elapsed())
                })
            })
            .collect();
        sleep(Duration::from_millis(millis).saturating_sub(begin.elapsed())).await;
        server.thaw();
        let thawed = Instant::now();
        // The first call afterwards overtakes none and is answered like any other.
        let first = client.with_options(patient()).echo(7).await;
        assert_eq!(first.unwrap(), 7);
        let recovered = thawed.elapsed();
        let (mut late, mut succeeded) = (Duration::ZERO, 0);
        for call in calls {
            let (answer, nonce, elapsed) = soon(call).await.unwrap();
            late = late.max(elapsed.saturating_sub(DEADLINE));
            match answer {
                Ok(reply) => {
                    assert_eq!(reply, nonce, "somebody else's answer");
                    // A task that began late on a busy machine may have its answer in time.
                    let in_time = elapsed <= DEADLINE + SLACK;
                    assert!(in_time, "a false success after {elapsed:?}");
                    succeeded += 1;
                }
                Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{status}"),
            }
        }
        println!(
            "frozen for {millis} ms: {succeeded} of 500 succeeded, the last call ended {late:?} \
             after its deadline; first answer {recovered:?} after the thaw"
        );
        assert!(millis > 500 || succeeded == 500, "{succeeded}");
        assert!(late <= SLACK, "{late:?}");
        assert!(recovered <= Duration::from_secs(2), "{recovered:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the other tests"]
async fn calling() {
    let Some((target, _)) = process::role() else {
        return;
    };
    let client = lazy(&target).with_timeout(Duration::from_millis(300));
    client.echo(1).await.unwrap();
    let begin = Instant::now();
    let calls = (0..200).map(|nonce| {
        let client = client.clone();
        tokio::spawn(async move { client.sleep(nonce, 500).await })
    });
    let calls: Vec<_> = calls.collect();
    println!("called.");
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.await.unwrap().map_err(|status| status.code()));
    }
    let millis = begin.elapsed().as_millis();
    let all_late = codes
        .iter()
        .all(|code| *code == Err(Code::DeadlineExceeded));
    println!("ended {millis} {all_late}");
    let again = client.echo(2).await.map_err(|status| status.code());
    println!("again {}", again == Ok(2));
    process::parent_gone().await;
}

/// The answers are there when the client thaws, and too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_calls_past_their_deadline_fail_at_once_when_their_client_thaws() {
    let server = Server::builder().add_service(worker(""));
    let server = server.bind(ANY_PORT).await.unwrap();
    let mut client = Process::start(&Role {
        test: "calling",
        target: server.uri(),
        ..Role::default()
    });
    client.wait_for("called.");
    client.freeze();
    sleep(Duration::from_secs(1)).await;
    let thawed = Instant::now();
    client.thaw();
    let ended = tokio::task::spawn_blocking(move || (client.wait_for("ended"), client));
    let (ended, mut client) = soon(ended).await.unwrap();
    let took = thawed.elapsed();
    println!("all ended {took:?} after the thaw (ms since the calls, all late: {ended})");
    assert!(ended.ends_with("true"), "{ended}");
    assert!(took <= Duration::from_millis(500), "{took:?}");
    assert_eq!(client.wait_for("again"), "true");
}

/// More connections than the server has descriptors for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_server_without_descriptors_serves_on_and_accepts_again() {
    let mut server = Process::start(&Role {
        test: "serving",
        target: ANY_PORT,
        descriptors_max: 128,
        ..Role::default()
    });
    let uri = server.wait_for("listening");
    let address = uri.strip_prefix("tcp://").unwrap();
    let client = lazy(&uri);
    client.echo(1).await.unwrap();
    // All are in the backlog; most are never accepted.
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    let newcomer = lazy(&uri).with_timeout(Duration::from_millis(500));
    newcomer.echo(1).await.unwrap_err();
    // Starved, and left alone: the accept loop neither ends nor spins.
    let (begin, before) = (Instant::now(), server.computed());
    sleep(Duration::from_secs(2)).await;
    let share = (server.computed() - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    for nonce in 0..2_000 {
        assert_eq!(soon(client.echo(nonce)).await.unwrap(), nonce);
    }
    let released = Instant::now();
    drop(crowd);
    let newcomer = lazy(&uri).with_options(patient());
    newcomer.echo(2).await.unwrap();
    let accepted = released.elapsed();
    println!(
        "starved: {:.1} % CPU, 2000 of 2000 calls ok; accepted again after {accepted:?}",
        100.0 * share
    );
    assert!(share <= 0.05, "{share}");
    assert!(accepted <= Duration::from_secs(1), "{accepted:?}");
}
