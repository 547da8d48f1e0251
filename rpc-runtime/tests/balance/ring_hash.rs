//! Ring hash: a key belongs to one backend, wherever it is asked for.

use std::process::Command;

use proptest::prelude::*;
use rpc_runtime::balance::{Backend, Backends, Pick, Policy, RingHash, hash_key};

use super::fleet::{backends, secs};

const KEYS: u64 = 100_000;

fn ring(list: Vec<Backend>) -> Backends {
    Backends::new(&RingHash::default(), list, 0)
}

fn owner(backends: &Backends, key: u64) -> &str {
    let pick = Pick::new(secs(1), 0).with_key(hash_key(&key.to_le_bytes()));
    backends.list()[backends.pick(&pick).unwrap().index].address()
}

/// The test vectors of the xxHash specification, and others for each way through the function.
#[test]
fn the_hash_is_xxh64() {
    for (text, hash) in [
        ("", 0xef46_db37_51d8_e999),
        ("a", 0xd24e_c4f1_a98c_6e5b),
        ("abc", 0x44bc_2cf5_ad77_0999),
        (
            "Nobody inspects the spammish repetition",
            0xfbce_a83c_8a37_8bf1,
        ),
        (
            "The quick brown fox jumps over the lazy dog",
            0x0b24_2d36_1fda_71bc,
        ),
    ] {
        assert_eq!(hash_key(text.as_bytes()), hash, "{text:?}");
    }
}

/// What `the_same_key_goes_to_the_same_server_from_another_process` runs: prints owners.
#[test]
fn owners_for_another_process() {
    let owners = ring(backends(10));
    let owners: Vec<_> = (0..100).map(|key| owner(&owners, key)).collect();
    println!("owners: {}", owners.join(" "));
}

#[test]
fn the_same_key_goes_to_the_same_server_from_another_process() {
    let run = || {
        let test = "ring_hash::owners_for_another_process";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let at = text.find("owners: ").expect("it prints them");
        text[at..].lines().next().unwrap().to_owned()
    };
    let mut reversed = backends(10);
    reversed.reverse();
    let reversed = ring(reversed);
    let owners: Vec<_> = (0..100).map(|key| owner(&reversed, key)).collect();
    assert_eq!(run(), format!("owners: {}", owners.join(" ")));
    assert_eq!(run(), run());
}

#[test]
fn a_server_that_leaves_moves_its_own_keys_only_and_gets_them_back() {
    for servers in [3, 10, 100] {
        let before = ring(backends(servers));
        let mut list = backends(servers);
        let gone = list.remove(servers / 2);
        let without = ring(list);
        let mut moved = 0;
        for key in 0..KEYS {
            let (old, new) = (owner(&before, key), owner(&without, key));
            assert!(old == new || old == gone.address());
            moved += u64::from(old != new);
        }
        let share = moved as f64 / KEYS as f64 * servers as f64;
        println!("{servers} servers: {share:.2}/n of the keys moved");
        assert!(share <= 1.2, "{share}");
        let again = ring(backends(servers));
        assert!((0..KEYS).all(|key| owner(&before, key) == owner(&again, key)));
    }
}

#[test]
fn the_most_loaded_of_a_hundred_servers_has_a_quarter_more_than_the_mean_at_most() {
    let backends = ring(backends(100));
    let mut counts = vec![0_u64; 100];
    for key in 0..10 * KEYS {
        let pick = Pick::new(secs(1), 0).with_key(hash_key(&key.to_le_bytes()));
        counts[backends.pick(&pick).unwrap().index] += 1;
    }
    let peak = *counts.iter().max().unwrap() as f64 / (10 * KEYS / 100) as f64;
    println!("peak/mean {peak:.3}");
    assert!(peak < 1.25, "{peak}");
}

#[test]
fn twice_the_weight_is_twice_the_keys() {
    let heavy = Backend::new("heavy").with_weight(2);
    let backends = ring(vec![heavy, Backend::new("light")]);
    let heavy = (0..KEYS)
        .filter(|key| owner(&backends, *key) == "heavy")
        .count();
    let ratio = heavy as f64 / (KEYS as f64 - heavy as f64);
    assert!((1.7..2.3).contains(&ratio), "{ratio}");
}

#[test]
fn a_key_whose_server_is_closed_goes_to_the_next_and_back() {
    let backends = ring(backends(5));
    let homes: Vec<_> = (0..1000)
        .map(|key| owner(&backends, key).to_owned())
        .collect();
    let closed = &backends.list()[0];
    closed.set_unreachable(secs(100));
    for (key, home) in homes.iter().enumerate() {
        let now = owner(&backends, key as u64);
        assert!(now != closed.address() && (now == home || home == closed.address()));
    }
    closed.set_reachable();
    assert!((0..1000).all(|key| owner(&backends, key) == homes[key as usize]));
}

#[test]
fn a_retry_goes_to_the_next_server_of_the_key() {
    let backends = ring(backends(5));
    let key = hash_key(b"user 7");
    let mut tried = Vec::new();
    for _ in 0..5 {
        let pick = Pick::new(secs(1), 0).with_key(key).with_tried(&tried);
        let picked = backends.pick(&pick).unwrap();
        assert!(!picked.is_last_resort);
        tried.push(backends.list()[picked.index].clone());
    }
    tried.sort_by(|a, b| a.address().cmp(b.address()));
    tried.dedup_by(|a, b| a.is_same(b));
    assert_eq!(tried.len(), 5);
}

#[test]
fn a_server_that_moves_keeps_its_keys_by_its_hash_key() {
    let at = |address: &str| {
        let mut list = backends(5);
        list.push(Backend::new(address).with_tag("hash_key", "shard-5"));
        ring(list)
    };
    let (old, new) = (at("10.0.0.1:1"), at("10.0.0.2:2"));
    for key in 0..1000 {
        let (old, new) = (owner(&old, key), owner(&new, key));
        assert!(old == new || (old, new) == ("10.0.0.1:1", "10.0.0.2:2"));
    }
}

#[test]
fn a_call_without_a_key_goes_anywhere() {
    let backends = ring(backends(5));
    let mut counts = [0; 5];
    for random in 0..1000 {
        counts[backends.pick(&Pick::new(secs(1), random)).unwrap().index] += 1;
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the list, in whatever order: one owner.
    #[test]
    fn the_order_of_the_list_does_not_matter(
        list in prop::collection::btree_set("[a-z]{1,8}", 1..30),
        keys in prop::collection::vec(any::<u64>(), 50),
        rotated in any::<prop::sample::Index>(),
    ) {
        let list: Vec<String> = list.into_iter().collect();
        let mut other = list.clone();
        other.rotate_left(rotated.index(list.len()));
        let make = |list: &[String]| ring(list.iter().map(|a| Backend::new(a.as_str())).collect());
        let (a, b) = (make(&list), make(&other));
        for key in keys {
            prop_assert_eq!(owner(&a, key), owner(&b, key));
        }
    }
}

#[test]
fn the_policy_is_an_object() {
    let policy: Box<dyn Policy> = Box::new(RingHash::default());
    assert_eq!(Backends::new(&*policy, backends(1), 0).list().len(), 1);
}
