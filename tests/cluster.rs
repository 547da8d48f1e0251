//! A fleet of processes that are restarted and killed under load.
//!
//! Real processes, real sockets and real time: the bounds are generous, and the figures are printed.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::process::{self, Process, Role};
use common::{soon, unique};
use rpc::{Context, Server, Status, Streaming};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SERVERS: usize = 3;

/// How much, and for how long.
struct Scale {
    callers: usize,
    /// Between two calls of a caller.
    pause: Duration,
    /// Each server so often.
    rounds: usize,
    /// Between two restarts.
    between: Duration,
    calls_min: u64,
}

/// Of every run.
const SECONDS: Scale = Scale {
    callers: 16,
    pause: millis(2),
    rounds: 3,
    between: millis(100),
    calls_min: 3_000,
};

/// About two thousand calls a second, and somebody killed every five of them.
const MINUTES: Scale = Scale {
    callers: 64,
    pause: millis(25),
    rounds: 4,
    between: millis(4_200),
    calls_min: 100_000,
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[rpc::service]
trait Work {
    /// Writes the nonce into the ledger, then works for a millisecond.
    async fn book(&self, nonce: u64) -> rpc::Result<u64>;
    /// The same, and it may be done twice.
    #[rpc(idempotent)]
    async fn book_again(&self, nonce: u64) -> rpc::Result<u64>;
    /// A number every 20 ms, up to a second.
    async fn count(&self) -> rpc::Result<Streaming<u32>>;
    /// The same without an end, but that of the server.
    async fn count_on(&self) -> rpc::Result<Streaming<u32>>;
}

const ITEMS: u32 = 50;

struct Worker(std::fs::File);

impl Worker {
    async fn write(&self, nonce: u64) -> rpc::Result<u64> {
        // One system call that appends: whole or not at all, also if the process is killed.
        (&self.0).write_all(&nonce.to_le_bytes()).unwrap();
        sleep(millis(1)).await;
        Ok(nonce)
    }
}

impl Work for Worker {
    async fn book(&self, nonce: u64) -> rpc::Result<u64> {
        self.write(nonce).await
    }
    async fn book_again(&self, nonce: u64) -> rpc::Result<u64> {
        self.write(nonce).await
    }
    async fn count(&self) -> rpc::Result<Streaming<u32>> {
        let (sender, numbers) = Streaming::channel(4);
        tokio::spawn(async move {
            for number in 0..ITEMS {
                sleep(millis(20)).await;
                if sender.send(number).await.is_err() {
                    return;
                }
            }
        });
        Ok(numbers)
    }
    async fn count_on(&self) -> rpc::Result<Streaming<u32>> {
        let (sender, numbers) = Streaming::channel(4);
        let context = Context::current();
        tokio::spawn(async move {
            for number in 0.. {
                let pause = tokio::time::timeout(millis(20), context.draining());
                if pause.await.is_ok() || sender.send(number).await.is_err() {
                    return;
                }
            }
        });
        Ok(numbers)
    }
}

#[tokio::test]
#[ignore = "a child of the other tests"]
async fn serving() {
    let Some((target, ledger)) = process::role() else {
        return;
    };
    let mut options = std::fs::OpenOptions::new();
    let ledger = options.append(true).create(true).open(ledger).unwrap();
    let builder = Server::builder().add_service(WorkServer::new(Worker(ledger)));
    let server = builder.bind(&target).await.unwrap();
    println!("listening {}", server.uri());
    process::parent_gone().await;
    server.shutdown().await;
}

/// Processes, where they listen, and what they have executed.
struct Cluster {
    processes: Vec<Process>,
    targets: Vec<String>,
    ledger: PathBuf,
}

fn start(target: &str, ledger: &Path) -> (Process, String) {
    let mut process = Process::start(&Role {
        test: "serving",
        target,
        file: ledger.to_str().unwrap(),
        ..Role::default()
    });
    let uri = process.wait_for("listening");
    (process, uri)
}

impl Cluster {
    fn start() -> Self {
        let ledger = std::env::temp_dir().join(unique("rpc-ledger"));
        let servers = (0..SERVERS).map(|_| start("tcp://127.0.0.1:0", &ledger));
        let (processes, targets) = servers.unzip();
        Self {
            processes,
            targets,
            ledger,
        }
    }

    async fn client(&self) -> WorkClient {
        let hosts = self.targets.iter().map(|target| &target["tcp://".len()..]);
        let name = format!("static://{}/Work", hosts.collect::<Vec<_>>().join(","));
        WorkClient::connect(&name).await.unwrap()
    }

    /// Starts one again, where it was. Blocks.
    fn restart(&mut self, number: usize) {
        self.processes[number] = start(&self.targets[number], &self.ledger).0;
    }

    /// How often each call was executed.
    fn executed(&self) -> HashMap<u64, u32> {
        let bytes = std::fs::read(&self.ledger).unwrap();
        let mut executed = HashMap::new();
        for nonce in bytes.as_chunks::<8>().0 {
            *executed.entry(u64::from_le_bytes(*nonce)).or_default() += 1;
        }
        executed
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ledger);
    }
}

