//! Outlier detection (gRPC A50), by the clock.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rpc_runtime::resilience::{FailurePercentage, Health, OutlierDetector, OutlierPolicy, Verdict};

use super::secs;

/// Hosts by number.
struct Hosts {
    detector: OutlierDetector<usize>,
    health: Vec<Arc<Health>>,
}

impl Hosts {
    fn new(count: usize, policy: OutlierPolicy) -> Self {
        let mut detector = OutlierDetector::new(policy, secs(0));
        let health = (0..count).map(|host| detector.add(host)).collect();
        Self { detector, health }
    }

    /// A call that began and ended at this time.
    fn call(&mut self, now: Duration, host: usize, failed: bool) -> Option<Verdict> {
        let health = &self.health[host];
        if !health.record(now, failed) {
            return None;
        }
        self.detector.judge(now, health, now, failed)
    }
}

fn until(seconds: u64) -> Verdict {
    // The variant may get more fields one day; today there is one way to make it.
    let mut hosts = Hosts::new(2, OutlierPolicy::default().with_consecutive_failures(1));
    let verdict = hosts.call(secs(seconds - 30), 0, true).unwrap();
    assert!(matches!(verdict, Verdict::Eject { until } if until == secs(seconds)));
    verdict
}

/// 10 hosts, one of which fails every other call.
#[test]
fn a_host_at_half_is_out_at_10_s_back_at_40_s_and_out_for_60_s_the_second_time() {
    let mut hosts = Hosts::new(10, OutlierPolicy::default());
    let interval = |hosts: &mut Hosts| {
        for call in 0..100 {
            for host in 0..10 {
                // Those that are out get no calls.
                let is_bad = host == 3 && call % 2 == 0;
                assert_eq!(hosts.call(secs(0), host, is_bad), None);
            }
        }
    };
    interval(&mut hosts);
    assert_eq!(hosts.detector.poll_timeout(), secs(10));
    assert_eq!(hosts.detector.handle_timeout(secs(9)), []);
    assert_eq!(hosts.detector.handle_timeout(secs(10)), [(3, until(40))]);
    for second in [20, 30, 40] {
        assert_eq!(hosts.detector.handle_timeout(secs(second)), []);
    }
    assert_eq!(hosts.call(secs(40), 3, false), Some(Verdict::Readmit));
    interval(&mut hosts);
    assert_eq!(
        hosts.detector.handle_timeout(secs(50)),
        [(3, until(50 + 60))]
    );
}

#[test]
fn five_failures_in_a_row_eject_at_once_and_one_success_starts_anew() {
    let mut hosts = Hosts::new(3, OutlierPolicy::default());
    for failed in [true, true, true, true, false, true, true, true, true] {
        assert_eq!(hosts.call(secs(1), 0, failed), None);
    }
    assert_eq!(hosts.call(secs(1), 0, true), Some(until(31)));
}

#[test]
fn a_failed_probe_doubles_the_time_up_to_five_minutes_and_health_halves_it() {
    let mut hosts = Hosts::new(3, OutlierPolicy::default().with_consecutive_failures(1));
    let mut now = 0;
    let mut times = Vec::new();
    for _ in 0..6 {
        let Some(Verdict::Eject { until }) = hosts.call(secs(now), 0, true) else {
            panic!("not ejected");
        };
        times.push(until.as_secs() - now);
        now = until.as_secs();
    }
    assert_eq!(times, [30, 60, 120, 240, 300, 300]);
    assert_eq!(hosts.call(secs(now), 0, false), Some(Verdict::Readmit));
    for _ in 0..4 {
        now += 10;
        assert_eq!(hosts.detector.handle_timeout(secs(now)), []);
    }
    assert_eq!(hosts.call(secs(now), 0, true), Some(until(now + 120)));
}

#[test]
fn what_began_before_the_ejection_says_nothing_about_now() {
    let mut hosts = Hosts::new(3, OutlierPolicy::default().with_consecutive_failures(1));
    assert_eq!(hosts.call(secs(10), 0, true), Some(until(40)));
    let health = hosts.health[0].clone();
    assert!(
        !health.record(secs(9), false),
        "a late success does not readmit"
    );
    assert!(
        !health.record(secs(9), true),
        "a late failure does not eject for longer"
    );
    // Sent during the ejection, for want of a better one.
    assert_eq!(hosts.call(secs(20), 0, true), None);
    assert_eq!(hosts.call(secs(20), 0, false), Some(Verdict::Readmit));
}

