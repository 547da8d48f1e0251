//! How far the pieces of large bodies run ahead of their reader: `[frame.ahead]`.
//!
//! Why not leave that to the stream below? A socket on a fast path takes dozens of megabytes, and a
//! small frame waits behind all of them. What is ahead costs a small frame the time that it takes to
//! read it; what is missing costs throughput.

use std::time::{Duration, Instant};

use super::path::{Allowance, Path};
use super::{CHUNK_BYTES, LONG_CHUNK_BYTES};
use crate::hint::cold_path;

/// What this side knows of the pieces that it has sent.
///
/// Most connections have never sent any, and turns are moved about: so it is on the heap, and only
/// once there is something to know.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    known: Option<Box<Known>>,
    /// A small message was appended, ever.
    has_small: bool,
    /// The peer does not say what it reads.
    is_silent: bool,
}

#[derive(Debug)]
struct Known {
    path: Path,
    /// Bytes of pieces in all turns ever.
    taken: u64,
    /// Up to here of `taken`, small frames are about.
    lively_until: u64,
    /// The time as it was last told.
    now: Option<Instant>,
}

impl Ahead {
    fn known(&mut self) -> &mut Known {
        let has_small = self.has_small;
        self.known
            .get_or_insert_with(|| Box::new(Known::new(has_small)))
    }

    /// The time, to be told before pieces are taken.
    pub(super) fn note_time(&mut self, now: Instant) {
        self.known().now = Some(now);
    }

    /// A small message was appended. What opens a stream is none: more often than not, its items are
    /// what comes next.
    #[inline]
    pub(super) fn note_small(&mut self) {
        self.has_small = true;
        if let Some(known) = &mut self.known {
            cold_path();
            known.lively_until = known.taken + Known::LIVELY_FOR;
        }
    }

    /// True if a small message was appended since this was asked last, or ever.
    #[inline]
    pub(super) const fn take_small(&mut self) -> bool {
        std::mem::replace(&mut self.has_small, false)
    }

    /// The peer will not say what it has read: nothing waits for that.
    pub(super) const fn expect_nothing(&mut self) {
        self.is_silent = true;
    }

    /// True if another piece may go.
    pub(super) fn admits(&self) -> bool {
        let admits = |known: &Known| known.path.unread() < known.room();
        self.is_silent || self.known.as_deref().is_none_or(admits)
    }

    /// How long it should be.
    pub(super) fn piece_bytes(&mut self) -> usize {
        match self.is_silent {
            true => CHUNK_BYTES,
            false => self.known().piece_bytes(),
        }
    }

    /// Bytes of all pieces that ever were in a turn.
    pub(super) fn taken(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.taken)
    }

    /// A piece of so many bytes is in a turn.
    pub(super) fn take(&mut self, bytes: usize) {
        let is_silent = self.is_silent;
        let known = self.known();
        known.taken += bytes as u64;
        if !is_silent {
            known.path.send(bytes, known.room(), known.now);
        }
    }

    /// A piece that was in a turn will not be written.
    pub(super) fn forget(&mut self, bytes: usize) {
        if !self.is_silent {
            self.known().path.take_back(bytes);
        }
    }

    /// The peer has read so much, or else says what cannot be: false.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(known) = &mut self.known else {
            return false;
        };
        if bytes == 0 || bytes as u64 > known.path.unread() {
            return false;
        }
        known.path.read(bytes, known.allowance().time, now);
        true
    }
}

impl Known {
    /// What may wait in front of a reader on a short way: with small frames about, or without.
    const LIVELY: Allowance = Allowance {
        time: Duration::ZERO,
        bytes: 32 * 1024,
    };
    const QUIET: Allowance = Allowance {
        time: Duration::from_micros(500),
        bytes: 512 * 1024,
    };
    /// What may be on its way before the first report.
    const FIRST_BYTES: u64 = 256 * 1024;
    /// What may be on its way at the most.
    const AHEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;
    /// Small frames are about while so much is sent behind one.
    const LIVELY_FOR: u64 = 1024 * 1024;
    /// What a piece may have that nothing small waits for, however slow the way is.
    const QUIET_PIECE_BYTES: usize = 4 * CHUNK_BYTES;
    /// The smallest piece that a body is cut into.
    const PIECE_BYTES_MIN: usize = 16 * 1024;

