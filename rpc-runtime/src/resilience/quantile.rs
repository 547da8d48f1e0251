//! Which latency a share of the calls does not exceed, lately.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// A histogram that is read every three seconds, and then forgets half of what it holds.
#[derive(Debug)]
pub(super) struct Quantile {
    /// From 0.0 to 1.0.
    share: f64,
    counts: [AtomicU32; BUCKETS],
    /// When it was last read, in nanoseconds.
    read_at: AtomicU64,
    /// What was read, in nanoseconds; 0 before that, or if it says nothing.
    value: AtomicU64,
}

/// Eight buckets an octave: a quantile is at most an eighth too high.
const STEPS: u64 = 8;
/// The unit is 2^17 ns, about an eighth of a millisecond; the last bucket begins at a minute.
const UNIT_BITS: u32 = 17;
const BUCKETS: usize = 17 * STEPS as usize;

impl Quantile {
    const INTERVAL: Duration = Duration::from_secs(3);
    /// Fewer calls than this say nothing about a rare one.
    const SAMPLES_MIN: u64 = 20;

    pub(super) fn new(share: f64, now: Duration) -> Self {
        Self {
            share: share.clamp(0.0, 1.0),
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            read_at: AtomicU64::new(now.as_nanos() as u64),
            value: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, latency: Duration) {
        self.counts[bucket(latency)].fetch_add(1, Relaxed);
    }

    /// `None` before the first reading, with too few calls, and if the quantile is a minute or more.
    pub(super) fn value(&self, now: Duration) -> Option<Duration> {
        self.refresh(now.as_nanos() as u64);
        let nanos = self.value.load(Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// Of the calls that find the value old, one reads it anew.
    fn refresh(&self, now: u64) {
        let read_at = self.read_at.load(Relaxed);
        if now.saturating_sub(read_at) < Self::INTERVAL.as_nanos() as u64
            || self
                .read_at
                .compare_exchange(read_at, now, Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        let counts = || {
            self.counts
                .iter()
                .map(|count| u64::from(count.load(Relaxed)))
        };
        let total: u64 = counts().sum();
        let rank = (total as f64 * self.share).ceil() as u64;
        let mut seen = 0;
        let found = counts().position(|count| {
            seen += count;
            seen >= rank.max(1)
        });
        let value = match found {
            Some(bucket) if total >= Self::SAMPLES_MIN && bucket < BUCKETS - 1 => end_of(bucket),
            _ => 0,
        };
        self.value.store(value, Relaxed);
        for count in &self.counts {
            // The larger half goes, so that a lone sample does too.
            count.fetch_sub(count.load(Relaxed).div_ceil(2), Relaxed);
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let units = (latency.as_nanos() >> UNIT_BITS) as u64;
    if units < STEPS {
        return units as usize;
    }
    let octave = units.ilog2();
    let index = u64::from(octave - 2) * STEPS + (units >> (octave - 3)) % STEPS;
    (index as usize).min(BUCKETS - 1)
}

/// The first time, in nanoseconds, that is too long for a bucket.
fn end_of(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    let (octave, step) = (next / STEPS, next % STEPS);
    let units = match octave {
        0 => step,
        _ => (STEPS + step) << (octave - 1),
    };
    units << UNIT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_an_eighth_above_its_times_at_most() {
        let unit = 1 << UNIT_BITS;
        for nanos in (0..60_000_000_000_u64).step_by(7_777_777) {
            let end = end_of(bucket(Duration::from_nanos(nanos)));
            assert!(
                end > nanos && end <= nanos + nanos / 8 + unit,
                "{nanos} {end}"
            );
        }
    }

    #[test]
    fn the_value_follows_the_calls_and_forgets_them() {
        let (start, step) = (Duration::from_secs(100), Duration::from_secs(3));
        let quantile = Quantile::new(0.95, start);
        (1..=1000).for_each(|ms| quantile.record(Duration::from_millis(ms)));
        assert_eq!(quantile.value(start), None, "not read yet");
        let value = quantile.value(start + step).unwrap().as_millis();
        assert!((950..1070).contains(&value), "{value}");
        for round in 2..12 {
            (0..100).for_each(|_| quantile.record(Duration::from_millis(10)));
            quantile.value(start + step * round);
        }
        let value = quantile.value(start + step * 12).unwrap().as_millis();
        assert!((10..12).contains(&value), "{value}");
        let value = quantile.value(start + step * 30);
        assert_eq!(
            value,
            Some(Duration::from_millis(10)).and(value),
            "no new reading is no change"
        );
        for round in 31..60 {
            quantile.value(start + step * round);
        }
        assert_eq!(quantile.value(start + step * 60), None, "nobody calls");
    }

    #[test]
    fn a_quantile_of_minutes_is_none() {
        let quantile = Quantile::new(0.9, Duration::ZERO);
        (0..100).for_each(|_| quantile.record(Duration::from_secs(3600)));
        assert_eq!(quantile.value(Duration::from_secs(3)), None);
    }
}
