//! One look at the clock for the calls that are made together.
//!
//! Asking for the time costs as much as a twentieth of a call. A call that an interceptor sees needs it
//! when it begins, one to a fleet also when it is answered. The driver of a connection looks anyway, once for each read. So a
//! call was answered when the connection to its server last heard something; and the calls that are
//! made by those whom a read has woken began when that was read.
//!
//! How old can that be? Until the driver that looked has its turn again, which comes right after
//! those whom it has woken: the calls made meanwhile are not written before.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::clock;

/// The clock of a fleet, or of a channel with interceptors: time since it was made.
#[derive(Debug)]
pub(super) struct Glance {
    epoch: Instant,
    /// Nanoseconds: what a driver saw that is about to flush; 0 if there is none.
    seen: AtomicU64,
}

impl Glance {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: clock::now(),
            seen: AtomicU64::new(0),
        })
    }

    /// The moment that time is reckoned from.
    pub(super) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// What the clock shows.
    #[inline]
    pub(super) fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.epoch)
    }

    /// What a driver saw on the clock this turn, or else what it shows.
    #[inline]
    pub(super) fn this_turn(&self) -> Duration {
        match self.seen.load(Relaxed) {
            0 => self.now(),
            nanos => Duration::from_nanos(nanos),
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// When something was last heard on the connections to one place.
#[derive(Debug)]
pub(super) struct Hearing {
    glance: Arc<Glance>,
    heard_at: AtomicU64,
}

impl Hearing {
    pub(super) fn new(glance: Arc<Glance>) -> Arc<Self> {
        Arc::new(Self {
            glance,
            heard_at: AtomicU64::new(0),
        })
    }

    /// When something was last heard, since the epoch of the [`Glance`].
    #[inline]
    pub(super) fn heard_at(&self) -> Duration {
        Duration::from_nanos(self.heard_at.load(Relaxed))
    }

    /// The driver of a connection has read something.
    ///
    /// Not inlined, nor are the others: connections to one server have no hearing.
    #[inline(never)]
    fn note(&self, now: Instant) {
        self.heard_at.store(self.glance.nanos(now), Relaxed);
    }

    /// A driver has woken callers. It has to [end](Self::end_turn) this turn with what is given here.
    #[inline(never)]
    fn begin_turn(&self, now: Instant) -> u64 {
        let seen = self.glance.nanos(now);
        self.glance.seen.store(seen, Relaxed);
        seen
    }

    /// That driver flushes. What another one saw meanwhile stays.
    #[inline(never)]
    fn end_turn(&self, seen: u64) {
        if self.glance.seen.load(Relaxed) == seen {
            self.glance.seen.store(0, Relaxed);
        }
    }
}

/// What a connection tells the [`Hearing`] of its place, if there is one.
#[derive(Debug)]
pub(super) struct Reports {
    hearing: Option<Arc<Hearing>>,
    /// What was seen when the turn began that has not ended; 0 if there is none.
    turn: u64,
}

impl Reports {
    pub(super) const fn to(hearing: Option<Arc<Hearing>>) -> Self {
        Self { hearing, turn: 0 }
    }

    #[inline]
    pub(super) fn heard(&self, now: Instant) {
        if let Some(hearing) = &self.hearing {
            hearing.note(now);
        }
    }

    /// The driver has woken callers, and flushes after them.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        if let Some(hearing) = &self.hearing {
            self.turn = hearing.begin_turn(now);
        }
    }

    /// The driver flushes, or the connection is over.
    #[inline]
    pub(super) fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn != 0
            && let Some(hearing) = &self.hearing
        {
            hearing.end_turn(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_saw_counts_until_its_turn_is_over() {
        let glance = Glance::new();
        let (one, other) = (Hearing::new(glance.clone()), Hearing::new(glance.clone()));
        let at = |seconds| glance.epoch() + Duration::from_secs(seconds);
        let first = one.begin_turn(at(100));
        assert_eq!(glance.this_turn(), Duration::from_secs(100));
        let second = other.begin_turn(at(200));
        one.end_turn(first);
        assert_eq!(glance.this_turn(), Duration::from_secs(200), "not its own");
        other.end_turn(second);
        assert!(
            glance.this_turn() < Duration::from_secs(100),
            "looked again"
        );
    }

    #[test]
    fn each_place_remembers_when_it_was_heard() {
        let glance = Glance::new();
        let (one, other) = (Hearing::new(glance.clone()), Hearing::new(glance.clone()));
        one.note(glance.epoch() + Duration::from_secs(3));
        assert_eq!(one.heard_at(), Duration::from_secs(3));
        assert_eq!(other.heard_at(), Duration::ZERO);
    }
}
