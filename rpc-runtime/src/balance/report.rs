//! What a server says about its own load, and the weight that follows.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gate::nanos;

/// What a server says about its own load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Calls it ended a second.
    pub calls_per_second: f64,
    /// How busy it is: 1.0 is all it can do.
    pub utilization: f64,
    /// Calls that failed by its fault a second.
    pub errors_per_second: f64,
}

impl LoadReport {
    /// A server that ends so many calls a second and is that busy.
    #[must_use]
    pub const fn new(calls_per_second: f64, utilization: f64) -> Self {
        Self {
            calls_per_second,
            utilization,
            errors_per_second: 0.0,
        }
    }

    /// Sets how many of the calls failed by its fault, a second.
    #[must_use]
    pub const fn with_errors_per_second(mut self, errors: f64) -> Self {
        self.errors_per_second = errors;
        self
    }

    /// Calls for each unit of work, to which failures are added; `None` if the report makes no sense.
    fn weight(&self) -> Option<f64> {
        let (calls, errors) = (self.calls_per_second, self.errors_per_second);
        let work = self.utilization + errors / calls;
        // False for what is not a number, too.
        let makes_sense = calls > 0.0 && self.utilization >= 0.0 && errors >= 0.0 && work > 0.0;
        let weight = calls / work;
        (makes_sense && weight.is_finite() && weight > 0.0).then_some(weight)
    }
}

/// The weight from the last report, with gRPC A58's times.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// The bits of an `f64`.
    weight: AtomicU64,
    /// When the last report came, in nanoseconds; 0 before the first.
    last: AtomicU64,
    /// Since when reports have come without a gap.
    since: AtomicU64,
}

impl Reported {
    /// The first reports are not believed: a server that has just begun is idle.
    const BLACKOUT: Duration = Duration::from_secs(10);
    /// Nor is a report that is older.
    const EXPIRATION: Duration = Duration::from_secs(180);

    pub(super) fn note(&self, now: Duration, report: LoadReport) {
        let Some(weight) = report.weight() else {
            return;
        };
        let now = nanos(now).max(1);
        if self.is_expired(now) {
            self.since.store(now, Relaxed);
        }
        self.weight.store(weight.to_bits(), Relaxed);
        self.last.store(now, Relaxed);
    }

    pub(super) fn weight(&self, now: Duration) -> f64 {
        let now = nanos(now);
        let age = now.saturating_sub(self.since.load(Relaxed));
        if self.is_expired(now) || age < nanos(Self::BLACKOUT) {
            return 0.0;
        }
        f64::from_bits(self.weight.load(Relaxed))
    }

    fn is_expired(&self, now: u64) -> bool {
        let last = self.last.load(Relaxed);
        last == 0 || now.saturating_sub(last) >= nanos(Self::EXPIRATION)
    }
}
