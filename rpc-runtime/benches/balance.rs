//! What choosing a backend costs: `cargo bench -p rpc-runtime --bench balance`.
//!
//! Fails if a pick takes more than 100 ns of 10 backends, or 150 ns of 1,000. Each figure is the
//! best of many rounds: the machine can only add to it.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rpc_runtime::balance::{Backend, Backends, Dice, Ended, Pick, policy};

const ROUNDS: usize = 200;
const PICKS: u32 = 2_000;
/// Backends, and how long a pick of one of them may take.
const LIMITS: [(usize, f64); 2] = [(10, 100.0), (1000, 150.0)];

const POLICIES: [&str; 10] = [
    "p2c",
    "least_request",
    "round_robin",
    "random",
    "weighted_round_robin",
    "reported_load",
    "ring_hash",
    "locality:a",
    "nearest:52.5,13.4",
    "fixed",
];

fn main() {
    println!("ns a pick, and with the counting of its call; µs to take over a list");
    for name in POLICIES {
        for weighted in [false, true] {
            for (count, limit) in LIMITS {
                let backends = warm(name, count, weighted);
                let (pick, call) = (best(|now, random| pick(&backends, now, random)), {
                    best(|now, random| call(&backends, now, random))
                });
                let weights = if weighted { "weights" } else { "equal" };
                let build = build(name, &backends);
                println!("{name:>20} {weights:>8} {count:>5} {pick:>6.1} {call:>6.1} {build:>8.0}");
                assert!(
                    pick <= limit,
                    "{name}: {pick:.1} ns of {count} are more than {limit}"
                );
            }
        }
    }
}

/// Microseconds to replace a list by the same one.
fn build(name: &str, backends: &Backends) -> f64 {
    let policy = policy(name).expect("the name is one of those that exist");
    let copy = |old: &Backend| {
        let new = Backend::new(old.address()).with_weight(old.weight());
        new.with_zone(old.zone().unwrap_or_default())
    };
    let list = || backends.list().iter().map(|old| copy(old)).collect();
    let times = std::iter::repeat_with(|| {
        let list = list();
        let begin = Instant::now();
        black_box(backends.replaced(&*policy, list, 1));
        begin.elapsed().as_nanos() as f64 / 1e3
    });
    times.take(20).fold(f64::MAX, f64::min)
}

/// Backends that have all answered, at different speeds; half of them stand in another zone.
fn warm(name: &str, count: usize, weighted: bool) -> Backends {
    let backend = |n: usize| {
        let weight = if weighted { 1 + n as u32 % 5 } else { 1 };
        Backend::new(format!("10.0.{}.{}:7000", n / 256, n % 256))
            .with_weight(weight)
            .with_zone(if n.is_multiple_of(2) { "a" } else { "b" })
            .with_tag("latitude", format!("{}", n % 90))
            .with_tag("longitude", "13")
    };
    let policy = policy(name).expect("the name is one of those that exist");
    let backends = Backends::new(&*policy, (0..count).map(backend).collect(), 1);
    for (n, backend) in backends.list().iter().enumerate() {
        let call = backend.begin(Duration::from_secs(1));
        call.finish(
            Duration::from_secs(1) + Duration::from_micros(n as u64),
            Ended::Answered,
        );
    }
    backends
}

fn pick(backends: &Backends, now: Duration, random: u64) {
    black_box(backends.pick(&Pick::new(now, random).with_key(random)));
}

fn call(backends: &Backends, now: Duration, random: u64) {
    let picked = backends.pick(&Pick::new(now, random).with_key(random));
    let picked = picked.expect("there are backends");
    let call = backends.list()[picked.index].begin(now);
    call.finish(now + Duration::from_millis(1), Ended::Answered);
}

/// Nanoseconds, in the best round; 10 µs pass between calls.
fn best(mut work: impl FnMut(Duration, u64)) -> f64 {
    let mut dice = Dice::new(1);
    let mut now = Duration::from_secs(2);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..PICKS {
            now += Duration::from_micros(10);
            work(now, dice.roll());
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(PICKS));
    }
    best
}
