//! What resilience costs a call that succeeds: `cargo bench -p rpc-runtime --bench resilience`.
//!
//! Fails if all of it together takes more than 100 ns. Each figure is the best of many rounds: the
//! machine can only add to it.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rpc_runtime::resilience::{
    CircuitBreaker, HedgePolicy, Hedging, OutlierDetector, OutlierPolicy, RetryBudget,
};

const ROUNDS: usize = 200;
const CALLS: u32 = 2_000;
const LIMIT_NANOS: f64 = 100.0;

fn main() {
    let begin = Duration::from_secs(1);
    let budget = RetryBudget::default();
    let hedging = Hedging::new(HedgePolicy::for_slowest(0.05), begin);
    let health = OutlierDetector::new(OutlierPolicy::default(), begin).add(());
    let breaker = CircuitBreaker::default();
    let latency = Duration::from_millis(1);

    let parts: [(&str, &dyn Fn(Duration)); 4] = [
        ("budget", &|now| budget.note_call(now)),
        ("hedging", &|now| {
            black_box(hedging.begin(now));
            hedging.record(latency);
        }),
        ("ejection", &|now| assert!(!health.record(now, false))),
        ("breaker", &|now| {
            assert!(breaker.allow(now, 0.5));
            breaker.note_accepted(now);
        }),
    ];
    println!("ns a call that succeeds");
    let costs = parts.map(|(name, part)| {
        let cost = best(part);
        println!("{name:>10} {cost:>6.1}");
        cost
    });
    let total: f64 = costs.iter().sum();
    assert!(
        total <= LIMIT_NANOS,
        "{total:.1} ns are more than {LIMIT_NANOS}"
    );
}

/// Nanoseconds, in the best round; 10 µs pass between calls.
fn best(work: &dyn Fn(Duration)) -> f64 {
    let mut now = Duration::from_secs(2);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..CALLS {
            now += Duration::from_micros(10);
            work(now);
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    best
}
