//! Subsets of a large fleet.

use std::collections::{BTreeMap, BTreeSet};

use rpc_runtime::balance::{Backend, Subset};

use super::fleet::backends;

/// How many of 100 clients each of `servers` has, 12 for each client.
fn connections(servers: usize, subset: impl Fn(usize) -> Subset) -> Vec<usize> {
    let mut counts: BTreeMap<String, usize> = backends(servers)
        .iter()
        .map(|b| (b.address().to_owned(), 0))
        .collect();
    for client in 0..100 {
        let part = subset(client).of(backends(servers));
        assert_eq!(part.len(), 12);
        for backend in part {
            *counts.get_mut(backend.address()).unwrap() += 1;
        }
    }
    counts.into_values().collect()
}

#[test]
fn even_subsets_give_each_server_the_same_number_of_clients() {
    for servers in [100, 97, 40, 250] {
        let counts = connections(servers, |client| Subset::even(12, client, 100));
        let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        println!("{servers} servers: {min} to {max} clients");
        assert!(max - min <= 1, "{counts:?}");
    }
}

#[test]
fn random_subsets_spread_as_chance_has_it() {
    let counts = connections(100, |client| Subset::random(12, client as u64));
    let variance = counts
        .iter()
        .map(|n| (*n as f64 - 12.0).powi(2))
        .sum::<f64>()
        / 100.0;
    println!("variance {variance:.1}, binomial 10.6");
    assert!((6.0..16.0).contains(&variance), "{counts:?}");
}

#[test]
fn a_server_that_comes_or_goes_changes_one_of_a_random_subset() {
    for seed in 0..100 {
        let names = |list| -> BTreeSet<String> {
            let part = Subset::random(12, seed).of(list);
            part.iter()
                .map(|backend| backend.address().to_owned())
                .collect()
        };
        let all = names(backends(100));
        for gone in 0..100 {
            let mut list = backends(100);
            list.remove(gone);
            let less = names(list);
            assert!(
                all.difference(&less).count() <= 1,
                "seed {seed} without {gone}"
            );
        }
    }
}

#[test]
fn a_small_fleet_is_used_whole_and_odd_numbers_do_no_harm() {
    assert_eq!(Subset::random(12, 1).of(backends(12)).len(), 12);
    assert_eq!(Subset::even(12, 5, 0).of(backends(13)).len(), 12);
    assert_eq!(Subset::even(12, usize::MAX, 3).of(backends(13)).len(), 12);
    assert_eq!(Subset::random(12, 1).of(Vec::new()).len(), 0);
}

/// One that is to get no calls takes nobody's place, or a client would be left without servers.
#[test]
fn a_backend_without_weight_is_not_part_of_a_subset() {
    let drained = |addresses: &[String]| -> Vec<Backend> {
        let weigh = |b: Backend| match addresses.contains(&b.address().to_owned()) {
            true => b.with_weight(0),
            false => b,
        };
        backends(40).into_iter().map(weigh).collect()
    };
    for subset in [Subset::random(12, 7), Subset::even(12, 3, 100)] {
        let addresses = |list: Vec<Backend>| -> Vec<String> {
            list.iter().map(|b| b.address().to_owned()).collect()
        };
        let before = addresses(subset.of(backends(40)));
        let part = subset.of(drained(&before));
        assert_eq!(part.len(), 12);
        assert!(part.iter().all(|backend| backend.weight() > 0));
        // With nobody left, all of them are as good.
        let all = addresses(backends(40));
        assert_eq!(subset.of(drained(&all)).len(), 12);
    }
}
