//! How the calls to one backend end, counted without a lock.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Counts how the calls to one backend end.
#[derive(Debug)]
pub struct Health {
    successes: AtomicU32,
    failures: AtomicU32,
    /// Failures since the last success.
    in_a_row: AtomicU32,
    /// After so many the detector is asked; 0 for never.
    in_a_row_max: u32,
    /// Nanoseconds, and one; 0 while it is not ejected.
    ejected_at: AtomicU64,
}

/// Successes and failures of an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    successes: u32,
    failures: u32,
}

impl Health {
    pub(super) fn new(in_a_row_max: u32) -> Self {
        Self {
            successes: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            in_a_row: AtomicU32::new(0),
            in_a_row_max,
            ejected_at: AtomicU64::new(0),
        }
    }

    /// Counts a call that began then and has ended. True if the detector is to
    /// [judge](super::OutlierDetector::judge) the backend for it.
    ///
    /// A call that began before its backend was ejected says nothing about it now.
    #[must_use]
    #[inline]
    pub fn record(&self, began: Duration, failed: bool) -> bool {
        let ejected_at = self.ejected_at.load(Relaxed);
        if ejected_at != 0 {
            return stamp(began) >= ejected_at;
        }
        if failed {
            self.failures.fetch_add(1, Relaxed);
            let in_a_row = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
            return self.in_a_row_max != 0 && in_a_row >= self.in_a_row_max;
        }
        self.successes.fetch_add(1, Relaxed);
        // Read first: a line that is only read is not passed from core to core.
        if self.in_a_row.load(Relaxed) != 0 {
            self.in_a_row.store(0, Relaxed);
        }
        false
    }

    /// False if a success or another judge came in between.
    pub(super) fn begin_again(&self) -> bool {
        let in_a_row = self.in_a_row.swap(0, AcqRel);
        self.in_a_row_max != 0 && in_a_row >= self.in_a_row_max
    }

    pub(super) fn set_ejected_at(&self, at: Option<Duration>) {
        self.in_a_row.store(0, Relaxed);
        self.ejected_at.store(at.map_or(0, stamp), Relaxed);
    }

    /// What was counted since the last time.
    pub(super) fn take(&self) -> Count {
        Count {
            successes: self.successes.swap(0, AcqRel),
            failures: self.failures.swap(0, AcqRel),
        }
    }
}

fn stamp(time: Duration) -> u64 {
    u64::try_from(time.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

impl Count {
    pub(super) fn calls(&self) -> u64 {
        u64::from(self.successes) + u64::from(self.failures)
    }

    /// From 0.0 to 1.0; there must be calls.
    pub(super) fn success_rate(&self) -> f64 {
        f64::from(self.successes) / self.calls() as f64
    }
}
