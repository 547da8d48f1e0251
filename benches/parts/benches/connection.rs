//! The two state machines: the handshake, and a call at either end.
//!
//! The table of open calls belongs to the client: `start` is a frame encoded and a slot taken,
//! `finish` a frame decoded and its slot found and freed. With 1 and with 1,024 calls open each call
//! should cost as much as with 64.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parts::pair::Pair;
use parts::{SMALL, criterion};

fn handshake(criterion: &mut Criterion) {
    let (config, now) = (Pair::config(), Instant::now());
    criterion.bench_function("connection/handshake", |bencher| {
        bencher.iter(|| {
            let mut pair = Pair::new(&config, now);
            pair.shake_hands();
            pair
        });
    });
}

/// What a round of calls is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Start,
    Serve,
    Finish,
}

impl Step {
    const ALL: [(Self, &str); 3] = [
        (Self::Start, "start"),
        (Self::Serve, "serve"),
        (Self::Finish, "finish"),
    ];
}

/// The time that one step takes in so many rounds.
fn rounds(pair: &mut Pair, calls: usize, timed: Step, rounds: u64) -> Duration {
    let body = [7; SMALL];
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        for (step, _) in Step::ALL {
            let begin = Instant::now();
            match step {
                Step::Start => pair.start(calls, black_box(&body)),
                Step::Serve => pair.serve(),
                Step::Finish => assert_eq!(pair.finish(), calls),
            }
            if step == timed {
                spent += begin.elapsed();
            }
        }
    }
    spent
}

fn calls(criterion: &mut Criterion) {
    for (step, name) in Step::ALL {
        let mut group = criterion.benchmark_group(format!("connection/{name}"));
        for calls in [1, 64, 1024] {
            let mut pair = Pair::open();
            group.throughput(Throughput::Elements(calls as u64));
            group.bench_function(BenchmarkId::from_parameter(calls), |bencher| {
                bencher.iter_custom(|count| rounds(&mut pair, calls, step, count));
            });
        }
        group.finish();
    }
}

criterion_group!(name = group; config = criterion(); targets = handshake, calls);
criterion_main!(group);
