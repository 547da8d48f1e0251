//! What happened to the calls of a method, countable while the server runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters of one method, updated without locks.
// In this order: what each call touches is in front, and next to what is there of its method.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Counters {
    /// Smoothed time of the first poll of a handler, in nanoseconds.
    first_poll: AtomicU64,
    started: AtomicU64,
    nanos: AtomicU64,
    errors: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// Eight buckets an octave, so that a quantile is at most an eighth too high.
const STEPS: u64 = 8;
/// From 0 to 2^43 ns, more than two hours.
const BUCKETS: usize = 41 * STEPS as usize;

impl Default for Counters {
    fn default() -> Self {
        Self {
            first_poll: AtomicU64::new(0),
            started: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Counters {
    /// A handler whose first poll takes longer than this does not run on its connection's task.
    const FIRST_POLL_NANOS_MAX: u64 = 100_000;

    #[inline]
    pub(super) fn start(&self, calls: u64) {
        self.started.fetch_add(calls, Relaxed);
    }

    /// Counts calls that took so many nanoseconds each.
    #[inline]
    pub(super) fn finish(&self, calls: u64, errors: u64, nanos: u64) {
        self.nanos.fetch_add(nanos.saturating_mul(calls), Relaxed);
        self.buckets[bucket(nanos)].fetch_add(calls, Relaxed);
        if errors > 0 {
            self.errors.fetch_add(errors, Relaxed);
        }
    }

    /// Notes how many nanoseconds a first poll kept its connection waiting.
    #[inline]
    pub(super) fn observe_first_poll(&self, nanos: u64) {
        let smoothed = self.first_poll.load(Relaxed);
        // Lost updates between threads do no harm: it is an estimate.
        let next = smoothed - smoothed / 8 + nanos / 8;
        if next != smoothed {
            self.first_poll.store(next, Relaxed);
        }
    }

    #[inline]
    pub(super) fn first_poll_is_slow(&self) -> bool {
        self.first_poll.load(Relaxed) > Self::FIRST_POLL_NANOS_MAX
    }

    pub(super) fn snapshot(&self, path: String) -> MethodStats {
        // Finished before started: a call that ends in between must not count as minus one.
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Relaxed)).collect();
        let finished = counts.iter().sum();
        let calls = self.started.load(Relaxed);
        MethodStats {
            path,
            calls,
            errors: self.errors.load(Relaxed),
            in_flight: calls.saturating_sub(finished),
            latency: Latency {
                total: Duration::from_nanos(self.nanos.load(Relaxed)),
                counts,
            },
        }
    }
}

/// A time as it is counted: up to 584 years.
#[inline]
pub(super) const fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[inline]
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let octave = u64::from(nanos.ilog2());
    let step = (nanos >> (octave - 3)) & (STEPS - 1);
    let index = (octave - 2) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The longest time that falls into a bucket.
fn upper_bound(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return Duration::from_nanos(bucket);
    }
    let (octave, step) = (bucket / STEPS + 2, bucket % STEPS);
    Duration::from_nanos(((STEPS + step + 1) << (octave - 3)) - 1)
}

/// What happened to the calls of one method so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MethodStats {
    /// `Service.method`.
    pub path: String,
    /// Calls begun.
    pub calls: u64,
    /// Calls that ended with an error, cancelled ones included.
    pub errors: u64,
    /// Calls begun and not ended.
    pub in_flight: u64,
    /// How long the ended calls took, from request to answer. Where many come together that are over
    /// within some microseconds, one in 16 is timed.
    pub latency: Latency,
}

/// A distribution of times, with a relative error of at most an eighth.
#[derive(Clone, Debug)]
pub struct Latency {
    total: Duration,
    counts: Vec<u64>,
}

impl Latency {
    /// How many times were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all times.
    #[must_use]
    pub const fn total(&self) -> Duration {
        self.total
    }

    /// The mean; zero without records.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let nanos = self.total.as_nanos() / u128::from(self.count().max(1));
        Duration::from_nanos(nanos as u64)
    }

    /// The time that this share of the records, 0.0 to 1.0, does not exceed; zero without records.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank.max(1)
        });
        found.map_or(Duration::ZERO, upper_bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_its_bound_says() {
        let samples =
            (0..44).flat_map(|octave| [1_u64 << octave, (1 << octave) + (1 << octave) / 3]);
        for nanos in samples.chain(0..2000) {
            let bound = upper_bound(bucket(nanos)).as_nanos() as u64;
            if nanos < 1 << 43 {
                assert!(
                    bound >= nanos && bound - nanos <= nanos / 8,
                    "{nanos} {bound}"
                );
            }
        }
    }

    #[test]
    fn quantiles_follow_the_records() {
        let counters = Counters::default();
        for micros in 1..=1000 {
            counters.start(1);
            let errors = u64::from(micros % 100 == 0);
            counters.finish(1, errors, nanos(Duration::from_micros(micros)));
        }
        let stats = counters.snapshot("S.m".into());
        assert_eq!((stats.calls, stats.errors, stats.in_flight), (1000, 10, 0));
        for (share, exact) in [(0.5, 500), (0.99, 990), (1.0, 1000)] {
            let micros = stats.latency.quantile(share).as_micros() as u64;
            assert!(
                (exact..=exact + exact / 8).contains(&micros),
                "{share} {micros}"
            );
        }
        assert_eq!(stats.latency.mean(), Duration::from_nanos(500_500));
    }
}
