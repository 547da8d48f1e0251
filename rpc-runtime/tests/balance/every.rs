//! What holds for every policy, and for one of the user's own.

use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use proptest::prelude::*;
use rpc_runtime::balance::{
    Admission, Backend, Backends, Ended, List, LoadReport, Pick, Picked, Picker, Policy, policy,
};

use super::fleet::{backends, ms, secs};

const POLICIES: [&str; 10] = [
    "p2c",
    "round_robin",
    "random",
    "weighted_round_robin",
    "least_request:3",
    "ring_hash",
    "reported_load",
    "nearest:0,0",
    "locality:a",
    "fixed",
];

fn make(name: &str, list: Vec<Backend>) -> Backends {
    Backends::new(&*policy(name).unwrap(), list, 3)
}

/// With zones, weights and places, so that each policy has something to go by.
fn varied(count: usize) -> Vec<Backend> {
    let vary = |n: usize| {
        Backend::new(format!("s{n}"))
            .with_weight(1 + n as u32 % 3)
            .with_zone(if n.is_multiple_of(2) { "a" } else { "b" })
            .with_tag("latitude", format!("{}", n % 90))
            .with_tag("longitude", "1")
    };
    (0..count).map(vary).collect()
}

#[test]
fn nothing_is_picked_of_none_and_the_only_one_of_one() {
    for name in POLICIES {
        assert_eq!(
            make(name, Vec::new()).pick(&Pick::new(secs(1), 1)),
            None,
            "{name}"
        );
        let one = make(name, backends(1));
        assert_eq!(
            one.pick(&Pick::new(secs(1), 1)),
            Some(Picked::at(0)),
            "{name}"
        );
        one.list()[0].eject(secs(100));
        let picked = one.pick(&Pick::new(secs(1), 1)).unwrap();
        assert_eq!(
            picked.index, 0,
            "{name}: all that are bad are tried all the same"
        );
    }
}

#[test]
fn of_an_address_that_is_listed_twice_the_first_counts() {
    let list = vec![
        Backend::new("a").with_weight(5),
        Backend::new("b"),
        Backend::new("a"),
    ];
    let backends = make("p2c", list);
    let weights: Vec<_> = backends
        .list()
        .iter()
        .map(|b| (b.address(), b.weight()))
        .collect();
    assert_eq!(weights, [("a", 5), ("b", 1)]);
}

#[test]
fn an_attempt_never_goes_where_the_call_was_before_while_there_are_others() {
    for name in POLICIES {
        for count in [2, 3, 10, 200] {
            let backends = make(name, varied(count));
            for random in 0..100 {
                let mut tried = Vec::new();
                for _ in 0..count.min(5) {
                    let pick = Pick::new(secs(1), random)
                        .with_key(random)
                        .with_tried(&tried);
                    let picked = backends.pick(&pick).unwrap();
                    let backend = backends.list()[picked.index].clone();
                    assert!(
                        !tried.iter().any(|old| old.is_same(&backend)),
                        "{name} {count}"
                    );
                    assert!(!picked.is_last_resort, "{name} {count}");
                    tried.push(backend);
                }
            }
        }
    }
}

#[test]
fn when_all_were_tried_one_is_tried_again_as_a_last_resort() {
    for name in POLICIES {
        let backends = make(name, varied(3));
        let tried: Vec<_> = backends.list().to_vec();
        let pick = Pick::new(secs(1), 1).with_tried(&tried);
        assert!(backends.pick(&pick).unwrap().is_last_resort, "{name}");
    }
}

#[test]
fn closed_servers_get_no_calls_while_half_of_them_are_open() {
    for name in POLICIES {
        let backends = make(name, varied(10));
        backends.list()[..3].iter().for_each(|b| b.eject(secs(100)));
        backends.list()[3..5]
            .iter()
            .for_each(|b| b.set_unreachable(secs(100)));
        for random in 0..1000 {
            let pick = Pick::new(secs(1), random).with_key(random << 40);
            assert!(backends.pick(&pick).unwrap().index >= 5, "{name}");
        }
    }
}

/// F8: all bad, still tries all. Unreachable ones are left alone even then.
#[test]
fn f8_if_most_are_ejected_ejection_is_ignored() {
    let ordered = ["fixed", "nearest:0,0"];
    for name in POLICIES.into_iter().filter(|name| !ordered.contains(name)) {
        let list = (0..10).map(|n| Backend::new(format!("s{n}"))).collect();
        let backends = make(name, list);
        backends.list()[..9].iter().for_each(|b| b.eject(secs(100)));
        backends.list()[9].set_unreachable(secs(100));
        let mut counts = [0; 10];
        for random in 0..1000_u64 {
            let pick = Pick::new(secs(1), random).with_key(random.wrapping_mul(u64::MAX / 999));
            counts[backends.pick(&pick).unwrap().index] += 1;
        }
        assert!(
            counts[..9].iter().all(|count| *count > 30),
            "{name}: {counts:?}"
        );
        assert_eq!(counts[9], 0, "{name}");
    }
}

