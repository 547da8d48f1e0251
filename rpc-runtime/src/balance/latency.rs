//! What a backend costs: a moving average of its latency that believes bad news at once.
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
    /// The bits of an `f64`, in nanoseconds; 0.0 until the first sample.
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

    /// From now on nothing is known.
    pub(super) fn forget(&self) {
        self.cost.store(0, Relaxed);
    }

    /// The cost by now, in nanoseconds; 0.0 if nothing is known.
    ///
    /// It falls while nobody calls, so that a backend that was slow is tried again.
    #[inline]
    pub(super) fn cost(&self, now: Duration) -> f64 {
        let cost = f64::from_bits(self.cost.load(Relaxed));
        if cost == 0.0 {
            return 0.0;
        }
        (cost * self.keep(nanos(now))).max(Self::COST_MIN)
    }

    #[inline]
    pub(super) fn observe(&self, now: Duration, sample: Duration) {
        self.take(nanos(now), nanos(sample) as f64);
    }

    /// A call failed by the fault of the backend.
    pub(super) fn observe_failure(&self, now: Duration, latency: Duration) {
        let doubled = 2.0 * f64::from_bits(self.cost.load(Relaxed));
        let sample = doubled
            .max(latency.as_nanos() as f64)
            .clamp(Self::FAILURE_MIN, Self::FAILURE_MAX);
        self.take(nanos(now), sample);
    }

    /// A call took at least this long: believed only if it is bad news.
    pub(super) fn observe_at_least(&self, now: Duration, latency: Duration) {
        let cost = self.cost(now);
        if cost != 0.0 && latency.as_nanos() as f64 > cost {
            self.observe(now, latency);
        }
    }

    #[inline]
    fn take(&self, now: u64, sample: f64) {
        let keep = self.keep(now);
        let old = f64::from_bits(self.cost.load(Relaxed)) * keep;
        let next = if sample > old {
            sample
        } else {
            old + sample * (1.0 - keep)
        };
        self.cost.store(next.max(1.0).to_bits(), Relaxed);
        self.observed_at.store(now, Relaxed);
    }

    /// What is left of the cost since it was last touched, as a factor.
    #[inline]
    fn keep(&self, now: u64) -> f64 {
        let age = now.saturating_sub(self.observed_at.load(Relaxed));
        let age = age as f64 / Self::DECAY_NANOS;
        if age < 0.01 {
            // e^-x to six digits; a busy backend is never older.
            return 1.0 - age + age * age / 2.0;
        }
        (-age).exp()
    }
}
