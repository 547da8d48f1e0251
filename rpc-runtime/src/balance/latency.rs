//! What a backend costs: a moving average of its latency that believes bad news at once, and forgets
//! the lack of news.
//!
//! Peak EWMA, from Finagle (loadbalancer/PeakEwma.scala); what a failure counts is brpc's rule
//! (policy/p2c_ewma_load_balancer.cpp).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gate::nanos;

/// The average, and when it was last touched.
///
/// Two words, and threads may interleave between them: then a sample counts a little too much or
/// too little, which an estimate can bear.
#[derive(Debug, Default)]
pub(super) struct PeakEwma {
    /// The bits of an `f64`, in nanoseconds; 0.0 until the first sample. Negative if the last was no
    /// answer, but the lack of one.
    cost: AtomicU64,
    observed_at: AtomicU64,
}

impl PeakEwma {
    /// A sample counts for a factor e less after this time.
    const DECAY_NANOS: f64 = 10e9;
    /// No cost is below a microsecond: it is multiplied, and must not vanish.
    const COST_MIN: f64 = 1e3;
    /// A failure counts as no less, or a backend that fails fast would attract calls.
    const FAILURE_MIN: f64 = 500e6;
    /// Nor more, or it would take long to be forgiven.
    const FAILURE_MAX: f64 = 30e9;

    /// What the lack of an answer told is forgotten after this time. An answer that was slow tells
    /// that the next will be; none tells nothing about a server that was cut off and is back.
    const SILENCE_NANOS: u64 = 4_000_000_000;

    /// From now on nothing is known.
    pub(super) fn forget(&self) {
        self.cost.store(0, Relaxed);
    }

    /// The cost by now, in nanoseconds; 0.0 if nothing is known.
    ///
    /// It falls while nobody calls, so that a backend that was slow is tried again.
    #[inline]
    pub(super) fn cost(&self, now: Duration) -> f64 {
        let cost = self.last();
        let now = nanos(now);
        if cost == 0.0 || (cost < 0.0 && self.age(now) >= Self::SILENCE_NANOS) {
            return 0.0;
        }
        (cost.abs() * self.keep(now)).max(Self::COST_MIN)
    }

    #[inline]
    fn last(&self) -> f64 {
        f64::from_bits(self.cost.load(Relaxed))
    }

    /// A call was answered.
    #[inline]
    pub(super) fn observe(&self, now: Duration, sample: Duration) {
        let (now, sample) = (nanos(now), nanos(sample) as f64);
        let last = self.last();
        let next = if last < 0.0 {
            sample
        } else {
            let keep = self.keep(now);
            let old = last * keep;
            if sample > old {
                sample
            } else {
                old + sample * (1.0 - keep)
            }
        };
        self.set(now, next.max(1.0));
    }

    /// A call failed by the fault of the backend.
    pub(super) fn observe_failure(&self, now: Duration, latency: Duration) {
        self.set(nanos(now), self.penalty(latency));
    }

    /// A call was not answered in time.
    pub(super) fn observe_silence(&self, now: Duration, latency: Duration) {
        self.set(nanos(now), -self.penalty(latency));
    }

    fn penalty(&self, latency: Duration) -> f64 {
        let last = self.last().abs();
        (2.0 * last)
            .max(latency.as_nanos() as f64)
            .clamp(Self::FAILURE_MIN, Self::FAILURE_MAX)
            .max(last)
    }

    /// A call took at least this long: believed only if it is bad news.
    pub(super) fn observe_at_least(&self, now: Duration, latency: Duration) {
        let cost = self.cost(now);
        let latency = latency.as_nanos() as f64;
        if cost != 0.0 && latency > cost {
            self.set(nanos(now), -latency);
        }
    }

    #[inline]
    fn set(&self, now: u64, cost: f64) {
        self.cost.store(cost.to_bits(), Relaxed);
        self.observed_at.store(now, Relaxed);
    }

    #[inline]
    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.observed_at.load(Relaxed))
    }

    /// What is left of the cost since it was last touched, as a factor.
    #[inline]
    fn keep(&self, now: u64) -> f64 {
        let age = self.age(now) as f64 / Self::DECAY_NANOS;
        if age < 0.01 {
            // e^-x to six digits; a busy backend is never older.
            return 1.0 - age + age * age / 2.0;
        }
        (-age).exp()
    }
}
