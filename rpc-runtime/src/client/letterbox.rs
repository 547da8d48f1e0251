//! Where short replies wait for their callers, who take them out without the lock.
//!
//! Why not in the slot of the call? Then a caller needs the lock of the connection twice for each call,
//! to send and to take the answer, and what it took has to be noted there before the slot is free.
//! A letterbox is lent to one call, and belongs to its caller from the reply on: the driver puts a
//! reply in, once and under the lock, and whoever lends letterboxes sees which were emptied.
//!
//! The caller who has emptied one soon makes its next call. That gets the same letterbox, which is in
//! the cache, with the waker that it left behind (`woken.rs`).

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};

use super::slot::{ShortReply, WORD_BYTES};
use crate::connection::AtomicState;

/// All letterboxes of a connection.
///
/// They are in rows, the first two of which have as many and each of the others twice as many as the
/// one before, so that none is moved when there are to be more.
#[derive(Debug, Default)]
pub(super) struct Letterboxes {
    rows: [OnceLock<Box<[Letterbox]>>; Self::ROWS],
}

/// Room for one short reply, in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Letterbox {
    /// One of the states below.
    state: AtomicState,
    words: [AtomicU64; ShortReply::WORDS],
}

/// Lent to nobody.
const FREE: u64 = 0;
/// Lent to a call that has no reply yet, or a long one.
const LENT: u64 = 1;
/// Emptied by its caller: free, but for whoever lends them to notice.
const EMPTIED: u64 = 2;
/// This, and the length of the reply that is in it.
const FILLED: u64 = 3;

/// The index of no letterbox, for calls beyond all limits: their replies stay in their slots.
const NONE: u32 = u32::MAX;

thread_local! {
    /// What this thread emptied last: whose letterboxes these are, and which it was.
    static LAST: Cell<(usize, u32)> = const { Cell::new((0, 0)) };
}

impl Letterboxes {
    const FIRST_ROW: usize = 16;
    /// For as many calls as a connection can have open.
    const ROWS: usize = 17;

    #[inline]
    fn get(&self, index: u32) -> Option<&Letterbox> {
        let index = index as usize;
        let (row, at) = if index < Self::FIRST_ROW {
            (0, index)
        } else {
            let doubled = index.ilog2();
            let row = doubled - Self::FIRST_ROW.ilog2() + 1;
            (row as usize, index - (1 << doubled))
        };
        self.rows.get(row)?.get()?.get(at)
    }

    /// Takes the reply out of the letterbox of a call, if there is one.
    #[inline]
    pub(super) fn take(&self, index: u32) -> Option<ShortReply> {
        let letterbox = self.get(index)?;
        // Acquire: the words were written before.
        let state = letterbox.state.load(Acquire);
        let length = state.checked_sub(FILLED)?;
        let words = letterbox.words.each_ref().map(|word| word.load(Relaxed));
        // Release: they were read before they are written again.
        letterbox.state.store(EMPTIED, Release);
        LAST.with(|last| last.set((self.address(), index)));
        Some(ShortReply::new(length as usize, words))
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// Who lends the letterboxes, under the lock of the connection.
#[derive(Debug, Default)]
pub(super) struct Lender {
    letterboxes: Arc<Letterboxes>,
    free: Vec<u32>,
    /// How many there are.
    count: usize,
}

impl Lender {
    pub(super) fn letterboxes(&self) -> Arc<Letterboxes> {
        self.letterboxes.clone()
    }

    /// A letterbox for a call: the one that this thread has just emptied, if it is of this connection.
    #[inline]
    pub(super) fn lend(&mut self) -> u32 {
        let (address, last) = LAST.get();
        if address == self.letterboxes.address()
            && let Some(letterbox) = self.letterboxes.get(last)
            && letterbox.is_emptied()
        {
            letterbox.state.store(LENT, Relaxed);
            return last;
        }
        self.lend_other()
    }

    /// A letterbox that nobody has emptied just now.
    #[inline(never)]
    fn lend_other(&mut self) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| self.collect());
        self.set(index, LENT);
        index
    }

    /// Puts in the reply to a call that this letterbox was lent to; false if it is too long.
    #[inline]
    pub(super) fn put(&self, index: u32, message: &[u8]) -> bool {
        if message.len() > ShortReply::BYTES_MAX {
            return false;
        }
        let Some(letterbox) = self.letterboxes.get(index) else {
            return false;
        };
        let (words, rest) = message.as_chunks();
        for (place, word) in letterbox.words.iter().zip(words) {
            place.store(u64::from_le_bytes(*word), Relaxed);
        }
        if let Some(place) = letterbox.words.get(words.len()) {
            place.store(last_word(message, rest), Relaxed);
        }
        let filled = FILLED + message.len() as u64;
        letterbox.state.store(filled, Release);
        true
    }

    /// Takes a letterbox back from a call that is over, whatever is in it.
    pub(super) fn take_back(&mut self, index: u32) {
        if index != NONE {
            self.set(index, FREE);
            self.free.push(index);
        }
    }