/// F8: never more than half, and never the only one.
#[test]
fn f8_no_more_than_half_are_ejected_and_never_the_only_one() {
    for (count, max) in [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5), (11, 5)] {
        let mut hosts = Hosts::new(count, OutlierPolicy::default());
        for second in 0..30 {
            for host in 0..count {
                for _ in 0..10 {
                    hosts.call(secs(second), host, true);
                }
            }
            hosts.detector.handle_timeout(secs(second));
        }
        assert_eq!(hosts.detector.ejected(), max, "of {count}");
    }
}

#[test]
fn a_few_calls_or_a_few_hosts_are_no_statistic() {
    for (count, calls) in [(4, 1000), (10, 99)] {
        let mut hosts = Hosts::new(count, OutlierPolicy::default());
        for call in 0..calls {
            for host in 0..count {
                assert_eq!(hosts.call(secs(1), host, host == 0 && call % 2 == 0), None);
            }
        }
        assert_eq!(hosts.detector.handle_timeout(secs(10)), []);
    }
}

#[test]
fn hosts_that_all_fail_alike_are_no_outliers() {
    let mut hosts = Hosts::new(10, OutlierPolicy::default());
    for call in 0..200 {
        for host in 0..10 {
            assert_eq!(hosts.call(secs(1), host, call % 2 == 0), None);
        }
    }
    assert_eq!(hosts.detector.handle_timeout(secs(10)), []);
}

#[test]
fn the_failure_percentage_ejects_whatever_the_others_do() {
    let policy = OutlierPolicy::default()
        .with_consecutive_failures(0)
        .with_success_rate(None)
        .with_failure_percentage(Some(FailurePercentage::default()));
    let mut hosts = Hosts::new(6, policy);
    for call in 0..100 {
        // 86 % and 85 % fail.
        hosts.call(secs(1), 0, call < 86);
        hosts.call(secs(1), 1, call < 85);
        for host in 2..6 {
            assert_eq!(hosts.call(secs(1), host, false), None);
        }
    }
    assert_eq!(hosts.detector.handle_timeout(secs(10)), [(0, until(40))]);
}

#[test]
fn who_leaves_is_forgotten() {
    let mut hosts = Hosts::new(4, OutlierPolicy::default().with_consecutive_failures(1));
    hosts.call(secs(1), 0, true);
    hosts.detector.retain(|host| *host != 0);
    assert_eq!(hosts.detector.ejected(), 0);
    assert_eq!(
        hosts.call(secs(50), 0, false),
        None,
        "the last calls to it still end"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: never over the cap, and an ejection always has an end within five minutes.
    #[test]
    fn the_cap_holds_and_ejections_end(
        count in 1_usize..12,
        share in 0.0..1.0_f64,
        calls in prop::collection::vec((0_u64..20, any::<prop::sample::Index>(), any::<bool>()), 1..300),
    ) {
        let policy = OutlierPolicy::default()
            .with_ejected_share_max(share)
            .with_consecutive_failures(2);
        let mut hosts = Hosts::new(count, policy);
        let max = ((count as f64 * share) as usize).max(1).min(count - 1);
        let mut now = secs(1);
        for (pause, host, failed) in calls {
            now += secs(pause);
            hosts.detector.handle_timeout(now);
            if let Some(Verdict::Eject { until }) = hosts.call(now, host.index(count), failed) {
                prop_assert!(until > now && until <= now + secs(300));
            }
            prop_assert!(hosts.detector.ejected() <= max);
        }
    }
}

/// Whoever asks to be told when to compare is not kept busy by it.
#[test]
fn an_interval_of_zero_is_a_short_one() {
    let policy = OutlierPolicy::default().with_interval(Duration::ZERO);
    let mut detector = OutlierDetector::<()>::new(policy, secs(1));
    for _ in 0..3 {
        let now = detector.poll_timeout();
        detector.handle_timeout(now);
        assert!(detector.poll_timeout() >= now + Duration::from_millis(1));
    }
}
