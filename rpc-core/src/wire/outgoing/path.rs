//! The way to the reader: how long it takes, how much it carries, and so how much belongs on it.
//!
//! The model is that of BBR (Cardwell, Cheng, Gunn, Yeganeh, Jacobson: "BBR: congestion-based
//! congestion control", 2016), with the reports of the reader in place of acknowledgements: the
//! shortest time of late, times the highest rate of late, is what the way itself holds. As much again
//! waits in front of the reader, or as much as it reads within an allowance if that is more: so
//! throughput does not depend on when a report comes, and nothing small waits for much longer than
//! the way takes anyway.
//!
//! Why not leave that to the congestion control below? It looks after the network. What a reader has
//! not picked up lies in its socket, for which it grows to dozens of megabytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::reading::REPORT_BYTES;

/// What this side knows of the way, from when pieces were sent and when they were read.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Bytes sent, ever.
    sent: u64,
    /// Bytes read of them: read <= sent
    read: u64,
    /// Moments of sending that no report has answered, oldest first: read < end <= sent
    marks: VecDeque<Mark>,
    base: Option<Base>,
    rate: Rate,
}

/// What may wait in front of a reader, however short the way is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// How long it may take to read it.
    pub(super) time: Duration,
    /// And so many bytes always may.
    pub(super) bytes: u64,
}

/// A moment of sending.
#[derive(Debug)]
struct Mark {
    at: Instant,
    /// What was sent then, ever.
    end: u64,
    /// What was read then, ever.
    read: u64,
}

impl Mark {
    /// So little was on its way that it did not wait for the rest.
    const fn is_clear(&self) -> bool {
        self.end - self.read <= Path::CLEAR_BYTES
    }
}

/// The shortest time from the sending of a piece to the report of it.
#[derive(Clone, Copy, Debug)]
struct Base {
    time: Duration,
    /// When it was last measured.
    at: Instant,
}

impl Path {
    /// What does not count as a queue.
    const CLEAR_BYTES: u64 = 32 * 1024;
    /// What may be on its way while the shortest time is measured again.
    const MEASURING_BYTES: u64 = 16 * 1024;
    /// How long a shortest time holds: the way may have become a longer one.
    const BASE_MAX_AGE: Duration = Duration::from_secs(10);
    /// What of two round trips is not the way: somebody has to be woken to read. A way without any
    /// other length holds no more than the allowance.
    const WAKING: Duration = Duration::from_micros(50);
    /// Moments that are kept within what is on its way.
    const MARKS: u64 = 16;
    /// Moments that are kept when what may be on its way has just grown.
    const MARKS_MAX: usize = 64;

    /// Bytes on their way.
    pub(super) const fn unread(&self) -> u64 {
        self.sent - self.read
    }

    /// So many bytes are handed over, where `room` may be on their way.
    pub(super) fn send(&mut self, bytes: usize, room: u64, now: Option<Instant>) {
        if self.unread() < u64::from(REPORT_BYTES) {
            // So little is reported with what follows it: the pause before that is no part of the way.
            self.marks.clear();
        }
        self.sent += bytes as u64;
        let last = self.marks.back().map_or(self.read, |mark| mark.end);
        let is_due = self.marks.is_empty() || self.sent - last >= room / Self::MARKS;
        if let Some(at) = now
            && is_due
            && self.marks.len() < Self::MARKS_MAX
        {
            self.marks.push_back(Mark {
                at,
                end: self.sent,
                read: self.read,
            });
        }
    }

    /// Of what was sent last, so many bytes were not written after all.
    pub(super) fn take_back(&mut self, bytes: usize) {
        self.sent = self.read.max(self.sent - bytes as u64);
        while self.marks.back().is_some_and(|mark| mark.end > self.sent) {
            self.marks.pop_back();
        }
    }

    /// The reader says that it has read so many bytes, at most those [`unread`](Self::unread).
    pub(super) fn read(&mut self, bytes: usize, allowance: Duration, now: Instant) {
        self.read += bytes as u64;
        let mut newest = None;
        while self.marks.front().is_some_and(|mark| mark.end <= self.read) {
            newest = self.marks.pop_front();
        }
        if let Some(mark) = newest {
            let time = now.saturating_duration_since(mark.at);
            self.measure(&mark, time, allowance, now);
        }
    }

    fn measure(&mut self, mark: &Mark, time: Duration, allowance: Duration, now: Instant) {
        let time = time.max(Duration::from_micros(1));
        let known = self
            .base
            .filter(|base| !(base.is_old(now) && mark.is_clear()));
        let base = match known {
            Some(base) if base.time < time => base,
            _ => Base { time, at: now },
        };
        self.base = Some(base);
        let rate = (self.read - mark.read) as f64 / time.as_secs_f64();
        // Only where there was a queue the rate was that of the way, and not that of this side.
        let queued = time > base.time + base.time.max(allowance) / 2;
        self.rate.measure(rate, queued, mark.end, self.sent);
    }

    /// True if anything was measured.
    pub(super) const fn is_known(&self) -> bool {
        self.base.is_some()
    }

    /// What it carries in so much time.
    pub(super) fn carries(&self, time: Duration) -> u64 {
        (self.rate.highest() * time.as_secs_f64()) as u64
    }

    /// True if the shortest time is to be measured, for which a short piece with nothing in front of it
    /// is wanted.
    pub(super) fn wants_base(&self, now: Option<Instant>) -> bool {
        let is_old = |base: Base| now.is_some_and(|now| base.is_old(now));
        self.base.is_none_or(is_old)
    }

    /// How much may be on its way, so that what waits in front of the reader costs the allowance, or the
    /// shortest time once more; nothing if nothing was measured yet.
    pub(super) fn room(&self, allowance: Allowance, now: Option<Instant>) -> Option<u64> {
        let base = self.base?;
        if self.wants_base(now) && !self.marks.iter().any(Mark::is_clear) {
            return Some(Self::MEASURING_BYTES);
        }
        let time = base.time + base.time.max(allowance.time);
        let time = time.saturating_sub(Self::WAKING);
        let room = self.rate.highest() * time.as_secs_f64();
        Some((room as u64).max(allowance.bytes))
    }
}

impl Base {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > Path::BASE_MAX_AGE
    }
}

/// The highest rate of late, in bytes a second.
#[derive(Debug)]
struct Rate {
    /// Since the epoch began, and in the one before.
    current: f64,
    previous: f64,
    /// Round trips in which there was a queue, since the epoch began.
    rounds: u32,
    /// What was sent when the current one of them began.
    round_end: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            current: 0.0,
            previous: Self::ASSUMED,
            rounds: Self::ROUNDS - 1,
            round_end: 0,
        }
    }
}

impl Rate {
    /// What a way is taken to carry until there is a queue on it: as much as a fast network does.
    /// Over a distance, a first large body is not held up then; and if the network is slower, its own
    /// congestion control sees to it.
    const ASSUMED: f64 = 1e9;
    /// The round trips of an epoch. A rate counts in its own and in the next, so that a reader that
    /// pauses is not taken for a slow one.
    const ROUNDS: u32 = 8;

    fn highest(&self) -> f64 {
        self.current.max(self.previous)
    }

    /// A rate, of what was sent up to `end`.
    fn measure(&mut self, rate: f64, queued: bool, end: u64, sent: u64) {
        self.current = self.current.max(rate);
        if !queued || end < self.round_end {
            return;
        }
        self.round_end = sent;
        self.rounds += 1;
        if self.rounds == Self::ROUNDS {
            self.rounds = 0;
            self.previous = std::mem::replace(&mut self.current, rate);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod simulated;