/// The one that is left must not be overrun, if the others may be well.
#[test]
fn if_most_are_ejected_the_last_one_does_not_get_all_calls() {
    for name in ["p2c", "round_robin", "random", "least_request"] {
        let backends = make(name, backends(10));
        backends.list()[..9].iter().for_each(|b| b.eject(secs(100)));
        let counts = super::fleet::tally(&backends, 1000);
        assert!(counts[9] < 800, "{name}: {counts:?}");
    }
}

/// F8: readmitted by one probe. Until its outcome is known, there is no other for a second.
#[test]
fn f8_a_closed_server_is_probed_by_one_call_when_its_time_is_over() {
    for name in POLICIES {
        let backends = make(name, backends(2));
        backends.list()[0].eject(secs(30));
        let picks = |now, count: u64| {
            let picks = (0..count).map(|random| Pick::new(now, random).with_key(random << 56));
            picks
                .filter(|pick| backends.pick(pick).unwrap().index == 0)
                .count()
        };
        assert_eq!(picks(secs(30) - ms(1), 100), 0, "{name}");
        assert_eq!(picks(secs(30), 100), 1, "{name}");
        assert_eq!(picks(secs(31) - ms(1), 100), 0, "{name}");
        assert_eq!(
            picks(secs(31), 100),
            1,
            "{name}: the first was never heard of"
        );
        backends.list()[0].readmit();
        assert!(picks(secs(31), 100) > 20, "{name}");
    }
}

#[test]
fn a_server_with_two_faults_is_probed_when_both_times_are_over() {
    let backends = make("round_robin", backends(2));
    let bad = backends.list()[0].clone();
    bad.eject(secs(60));
    bad.set_unreachable(secs(30));
    let picks = |now| {
        let picks = (0..10).map(|random| Pick::new(now, random));
        picks
            .filter(|pick| backends.pick(pick).unwrap().index == 0)
            .count()
    };
    assert_eq!((picks(secs(31)), picks(secs(60))), (0, 1));
    bad.set_reachable();
    assert!(
        !bad.is_open() && bad.is_ejected(),
        "a connection is not yet an answer"
    );
    bad.readmit();
    assert_eq!(picks(secs(60)), 5);
}

#[test]
fn of_many_threads_one_has_the_probe() {
    let backends = make("p2c", backends(2));
    for round in 1..200 {
        let now = secs(round * 10);
        backends.list()[0].eject(now);
        let probes: usize = thread::scope(|scope| {
            let probe = || {
                let picks = (0..8).map(|random| Pick::new(now, random));
                picks
                    .filter(|pick| backends.pick(pick).unwrap().index == 0)
                    .count()
            };
            let threads = [scope.spawn(probe), scope.spawn(probe), scope.spawn(probe)];
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(probes, 1);
    }
}

#[test]
fn a_pick_allocates_nothing() {
    for name in POLICIES {
        for count in [10, 1000] {
            let backends = make(name, varied(count));
            for backend in backends.list().iter().step_by(3) {
                backend.eject(secs(100));
            }
            let tried = [backends.list()[0].clone(), backends.list()[1].clone()];
            let cost = measure(|| {
                for random in 0..100 {
                    let pick = Pick::new(secs(1), random)
                        .with_key(random)
                        .with_tried(&tried);
                    let picked = backends.pick(&pick).unwrap();
                    let call = backends.list()[picked.index].begin(secs(1));
                    call.finish(secs(1) + ms(3), Ended::Answered);
                }
            });
            assert_eq!(cost.count_total, 0, "{name}");
        }
    }
}

#[test]
fn calls_in_flight_are_counted_until_they_end_in_whatever_way() {
    let backends = make("p2c", backends(1));
    let backend = &backends.list()[0];
    let calls: Vec<_> = (0..4).map(|_| backend.begin(secs(1))).collect();
    assert_eq!(backend.in_flight(), 4);
    let ends = [
        Some(Ended::Answered),
        Some(Ended::Failed),
        Some(Ended::Abandoned),
        None,
    ];
    for (call, end) in calls.into_iter().zip(ends) {
        match end {
            Some(how) => call.finish(secs(2), how),
            None => drop(call),
        }
    }
    assert_eq!(backend.in_flight(), 0);
}

/// The one with the shortest address, as users have their own ideas.
#[derive(Debug)]
struct Shortest;

#[derive(Debug)]
struct ShortestFirst(Vec<(usize, std::sync::Arc<Backend>)>);

impl Policy for Shortest {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        let mut order: Vec<_> = backends.iter().cloned().enumerate().collect();
        order.sort_by_key(|(_, backend)| backend.address().len());
        Box::new(ShortestFirst(order))
    }
}

impl Picker for ShortestFirst {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let mut found = self.0.iter();
        let found = found.find(|(_, backend)| pick.admit(backend) != Admission::Closed);
        found.map(|(index, _)| Picked::at(*index))
    }
}

