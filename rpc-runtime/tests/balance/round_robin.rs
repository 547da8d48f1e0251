//! Round robin: one after the other, from any number of threads.

use std::thread;

use rpc_runtime::balance::{Backends, Pick, RoundRobin};

use super::fleet::{backends, secs, tally};

/// S1-29, S2-8: over n servers each is visited k/n times, give or take one.
#[test]
fn s1_29_s2_8_each_server_has_its_turn() {
    for seed in [0, 3, u64::MAX] {
        let backends = Backends::new(&RoundRobin::default(), backends(7), seed);
        let counts = tally(&backends, 1000);
        assert!(counts.iter().all(|n| (142..=143).contains(n)), "{counts:?}");
    }
}

#[test]
fn threads_take_turns() {
    let backends = Backends::new(&RoundRobin::default(), backends(10), 0);
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| tally(&backends, 25_000)))
            .collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold(vec![0; 10], |a, b| {
            a.iter().zip(b).map(|(a, b)| a + b).collect()
        })
    });
    assert_eq!(counts, vec![10_000; 10]);
}

#[test]
fn the_one_behind_a_closed_server_does_not_get_twice_the_calls() {
    let backends = Backends::new(&RoundRobin::default(), backends(5), 0);
    backends.list()[2].eject(secs(100));
    assert_eq!(tally(&backends, 4000), [1000, 1000, 0, 1000, 1000]);
}

#[test]
fn the_seed_says_who_is_first() {
    for seed in 0..10 {
        let backends = Backends::new(&RoundRobin::default(), backends(5), seed);
        let picked = backends.pick(&Pick::new(secs(1), 0)).unwrap();
        assert_eq!(picked.index as u64, seed % 5);
    }
}