    fn set(&self, index: u32, state: u64) {
        if let Some(letterbox) = self.letterboxes.get(index) {
            letterbox.state.store(state, Relaxed);
        }
    }

    /// How many belong to a call.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        let all = (0..self.count as u32).filter_map(|index| self.letterboxes.get(index));
        let states = all.map(|letterbox| letterbox.state.load(Relaxed));
        states
            .filter(|state| ![FREE, EMPTIED].contains(state))
            .count()
    }

    /// Notices which were emptied, and doubles them all if these are few: so seldom is none free.
    #[cold]
    fn collect(&mut self) -> u32 {
        for index in 0..self.count as u32 {
            let letterbox = self.letterboxes.get(index);
            if letterbox.is_some_and(Letterbox::is_emptied) {
                self.take_back(index);
            }
        }
        if self.free.len() <= self.count / 4 {
            self.add_row();
        }
        self.free.pop().unwrap_or(NONE)
    }

    fn add_row(&mut self) {
        let more = self.count.max(Letterboxes::FIRST_ROW);
        let row = self.letterboxes.rows.iter().find(|row| row.get().is_none());
        if let Some(row) = row {
            row.get_or_init(|| (0..more).map(|_| Letterbox::new()).collect());
            let (from, to) = (self.count as u32, (self.count + more) as u32);
            self.free.extend((from..to).rev());
            self.count += more;
        }
    }
}

impl Letterbox {
    fn new() -> Self {
        Self {
            state: AtomicState::new(FREE),
            words: [const { AtomicU64::new(0) }; ShortReply::WORDS],
        }
    }

    #[inline]
    fn is_emptied(&self) -> bool {
        self.state.load(Acquire) == EMPTIED
    }
}

/// The bytes of a message behind its whole words.
#[inline]
fn last_word(message: &[u8], rest: &[u8]) -> u64 {
    let Some(last) = message.last_chunk() else {
        return if message.is_empty() {
            0
        } else {
            short_word(message)
        };
    };
    // Those in front of them are in a word already: at least one byte, and at most seven more.
    u64::from_le_bytes(*last) >> 8 >> (8 * (WORD_BYTES - 1 - rest.len()))
}

/// A message that is not as long as a word.
#[inline(never)]
fn short_word(message: &[u8]) -> u64 {
    let bytes = message.iter().rev();
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states are shuttle's in tests, and want a run of it around them.
    fn run(test: fn()) {
        shuttle::check_random(test, 1);
    }

    fn taken(lender: &Lender, index: u32) -> Option<Vec<u8>> {
        let reply = lender.letterboxes.take(index)?;
        Some(reply.to_vec())
    }

    #[test]
    fn replies_of_every_length_come_out_once_and_whole() {
        run(|| {
            let mut lender = Lender::default();
            let message: Vec<u8> = (1..=ShortReply::BYTES_MAX as u8 + 1).collect();
            for length in (0..=ShortReply::BYTES_MAX).rev() {
                let index = lender.lend();
                assert_eq!(taken(&lender, index), None);
                assert!(lender.put(index, &message[..length]));
                assert_eq!(taken(&lender, index).as_deref(), Some(&message[..length]));
                assert_eq!(taken(&lender, index), None);
            }
            assert!(!lender.put(0, &message), "too long");
        });
    }

    #[test]
    fn the_one_that_was_emptied_last_is_lent_next() {
        run(|| {
            let (mut lender, mut other) = (Lender::default(), Lender::default());
            let [first, second] = [lender.lend(), lender.lend()];
            for index in [first, second] {
                assert!(lender.put(index, b"reply"));
            }
            assert_ne!(lender.lend(), first, "nobody has emptied it");
            assert!(taken(&lender, first).is_some());
            other.lend();
            assert_eq!(lender.lend(), first);
            assert_ne!(lender.lend(), first, "it is lent");
            assert!(taken(&lender, second).is_some());
        });
    }

    #[test]
    fn no_two_calls_have_the_same_and_there_are_no_more_than_twice_as_many_as_calls() {
        run(|| {
            let mut lender = Lender::default();
            for calls in [10, 100, 1_000] {
                for _ in 0..20 {
                    let mut lent: Vec<u32> = (0..calls).map(|_| lender.lend()).collect();
                    for index in &lent {
                        assert!(lender.put(*index, &index.to_le_bytes()));
                    }
                    for index in &lent {
                        let reply = index.to_le_bytes();
                        assert_eq!(taken(&lender, *index).as_deref(), Some(&reply[..]));
                    }
                    lent.sort_unstable();
                    lent.dedup();
                    assert_eq!(lent.len(), calls);
                }
                assert!(
                    lender.count <= (2 * calls).next_power_of_two(),
                    "{}",
                    lender.count
                );
            }
        });
    }

    #[test]
    fn calls_beyond_all_limits_have_none() {
        run(|| {
            let mut lender = Lender::default();
            assert!(!lender.put(NONE, b"reply"));
            assert_eq!(taken(&lender, NONE), None);
            lender.take_back(NONE);
            assert_ne!(lender.lend(), NONE);
        });
    }
}