/// Calls without end, each with a nonce of its own.
struct Load {
    callers: JoinSet<Vec<(u64, Status)>>,
    streams: JoinSet<Vec<Status>>,
    /// Streams that their servers have ended.
    ended: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Load {
    fn start(client: &WorkClient, idempotent: bool, scale: &Scale) -> Self {
        let pause = scale.pause;
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (mut callers, mut streams) = (JoinSet::new(), JoinSet::new());
        for _ in 0..scale.callers {
            let (client, stop, calls) = (client.clone(), stop.clone(), calls.clone());
            callers.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    let nonce = calls.fetch_add(1, SeqCst);
                    let answer = match idempotent {
                        true => client.book_again(nonce).await,
                        false => client.book(nonce).await,
                    };
                    failed.extend(answer.err().map(|status| (nonce, status)));
                    sleep(pause).await;
                }
                failed
            });
        }
        for _ in 0..SERVERS {
            let (client, stop) = (client.clone(), stop.clone());
            streams.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    failed.extend(read(&client).await.err());
                }
                failed
            });
        }
        let ended = Arc::<AtomicU64>::default();
        for _ in 0..2 * SERVERS {
            let (client, stop, ended) = (client.clone(), stop.clone(), ended.clone());
            streams.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    failed.extend(follow(&client, &stop).await.err());
                    ended.fetch_add(1, SeqCst);
                }
                failed
            });
        }
        Self {
            callers,
            streams,
            ended,
            stop,
            calls,
        }
    }

    /// The number of calls, those that failed, and the streams that did.
    async fn end(self) -> (u64, Vec<(u64, Status)>, Vec<Status>) {
        self.stop.store(true, SeqCst);
        let failed = soon(self.callers.join_all()).await.concat();
        let streams = soon(self.streams.join_all()).await.concat();
        (self.calls.load(SeqCst), failed, streams)
    }
}

/// Reads one stream to its end.
async fn read(client: &WorkClient) -> Result<(), Status> {
    let mut numbers = client.count().await?;
    for expected in 0..ITEMS {
        match numbers.next().await {
            Some(number) => assert_eq!(number?, expected),
            None => return Err(Status::data_loss("the stream ended early")),
        }
    }
    Ok(())
}

/// Reads one stream until its server ends it.
async fn follow(client: &WorkClient, stop: &AtomicBool) -> Result<(), Status> {
    let mut numbers = client.count_on().await?;
    for expected in 0.. {
        match numbers.next().await {
            Some(number) => assert_eq!(number?, expected),
            None => break,
        }
        if stop.load(SeqCst) {
            break;
        }
    }
    Ok(())
}

/// How often somebody was called.
fn calls_of(client: &WorkClient, target: &str) -> u64 {
    let endpoints = client.channel().stats().endpoints;
    let one = endpoints.iter().find(|one| one.address == target);
    one.map_or(0, |one| one.calls)
}

/// Waits until a server that is back is called, and says how long that took.
async fn until_used(client: &WorkClient, target: &str) -> Duration {
    let (began, before) = (Instant::now(), calls_of(client, target));
    while calls_of(client, target) == before {
        assert!(began.elapsed() < Duration::from_secs(10), "it is not used");
        sleep(millis(5)).await;
    }
    began.elapsed()
}

