//! Locality first: the own zone, and beyond it what does not fit.

use std::sync::Arc;

use rpc_runtime::balance::{
    Backend, Backends, Locality, Pick, PowerOfTwoChoices, Random, RoundRobin,
};

use super::fleet::{ms, secs};

/// Ten backends here, ten there.
fn zones() -> Backends {
    let here = (0..10).map(|n| Backend::new(format!("here{n}")).with_zone("a"));
    let there = (0..10).map(|n| Backend::new(format!("there{n}")).with_zone("b"));
    let policy = Locality::new("a", Arc::new(RoundRobin::default()));
    Backends::new(&policy, here.chain(there).collect(), 0)
}

/// The share of calls that stay, from a second after what was done to the backends.
fn share_here(backends: &Backends) -> f64 {
    let mut here = 0;
    for random in 0..10_000 {
        let pick = Pick::new(secs(2), random);
        let index = backends.pick(&pick).unwrap().index;
        here += u32::from(backends.list()[index].zone() == Some("a"));
    }
    f64::from(here) / 1e4
}

#[test]
fn calls_stay_while_the_zone_has_room_and_spill_over_in_proportion() {
    for (closed, stays) in [
        (0, 1.0),
        (2, 1.0),
        (4, 0.84),
        (5, 0.7),
        (8, 0.28),
        (10, 0.0),
    ] {
        let backends = zones();
        for backend in &backends.list()[..closed] {
            backend.set_unreachable(secs(100));
        }
        let share = share_here(&backends);
        assert!((share - stays).abs() < 0.02, "{closed} closed: {share}");
    }
}

#[test]
fn calls_that_spill_over_are_spread_evenly_and_so_are_those_that_stay() {
    let here = (0..10).map(|n| Backend::new(format!("here{n}")).with_zone("a"));
    let there = (0..10).map(|n| Backend::new(format!("there{n}")).with_zone("b"));
    let policy = Locality::new("a", Arc::new(Random::default()));
    let backends = Backends::new(&policy, here.chain(there).collect(), 0);
    backends.list()[..5]
        .iter()
        .for_each(|b| b.set_unreachable(secs(100)));
    let mut counts = [0; 20];
    for random in 0..20_000 {
        counts[backends.pick(&Pick::new(secs(2), random)).unwrap().index] += 1;
    }
    // 70 % stay, at five of ten.
    assert!(
        counts[5..10].iter().all(|n| (2600..3000).contains(n)),
        "{counts:?}"
    );
    assert!(
        counts[10..].iter().all(|n| (500..700).contains(n)),
        "{counts:?}"
    );
}

#[test]
fn a_zone_that_heals_gets_its_calls_back() {
    let backends = zones();
    backends.list()[..10]
        .iter()
        .for_each(|b| b.eject(secs(100)));
    assert_eq!(share_here(&backends), 0.0);
    backends.list()[..10].iter().for_each(|b| b.readmit());
    let pick = |millis, random| {
        let index = backends
            .pick(&Pick::new(secs(2) + ms(millis), random))
            .unwrap()
            .index;
        backends.list()[index].zone() == Some("a")
    };
    assert!((0..100).all(|random| pick(200, random)));
}

#[test]
fn a_retry_leaves_the_zone_only_when_all_of_it_was_tried() {
    let list = vec![
        Backend::new("a1").with_zone("a"),
        Backend::new("a2").with_zone("a"),
        Backend::new("b1").with_zone("b"),
    ];
    let policy = Locality::new("a", Arc::new(PowerOfTwoChoices::default()));
    let backends = Backends::new(&policy, list, 0);
    let mut tried = Vec::new();
    for random in 0..3 {
        let picked = backends
            .pick(&Pick::new(secs(1), random).with_tried(&tried))
            .unwrap();
        assert!(!picked.is_last_resort);
        tried.push(backends.list()[picked.index].clone());
    }
    assert_eq!(tried[2].address(), "b1");
}

#[test]
fn a_closed_server_of_the_zone_is_probed() {
    let backends = zones();
    backends.list()[0].eject(secs(5));
    let mut probes = 0;
    for random in 0..1000 {
        let index = backends.pick(&Pick::new(secs(6), random)).unwrap().index;
        probes += u32::from(index == 0);
    }
    assert_eq!(probes, 1);
}

#[test]
fn a_client_in_a_zone_without_servers_uses_all_others() {
    let policy = Locality::new("c", Arc::new(RoundRobin::default()));
    let list = (0..4).map(|n| Backend::new(format!("s{n}"))).collect();
    let backends = Backends::new(&policy, list, 0);
    assert_eq!(super::fleet::tally(&backends, 400), [100; 4]);
}