    fn new(has_small: bool) -> Self {
        Self {
            path: Path::default(),
            taken: 0,
            // When it was is not known, and to think of it as of late costs the less.
            lively_until: if has_small { Self::LIVELY_FOR } else { 0 },
            now: None,
        }
    }

    const fn is_quiet(&self) -> bool {
        self.taken >= self.lively_until
    }

    const fn allowance(&self) -> Allowance {
        if self.is_quiet() {
            Self::QUIET
        } else {
            Self::LIVELY
        }
    }

    /// What may be on its way.
    fn room(&self) -> u64 {
        let room = self.path.room(self.allowance(), self.now);
        room.unwrap_or(Self::FIRST_BYTES).min(Self::AHEAD_BYTES_MAX)
    }

    fn piece_bytes(&self) -> usize {
        if self.path.unread() == 0 && self.path.wants_base(self.now) {
            // What it takes longer, the way does not.
            return Self::PIECE_BYTES_MIN;
        }
        // A piece that nothing small waits for may be long, which saves system calls; but what takes
        // the reader longer than it may wait anyway saves nothing that counts. How long it takes is known
        // once it has said something.
        let (parts, most) = match self.is_quiet() && self.path.is_known() {
            true => {
                let soon = self.path.carries(Self::QUIET.time) as usize;
                (2, soon.clamp(Self::QUIET_PIECE_BYTES, LONG_CHUNK_BYTES))
            }
            false => (4, CHUNK_BYTES),
        };
        (self.room() as usize / parts).clamp(Self::PIECE_BYTES_MIN, most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::epoch;
    use super::*;

    #[test]
    fn what_was_not_sent_is_not_read() {
        // [frame.ahead]
        let now = epoch();
        let mut ahead = Ahead::default();
        ahead.take(1000);
        assert!(!ahead.read(0, now) && !ahead.read(1001, now));
        assert!(ahead.read(999, now) && ahead.read(1, now) && !ahead.read(1, now));
    }

    #[test]
    fn a_connection_that_begins_with_large_bodies_is_quiet() {
        // [frame.ahead]
        let goes_ahead = |smalls: usize| {
            let (mut ahead, begin) = (Ahead::default(), epoch());
            (0..smalls).for_each(|_| ahead.note_small());
            ahead.note_time(begin);
            let first = ahead.piece_bytes();
            ahead.take(first);
            assert!(ahead.piece_bytes() <= CHUNK_BYTES, "nothing is known yet");
            assert!(ahead.read(first, begin + Duration::from_micros(40)));
            let mut sent = 0;
            while ahead.admits() {
                let bytes = ahead.piece_bytes();
                ahead.take(bytes);
                sent += bytes as u64;
            }
            sent
        };
        assert_eq!(goes_ahead(0), Known::QUIET.bytes);
        assert_eq!(goes_ahead(1), Known::LIVELY.bytes);
    }

    #[test]
    fn a_pause_is_no_part_of_the_way() {
        // [frame.ahead]: the end of the first body is too little for a report, and is in that of the next.
        let (mut ahead, begin) = (Ahead::default(), epoch());
        let micros = |count| begin + Duration::from_micros(count);
        ahead.note_time(begin);
        ahead.take(64 * 1024);
        assert!(ahead.read(64 * 1024, micros(40)));
        ahead.note_time(micros(50));
        ahead.take(4 * 1024);
        let pause = 20_000_000;
        ahead.note_time(micros(pause));
        ahead.take(64 * 1024);
        assert!(ahead.read(16 * 1024, micros(pause + 40)));
        let mut sent = 0;
        while ahead.admits() {
            let bytes = ahead.piece_bytes();
            ahead.take(bytes);
            sent += bytes as u64;
        }
        assert!(sent <= Known::QUIET.bytes, "{sent} bytes");
    }

    #[test]
    fn nothing_is_held_back_for_a_peer_that_does_not_say_what_it_reads() {
        // [frame.ahead]
        let mut ahead = Ahead::default();
        ahead.expect_nothing();
        for _ in 0..10_000 {
            assert!(ahead.admits());
            let bytes = ahead.piece_bytes();
            ahead.take(bytes);
        }
        assert!(!ahead.read(1, epoch()));
    }
}
