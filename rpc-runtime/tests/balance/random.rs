//! Random: any backend, by weight.

use rpc_runtime::balance::{Backend, Backends, Random};

use super::fleet::{backends, tally};

/// S1-29: random passes the chi-squared test.
#[test]
fn s1_29_picks_are_even_by_the_chi_squared_test() {
    let counts = tally(&Backends::new(&Random::default(), backends(10), 0), 100_000);
    let chi: f64 = counts.iter().map(|n| (*n as f64 - 1e4).powi(2) / 1e4).sum();
    println!("chi squared {chi:.1} with 9 degrees of freedom");
    // 21.7 is exceeded by chance in one of a hundred.
    assert!(chi < 21.7, "{counts:?}");
}

#[test]
fn picks_follow_the_weights_by_the_chi_squared_test() {
    let weights = [1, 2, 3, 10, 84];
    let list = weights.iter().enumerate();
    let list = list
        .map(|(n, w)| Backend::new(format!("s{n}")).with_weight(*w))
        .collect();
    let counts = tally(&Backends::new(&Random::default(), list, 0), 100_000);
    let chi = |(n, w): (&u64, u32)| {
        let expected = f64::from(w) * 1e3;
        (*n as f64 - expected).powi(2) / expected
    };
    let chi: f64 = counts.iter().zip(weights).map(chi).sum();
    println!("chi squared {chi:.1} with 4 degrees of freedom");
    assert!(chi < 13.3, "{counts:?}");
}
