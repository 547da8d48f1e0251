//! Is a backend open for calls?
//!
//! How does one that was closed come back? When its time is over, one call is let through, the
//! probe, and its outcome decides: whoever closed the backend opens it, or closes it for longer. A
//! probe that is never heard of again is followed by another one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::time::Duration;

/// Whether a call may go to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It may.
    Open,
    /// It may, and it alone: the backend was closed, and this call finds out whether it is well.
    Probe,
    /// It should not.
    Closed,
}

/// Until when a backend is closed, for each reason: nanoseconds, 0 while it is open.
#[derive(Debug, Default)]
pub(super) struct Gate {
    ejected_until: AtomicU64,
    unreachable_until: AtomicU64,
}

impl Gate {
    /// After a probe, the next one waits for this long unless the backend is opened.
    const PROBE_INTERVAL: Duration = Duration::from_secs(1);

    #[inline]
    pub(super) fn admit(&self, now: Duration) -> Admission {
        let ejected = self.ejected_until.load(Relaxed);
        let unreachable = self.unreachable_until.load(Relaxed);
        if ejected | unreachable == 0 {
            return Admission::Open;
        }
        self.probe(nanos(now), ejected, unreachable)
    }

    /// Both reasons must be over. Of the calls that find that out together, one is the probe.
    #[cold]
    fn probe(&self, now: u64, ejected: u64, unreachable: u64) -> Admission {
        if now < ejected.max(unreachable) {
            return Admission::Closed;
        }
        let again = now.saturating_add(nanos(Self::PROBE_INTERVAL));
        let claim = |until: &AtomicU64, seen| {
            seen == 0 || until.compare_exchange(seen, again, AcqRel, Relaxed).is_ok()
        };
        if claim(&self.ejected_until, ejected) && claim(&self.unreachable_until, unreachable) {
            return Admission::Probe;
        }
        Admission::Closed
    }

    #[inline]
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.load(Relaxed) != 0
    }

    #[inline]
    pub(super) fn is_unreachable(&self) -> bool {
        self.unreachable_until.load(Relaxed) != 0
    }

    pub(super) fn eject(&self, until: Duration) {
        self.ejected_until.store(nanos(until).max(1), Release);
    }

    pub(super) fn readmit(&self) {
        self.ejected_until.store(0, Release);
    }

    pub(super) fn close(&self, until: Duration) {
        self.unreachable_until.store(nanos(until).max(1), Release);
    }

    /// True if it was closed for that reason.
    pub(super) fn open(&self) -> bool {
        self.unreachable_until.swap(0, AcqRel) != 0
    }

    /// If it is ejected, the next call is the probe.
    pub(super) fn hasten_probe(&self) {
        let soonest = |until| (until != 0).then_some(1);
        // An error means that it is not ejected.
        let _ = self.ejected_until.fetch_update(AcqRel, Relaxed, soonest);
    }
}

/// 584 years at most.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
