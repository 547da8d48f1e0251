//! What a small call waits in the company of large ones, on the same connection.
//!
//! `cargo bench --bench behind` takes seconds. Client and server have a thread each and share one
//! connection over loopback TCP. Each round measures small calls alone and then in company, so that
//! what else the machine does meets both. Fails if the 99th percentile in company is more than three
//! times that alone, in the median round.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use rpc::{Bytes, Channel, Server, Streaming};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const ROUNDS: usize = 9;
const ITEM_BYTES: usize = 64 * 1024;
const STREAM_BYTES: usize = 1_000_000_000;
const BODY_BYTES: usize = 64 << 20;
const MESSAGE_BYTES: u32 = BODY_BYTES as u32 + 64;
const ALONE_CALLS: usize = 20_000;
const QUOTIENT_MAX: f64 = 3.0;

#[rpc::service]
trait Company {
    async fn stream(&self, bytes: usize) -> rpc::Result<Streaming<Bytes>>;
    async fn take(&self, body: Bytes) -> rpc::Result<usize>;
    async fn give(&self) -> rpc::Result<Bytes>;
    /// When the handler ran.
    async fn small(&self) -> rpc::Result<u64>;
}

struct Host(Bytes);
impl Company for Host {
    async fn stream(&self, bytes: usize) -> rpc::Result<Streaming<Bytes>> {
        let item = self.0.slice(..ITEM_BYTES);
        let items = stream::repeat(item).take(bytes / ITEM_BYTES);
        Ok(Streaming::new(items))
    }
    async fn take(&self, body: Bytes) -> rpc::Result<usize> {
        Ok(body.len())
    }
    async fn give(&self) -> rpc::Result<Bytes> {
        Ok(self.0.clone())
    }
    async fn small(&self) -> rpc::Result<u64> {
        Ok(now())
    }
}

/// Nanoseconds since the first look at the clock.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How long small calls took, in order of length.
#[derive(Default)]
struct Took {
    whole: Vec<u64>,
    /// Until their handlers ran.
    there: Vec<u64>,
    /// From there on.
    back: Vec<u64>,
}

impl Took {
    /// Small calls, one after the other, until it is `over`.
    async fn measure(client: &CompanyClient, mut over: impl FnMut() -> bool) -> Self {
        let mut took = Self::default();
        while !over() {
            let begin = now();
            let handled = client.small().await.unwrap();
            let end = now();
            took.whole.push(end - begin);
            took.there.push(handled - begin);
            took.back.push(end - handled);
        }
        took.whole.sort_unstable();
        took.there.sort_unstable();
        took.back.sort_unstable();
        took
    }

    fn print(&self, what: &str) {
        let time = |times: &[u64], share| Duration::from_nanos(percentile(times, share));
        println!(
            "{what:>8}: {:>5} calls, p50 {:>8.1?}, p99 {:>8.1?} (there {:>8.1?}, back {:>8.1?}), max {:>8.1?}",
            self.whole.len(),
            time(&self.whole, 0.5),
            time(&self.whole, 0.99),
            time(&self.there, 0.99),
            time(&self.back, 0.99),
            time(&self.whole, 1.0),
        );
    }
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// What small calls have for company.
const COMPANY: [(&str, &[Large]); 4] = [
    ("stream", &[Large::Stream]),
    ("request", &[Large::Request]),
    ("reply", &[Large::Reply]),
    ("both", &[Large::Stream, Large::Request]),
];

#[derive(Clone, Copy)]
enum Large {
    Stream,
    Request,
    Reply,
}

impl Large {
    async fn run(self, client: CompanyClient, body: Bytes) {
        match self {
            Self::Stream => {
                let mut items = client.stream(STREAM_BYTES).await.unwrap();
                while let Some(item) = items.next().await {
                    assert_eq!(item.unwrap().len(), ITEM_BYTES);
                }
            }
            Self::Request => assert_eq!(client.take(body).await.unwrap(), BODY_BYTES),
            Self::Reply => assert_eq!(client.give().await.unwrap().len(), BODY_BYTES),
        }
    }
}

/// The 99th percentiles alone, and by company: one of each round, in nanoseconds.
async fn measure() -> (Vec<u64>, [Vec<u64>; COMPANY.len()]) {
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let server = Server::builder()
        .message_bytes_max(MESSAGE_BYTES)
        .add_service(CompanyServer::new(Host(body.clone())));
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.spawn(server.bind("tcp://127.0.0.1:0")).await;
    let server = bound.unwrap().unwrap();
    let channel = Channel::builder().message_bytes_max(MESSAGE_BYTES);
    let client = CompanyClient::new(channel.connect(server.uri()).await.unwrap());
    let (mut quiet, mut loud) = (Vec::new(), <[Vec<u64>; COMPANY.len()]>::default());
    for _ in 0..ROUNDS {
        let mut left = ALONE_CALLS + 1;
        let alone = Took::measure(&client, || {
            left -= 1;
            left == 0
        });
        let alone = alone.await;
        alone.print("alone");
        quiet.push(percentile(&alone.whole, 0.99));
        for ((what, company), loud) in COMPANY.iter().zip(&mut loud) {
            let mut large = JoinSet::new();
            for one in *company {
                large.spawn(one.run(client.clone(), body.clone()));
            }
            let took = Took::measure(&client, || {
                while large.try_join_next().is_some_and(|ended| ended.is_ok()) {}
                large.is_empty()
            });
            let took = took.await;
            took.print(what);
            loud.push(percentile(&took.whole, 0.99));
        }
    }
    runtime.shutdown_background();
    (quiet, loud)
}

fn median<T: PartialOrd + Copy>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no measurement is NaN"));
    values[values.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The future that a runtime blocks on is polled less often than its tasks are.
    let (quiet, loud) = tokio::spawn(measure()).await.unwrap();
    let time = |times: &[u64]| Duration::from_nanos(median(times.iter().copied()));
    println!(
        "p99 in the median of {ROUNDS} rounds, alone: {:.1?}",
        time(&quiet)
    );
    let mut worst = 0.0_f64;
    for ((what, _), loud) in COMPANY.iter().zip(&loud) {
        let rounds = loud.iter().zip(&quiet);
        let quotient = median(rounds.map(|(loud, quiet)| *loud as f64 / *quiet as f64));
        worst = worst.max(quotient);
        println!(
            "in company of {what}: {:.1?}, {quotient:.1} times that",
            time(loud)
        );
    }
    assert!(worst <= QUOTIENT_MAX, "a small call waits too long");
}
