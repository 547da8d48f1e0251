//! Smooth weighted round robin: exact counts, no bursts, any weights.

use proptest::prelude::*;
use rpc_runtime::balance::{Backend, Backends, Pick, WeightedRoundRobin};

use super::fleet::{secs, tally};

fn weighted(weights: &[u32]) -> Backends {
    let list = weights.iter().enumerate();
    let list = list
        .map(|(n, w)| Backend::new(format!("s{n}")).with_weight(*w))
        .collect();
    Backends::new(&WeightedRoundRobin::default(), list, 0)
}

#[test]
fn weights_five_one_one_give_a_a_b_a_c_a_a() {
    let backends = weighted(&[5, 1, 1]);
    let order = (0..14).map(|n| backends.pick(&Pick::new(secs(1), n)).unwrap().index);
    assert_eq!(
        order.collect::<Vec<_>>(),
        [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    );
}

#[test]
fn weights_that_are_all_zero_are_all_the_same() {
    assert_eq!(tally(&weighted(&[0, 0, 0]), 30), [10, 10, 10]);
}

#[test]
fn a_weight_of_zero_gets_no_calls() {
    let backends = weighted(&[1, 0, 2]);
    assert_eq!(backends.list().len(), 2);
    assert_eq!(tally(&backends, 30), [10, 20]);
}

#[test]
fn huge_weights_are_rounded_and_the_light_ones_still_have_turns() {
    let counts = tally(&weighted(&[u32::MAX, u32::MAX / 2, 1]), 4096);
    let ratio = counts[0] as f64 / counts[1] as f64;
    assert!((1.99..2.01).contains(&ratio), "{counts:?}");
    assert!((1..=2).contains(&counts[2]), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_exact_over_a_period(weights in prop::collection::vec(1_u32..50, 1..20)) {
        let period: u32 = weights.iter().sum();
        let counts = tally(&weighted(&weights), u64::from(period));
        let exact: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
        prop_assert_eq!(counts, exact);
    }
}
