//! What the life of a call costs: a deadline, an interceptor, a panic.
//!
//! `cargo bench --bench life` takes seconds. Client and server share one thread and one connection
//! over loopback TCP, 64 calls are in flight, and the variants take turns, so that whatever else
//! the machine does hits all of them: the ratios hold, the absolute figures drift.
//!
//! Fails if calls with a deadline are fewer than 0.9 of those without (0.97 to 0.99 are usual), as the
//! median of pairs of rounds; three times in a row, for a machine may have other work to do.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rpc::{Channel, Code, Interceptor, Server};

const IN_FLIGHT: u64 = 64;
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(10);
const RATIO_MIN: f64 = 0.9;
const ATTEMPTS: usize = 3;

#[rpc::service]
trait Work {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64>;
    async fn panic(&self) -> rpc::Result<()>;
    async fn panic_later(&self) -> rpc::Result<()>;
}

struct Worker;
impl Work for Worker {
    async fn echo(&self, nonce: u64) -> rpc::Result<u64> {
        Ok(nonce)
    }
    async fn panic(&self) -> rpc::Result<()> {
        panic!("on purpose");
    }
    async fn panic_later(&self) -> rpc::Result<()> {
        tokio::task::yield_now().await;
        panic!("on purpose");
    }
}

/// Does nothing, at the price of being asked.
struct Idle;
impl Interceptor for Idle {}

/// Calls per second.
async fn round(client: &WorkClient) -> f64 {
    let begin = Instant::now();
    let callers = (0..IN_FLIGHT).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut calls = 0_u32;
            while begin.elapsed() < ROUND {
                for _ in 0..100 {
                    assert_eq!(client.echo(caller).await, Ok(caller));
                }
                calls += 100;
            }
            calls
        })
    });
    let calls: u32 = join_all(callers)
        .await
        .into_iter()
        .map(|c| c.unwrap())
        .sum();
    f64::from(calls) / begin.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the speed of both; gives that of the second relative to the first.
async fn compare(names: [&str; 2], clients: [&WorkClient; 2]) -> f64 {
    let mut speeds = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for index in 0..ROUNDS {
        // Who goes first takes turns too.
        let first = index % 2;
        let mut pair = [0.0; 2];
        for which in [first, 1 - first] {
            pair[which] = round(clients[which]).await;
            speeds[which].push(pair[which]);
        }
        ratios.push(pair[1] / pair[0]);
    }
    let [mut one, mut other] = speeds;
    let (one, other, ratio) = (median(&mut one), median(&mut other), median(&mut ratios));
    let [name, other_name] = names;
    println!("{name:>24}: {one:>9.0} calls/s");
    println!("{other_name:>24}: {other:>9.0} calls/s, {ratio:.3} of it");
    ratio
}

/// Prints how long one call at a time takes to fail, or to succeed.
async fn answer_time(name: &str, client: &WorkClient) {
    let mut times = Vec::new();
    for _ in 0..1000 {
        let begin = Instant::now();
        let code = match name {
            "echo" => client.echo(1).await.map(drop),
            "panic" => client.panic().await,
            _ => client.panic_later().await,
        }
        .map_err(|status| status.code());
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        assert_eq!(
            code,
            if name == "echo" {
                Ok(())
            } else {
                Err(Code::Internal)
            }
        );
    }
    let half = median(&mut times);
    println!("{name:>24}: {half:.0} µs, 99 % within {:.0} µs", times[990]);
}

async fn served(builder: rpc::ServerBuilder) -> Server {
    let builder = builder.add_service(WorkServer::new(Worker));
    builder.bind("tcp://127.0.0.1:0").await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = served(Server::builder()).await;
    let plain = WorkClient::connect(server.uri()).await.unwrap();
    round(&plain).await;

    println!("64 calls in flight, {ROUNDS} rounds, medians:");
    compare(["the same", "and again"], [&plain, &plain]).await;
    let limited = plain.with_timeout(DEADLINE);
    let mut ratio = 0.0;
    for _ in 0..ATTEMPTS {
        ratio = compare(["no deadline", "a deadline"], [&plain, &limited]).await;
        if ratio >= RATIO_MIN {
            break;
        }
    }
    let channel = Channel::builder().interceptor(Idle);
    let asking = WorkClient::new(channel.connect(server.uri()).await.unwrap());
    compare(["no interceptor", "one at the client"], [&plain, &asking]).await;
    let asked = served(Server::builder().interceptor(Idle)).await;
    let asked = WorkClient::connect(asked.uri())
        .await
        .map(|client| (client, asked));
    let (client, _server) = asked.unwrap();
    compare(["no interceptor", "one at the server"], [&plain, &client]).await;

    println!("one call at a time:");
    answer_time("echo", &plain).await;
    std::panic::set_hook(Box::new(|_| {}));
    answer_time("panic", &plain).await;
    answer_time("panic after a wait", &plain).await;
    assert!(
        ratio >= RATIO_MIN,
        "a deadline costs too much: {ratio:.3} of the calls without"
    );
}