/// S3-10: a selector of the user's own.
#[test]
fn s3_10_a_user_can_bring_a_policy() {
    let list = vec![Backend::new("long"), Backend::new("a"), Backend::new("mid")];
    let backends = Backends::new(&Shortest, list, 0);
    assert_eq!(backends.pick(&Pick::new(secs(1), 0)), Some(Picked::at(1)));
    let tried = [backends.list()[1].clone()];
    let pick = Pick::new(secs(1), 0).with_tried(&tried);
    assert_eq!(backends.pick(&pick), Some(Picked::at(2)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to the backends, a pick is a place in the list, and never a closed or tried
    /// one without saying so.
    #[test]
    fn a_pick_is_always_legal(
        name in prop::sample::select(&POLICIES[..]),
        weights in prop::collection::vec(prop_oneof![0_u32..5, any::<u32>()], 1..40),
        closed in prop::collection::vec(0_u8..4, 40),
        times in prop::collection::vec((any::<Duration>(), any::<u64>()), 20),
        tried in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let weighed = |(n, w): (usize, &u32)| Backend::new(format!("s{n}")).with_weight(*w);
        let backends = make(name, weights.iter().enumerate().map(weighed).collect());
        let list = backends.list();
        for (backend, closed) in list.iter().zip(&closed) {
            if closed & 1 != 0 { backend.eject(secs(u64::from(*closed))) }
            if closed & 2 != 0 { backend.set_unreachable(secs(u64::from(*closed))) }
        }
        let tried: Vec<_> = tried.iter().map(|index| list[index.index(list.len())].clone()).collect();
        for (now, random) in times {
            // Some soon, some in the far future; and not in their order.
            let now = if random % 2 == 0 { ms(random % 5000) } else { now };
            let pick = Pick::new(now, random).with_key(random).with_tried(&tried);
            let picked = backends.pick(&pick).expect("the list is not empty");
            let backend = &list[picked.index];
            if !picked.is_last_resort {
                prop_assert!(!tried.iter().any(|old| old.is_same(backend)));
            }
            backend.report(now, LoadReport::new(random as f64, now.as_secs_f64()));
            let ended = if random % 3 == 0 { Ended::Failed } else { Ended::Answered };
            backend.begin(now).finish(now.saturating_add(ms(random)), ended);
            prop_assert_eq!(backend.in_flight(), 0);
        }
    }
}

/// F3: that nobody answered is believed for four seconds; a slow answer for as long as it decays.
#[test]
fn f3_silence_is_forgotten_and_slowness_is_not() {
    let silences = [
        |backend: &Backend| {
            backend
                .begin(secs(100))
                .finish(secs(101), Ended::Unanswered)
        },
        |backend: &Backend| {
            backend
                .begin(secs(99))
                .finish(secs(99) + ms(1), Ended::Answered);
            backend.begin(secs(100)).finish(secs(101), Ended::Abandoned);
        },
    ];
    for silence in silences {
        let backend = Backend::new("a");
        silence(&backend);
        assert!(backend.latency(secs(104)) > ms(500), "{backend:?}");
        assert_eq!(backend.latency(secs(105)), Duration::ZERO);
        // The first answer says all there is to know.
        backend
            .begin(secs(104))
            .finish(secs(104) + ms(2), Ended::Answered);
        assert!(backend.latency(secs(104)) <= ms(2), "{backend:?}");
    }
    for ended in [Ended::Answered, Ended::Failed] {
        let backend = Backend::new("a");
        backend.begin(secs(100)).finish(secs(101), ended);
        assert!(backend.latency(secs(105)) > ms(500), "{ended:?}");
        backend
            .begin(secs(105))
            .finish(secs(105) + ms(2), Ended::Answered);
        assert!(backend.latency(secs(105)) > ms(500), "{ended:?}");
    }
}

/// F3: a connection that could not be made before says that what was known is over.
#[test]
fn f3_who_is_reached_again_is_as_new() {
    let backends = make("p2c", vec![Backend::new("a"), Backend::new("b")]);
    let lost = &backends.list()[0];
    let failed = lost.begin(secs(100));
    failed.finish(secs(101), Ended::Failed);
    lost.eject(secs(131));
    // One that could be reached all the time stays out.
    lost.set_reachable();
    assert!(lost.is_ejected() && lost.latency(secs(101)) >= secs(1));
    let picks = |from: u64| {
        let pick = |random| backends.pick(&Pick::new(secs(from), random)).unwrap().index;
        let randoms = (0..200_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        randoms.map(pick).filter(|index| *index == 0).count()
    };
    assert_eq!(picks(102), 0);
    lost.set_unreachable(Duration::MAX);
    assert_eq!(picks(110), 0);
    lost.set_reachable();
    assert_eq!(lost.latency(secs(110)), Duration::ZERO);
    assert_eq!(picks(110), 1, "the probe");
    lost.readmit();
    assert!(picks(110) > 50);
}
