//! Ejection and balancing together, as a channel has them.

use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::balance::{Backend, Backends, Dice, Ended, Pick, policy};
use rpc_runtime::resilience::{Health, OutlierDetector, OutlierPolicy, Verdict};

use super::{ms, secs};

/// A channel to some backends that calls a thousand times a second.
struct Channel {
    backends: Backends,
    health: Vec<Arc<Health>>,
    detector: OutlierDetector<usize>,
    now: Duration,
    dice: Dice,
}

impl Channel {
    fn new(name: &str, count: usize) -> Self {
        let list = (0..count).map(|n| Backend::new(format!("s{n}"))).collect();
        let mut detector = OutlierDetector::new(OutlierPolicy::default(), secs(0));
        Self {
            backends: Backends::new(&*policy(name).unwrap(), list, 0),
            health: (0..count).map(|host| detector.add(host)).collect(),
            detector,
            now: secs(0),
            dice: Dice::new(11),
        }
    }

    /// Calls for so long; gives calls and failures of each backend.
    fn run(&mut self, time: Duration, fails: impl Fn(usize) -> bool) -> Vec<(u32, u32)> {
        let mut counts = vec![(0, 0); self.health.len()];
        let end = self.now + time;
        while self.now < end {
            self.now += ms(1);
            for (host, verdict) in self.detector.handle_timeout(self.now) {
                self.obey(host, verdict);
            }
            let random = self.dice.roll();
            let pick = Pick::new(self.now, random).with_key(random);
            let host = self.backends.pick(&pick).unwrap().index;
            let call = self.backends.list()[host].begin(self.now);
            let failed = fails(host);
            counts[host].0 += 1;
            counts[host].1 += u32::from(failed);
            let (began, health) = (call.began(), &self.health[host]);
            call.finish(
                self.now,
                if failed {
                    Ended::Failed
                } else {
                    Ended::Answered
                },
            );
            if health.record(began, failed)
                && let Some(verdict) = self.detector.judge(self.now, health, began, failed)
            {
                self.obey(host, verdict);
            }
        }
        counts
    }

    fn obey(&self, host: usize, verdict: Verdict) {
        match verdict {
            Verdict::Eject { until } => self.backends.list()[host].eject(until),
            Verdict::Readmit => self.backends.list()[host].readmit(),
            other => panic!("what is {other:?}?"),
        }
    }
}

/// F8: of three replicas one fails every call.
#[test]
fn f8_a_replica_that_fails_costs_five_calls_and_then_a_probe_now_and_then() {
    for name in ["round_robin", "random", "ring_hash", "least_request"] {
        let mut channel = Channel::new(name, 3);
        let is_bad = |host| host == 1;
        let first = channel.run(secs(29), is_bad);
        assert_eq!(first[1].1, 5, "{name}: failures until it is ejected");
        // Probes at 30 s, 90 s and 210 s or soon after.
        let later = channel.run(secs(240), is_bad);
        assert_eq!(later[1].0, 3, "{name}: {later:?}");
        let healed = channel.run(secs(600), |_| false);
        assert!(healed[1].0 > 30_000, "{name}: {healed:?}");
    }
}

/// F8: by the default policy, a failure costs so much latency that there are not even five.
#[test]
fn f8_the_default_policy_avoids_it_before_it_is_ejected() {
    let mut channel = Channel::new("p2c", 3);
    let first = channel.run(secs(1), |host| host == 1);
    let later = channel.run(secs(59), |host| host == 1);
    println!(
        "{} failures in the first second, then {}",
        first[1].1, later[1].1
    );
    assert!(first[1].1 <= 5, "{first:?}");
    assert!(later[1].1 <= 59, "a thousandth: {later:?}");
}

/// F8: all bad, still tries all, and recovers at once.
#[test]
fn f8_when_all_fail_all_are_still_tried() {
    let mut channel = Channel::new("p2c", 4);
    channel.run(secs(60), |_| true);
    assert_eq!(channel.detector.ejected(), 2);
    let healed = channel.run(secs(400), |_| false);
    assert!(
        healed.iter().all(|(calls, _)| *calls > 10_000),
        "{healed:?}"
    );
    assert_eq!(channel.detector.ejected(), 0);
}