/// F2: rolling restarts of real processes, with streams open: nothing fails, nothing is executed
/// twice, no stream is cut. Those that have no end of their own are ended by their servers when they
/// drain, and go on elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_nine_restarts_of_processes_fail_and_repeat_nothing() {
    restart(&SECONDS).await;
}

async fn restart(scale: &Scale) {
    let restarts = SERVERS * scale.rounds;
    let mut cluster = Cluster::start();
    let client = cluster.client().await;
    let load = Load::start(&client, false, scale);
    sleep(millis(300)).await;
    let (mut longest, mut exit) = (Duration::ZERO, Duration::ZERO);
    for restart in 0..restarts {
        let number = restart % SERVERS;
        let cluster = &mut cluster;
        tokio::task::block_in_place(|| {
            let retired = Instant::now();
            cluster.processes[number].retire();
            exit = exit.max(retired.elapsed());
            cluster.restart(number);
        });
        longest = longest.max(until_used(&client, &cluster.targets[number]).await);
        sleep(scale.between).await;
    }
    let ended = load.ended.load(SeqCst);
    let (calls, failed, streams) = load.end().await;
    let executed = cluster.executed();
    let twice = executed.values().filter(|count| **count > 1).count();
    println!(
        "F2: {calls} calls over {restarts} restarts: {} failed, {twice} executed twice; {} streams cut, \
         {ended} ended and followed elsewhere; gone within {exit:?}, used again within {longest:?}",
        failed.len(),
        streams.len()
    );
    assert!(ended >= restarts as u64, "{ended}");
    // A stream of a second is waited for; the grace would be ten.
    assert!(exit <= Duration::from_secs(4), "{exit:?}");
    assert!(failed.is_empty(), "{:?}", failed[0]);
    assert!(streams.is_empty(), "{:?}", streams[0]);
    assert_eq!((executed.len() as u64, twice), (calls, 0));
    assert!(calls >= scale.calls_min, "{calls}");
}

/// F1: kill -9 under load. Idempotent calls do not fail; of the others those under way do, are told
/// that they may have been executed, and no call is executed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_killed_processes_fail_what_was_under_way_and_no_more() {
    kill(true, &SECONDS).await;
    kill(false, &SECONDS).await;
}

async fn kill(idempotent: bool, scale: &Scale) {
    let kills = SERVERS * scale.rounds;
    let mut cluster = Cluster::start();
    let client = cluster.client().await;
    let load = Load::start(&client, idempotent, scale);
    sleep(millis(300)).await;
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        let number = kill % SERVERS;
        let process = &mut cluster.processes[number];
        tokio::task::block_in_place(|| process.kill());
        sleep(millis(700)).await;
        tokio::task::block_in_place(|| cluster.restart(number));
        longest = longest.max(until_used(&client, &cluster.targets[number]).await);
        sleep(scale.between).await;
    }
    let (calls, failed, _) = load.end().await;
    let executed = cluster.executed();
    let twice = executed.values().filter(|count| **count > 1).count();
    println!(
        "F1: {calls} calls, idempotent: {idempotent}, over {kills} kills: {} failed, {twice} \
         executed twice; used again within {longest:?}",
        failed.len()
    );
    assert!(calls >= scale.calls_min, "{calls}");
    assert!(longest <= Duration::from_secs(2), "{longest:?}");
    if idempotent {
        assert!(failed.is_empty(), "{:?}", failed[0]);
        return;
    }
    assert!(failed.len() <= kills * scale.callers, "{}", failed.len());
    assert_eq!(twice, 0);
    for (nonce, status) in failed {
        assert_eq!(status.code(), rpc::Code::Unavailable, "{status}");
        assert!(!status.is_not_processed() || !executed.contains_key(&nonce));
    }
}

/// F1, F2: at full length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn f1_f2_minutes_of_kills_and_restarts() {
    kill(true, &MINUTES).await;
    restart(&MINUTES).await;
}
