//! The pause between attempts.

use std::time::Duration;

use proptest::prelude::*;
use rpc_runtime::resilience::BackoffPolicy;

use super::ms;

/// F9: 100 ms, growing by 1.6 to 10 s, and anything below with equal chance.
#[test]
fn f9_the_bound_grows_to_the_cap_and_the_pause_is_any_share_of_it() {
    let policy = BackoffPolicy::default();
    let bounds = (0..100).map(|failures| policy.pause(failures, 1.0).as_millis());
    let bounds: Vec<_> = bounds.collect();
    assert_eq!(bounds[..4], [100, 160, 256, 409]);
    assert_eq!(bounds[99], 10_000);
    assert_eq!(policy.pause(3, 0.5).as_millis(), 204);
    assert_eq!(policy.pause(3, 0.0), ms(0));
}

/// What is not left to chance is waited in any case.
#[test]
fn a_share_of_the_bound_is_sure() {
    let policy = BackoffPolicy::default().with_jitter(0.2);
    let pauses = [0.0, 0.5, 1.0].map(|random| policy.pause(1, random).as_millis());
    assert_eq!(pauses, [128, 144, 160]);
    assert_eq!(policy.with_jitter(0.0).pause(1, 0.0).as_millis(), 160);
    assert_eq!(policy.with_jitter(f64::NAN).pause(1, 0.0).as_millis(), 160);
    assert_eq!(policy.with_jitter(7.0).pause(1, 0.0).as_millis(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pause_is_longer_than_its_cap(
        base in any::<Duration>(), cap in any::<Duration>(),
        factor in any::<f64>(), jitter in any::<f64>(), failures in any::<u32>(),
        random in any::<f64>(),
    ) {
        let policy = BackoffPolicy::default().with_base(base).with_cap(cap).with_factor(factor);
        let policy = policy.with_jitter(jitter);
        let pause = policy.pause(failures, random);
        // As exact as a float is.
        prop_assert!(pause.as_secs_f64() <= cap.as_secs_f64(), "{:?}", pause);
    }
}
