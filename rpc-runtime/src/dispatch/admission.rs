//! How many calls a server runs at once, over all its connections.
//!
//! Where is the queue? There is none: a call that does not fit is refused at once as not processed,
//! and its caller can try elsewhere.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counts the calls that run, and those that were refused.
#[derive(Debug)]
pub(crate) struct Admission {
    calls_max: usize,
    running: AtomicUsize,
    refused: AtomicU64,
}

impl Admission {
    pub(crate) const fn new(calls_max: usize) -> Self {
        Self {
            calls_max,
            running: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes a place; false if all are taken.
    #[inline]
    pub(super) fn enter(&self) -> bool {
        if self.running.fetch_add(1, Relaxed) < self.calls_max {
            return true;
        }
        self.leave();
        self.refused.fetch_add(1, Relaxed);
        false
    }

    /// Calls were refused by their connection already.
    #[inline]
    pub(crate) fn note_refused(&self, calls: u64) {
        if calls > 0 {
            self.refused.fetch_add(calls, Relaxed);
        }
    }

    #[inline]
    pub(super) fn leave(&self) {
        self.running.fetch_sub(1, Relaxed);
    }

    pub(crate) const fn calls_max(&self) -> usize {
        self.calls_max
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}
