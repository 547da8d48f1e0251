//! Turns: what is taken out to be written at once, and given back.

use std::collections::VecDeque;
use std::time::Instant;

use super::reading::Report;
use super::{Away, ItemsFrame, ItemsRow, Large, Outgoing};
use crate::hint::cold_path;

/// What is in the buffer and more can be added to.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// The frame of items that ends the buffer, if one does.
    pub(super) items: Option<ItemsFrame>,
    /// The row of items in pieces that was announced last, if its announcement is in the buffer.
    pub(super) row: Option<ItemsRow>,
    /// The report that ends the buffer, if one does.
    pub(super) report: Option<Report>,
}

impl Outgoing {
    /// Bytes that wait, without large bodies, before it is a backlog.
    const BACKLOG_MAX: usize = 256 * 1024;
    /// The same with large bodies, but for the longest.
    const LARGE_BACKLOG_MAX: usize = 2 * 1024 * 1024;

    /// True if something waits that can be written now: large bodies wait for their reader.
    #[inline]
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.buffered() > 0
            || self
                .large
                .front()
                .is_some_and(|large| large.is_counted() || self.admits_piece())
    }

    /// Bytes that wait, without the longest of the large bodies: others need not wait until all of one
    /// is written.
    #[inline]
    #[must_use]
    pub fn backlog(&self) -> usize {
        if self.large.is_empty() {
            return self.buffered();
        }
        self.backlog_with_large()
    }

    #[cold]
    fn backlog_with_large(&self) -> usize {
        let longest = self.large.iter().map(Large::len).max();
        self.len() - longest.unwrap_or(0)
    }

    /// True if so much waits that whoever appends because of what it reads had better not read on.
    /// What is large waits for its reader anyway, and may be more.
    #[inline]
    #[must_use]
    pub fn is_backlogged(&self) -> bool {
        self.buffered() > Self::BACKLOG_MAX
            || self.has_chunks() && self.backlog() > Self::LARGE_BACKLOG_MAX
    }

    /// How many bytes more may be appended before it [`is_backlogged`](Self::is_backlogged); nothing if it
    /// is.
    #[inline]
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        (!self.is_backlogged()).then(|| Self::BACKLOG_MAX - self.buffered())
    }

    /// True if the next piece may go: the reader is not far behind, or too much waits to care.
    fn admits_piece(&self) -> bool {
        self.ahead.admits() || self.stops_reading && self.is_backlogged()
    }

    /// The time: to be told before a turn is taken of which large bodies may be part.
    pub fn note_time(&mut self, now: Instant) {
        self.ahead.note_time(now);
    }

    /// Takes a turn out to be written; what is appended meanwhile follows it. What is left of it has
    /// to come back, with [`prepend`](Self::prepend), before the next.
    #[must_use]
    pub fn take(&mut self) -> Self {
        self.report_reading();
        let due = self.due();
        let large = self.take_large();
        let turn = Self {
            base: self.base,
            buffer: std::mem::take(&mut self.buffer),
            written: std::mem::take(&mut self.written),
            due: Some(due),
            large,
            is_turn: true,
            ..Self::default()
        };
        self.due = None;
        self.base = turn.end();
        self.forget_open();
        turn
    }

    #[inline]
    fn take_large(&mut self) -> VecDeque<Large> {
        let is_new = |large: &Large| !large.is_counted() && !large.is_within_piece();
        if self.large.front().is_some_and(is_new) && !self.admits_piece() {
            return VecDeque::new();
        }
        let Some(mut first) = self.large.pop_front() else {
            return VecDeque::new();
        };
        if is_new(&first) {
            let bytes = self.ahead.piece_bytes();
            self.ahead.take(first.count_piece(Some(bytes)));
        }
        first.commit();
        self.away = Some(Away {
            call: first.call(),
            is_message: first.is_message(),
            is_last: first.is_last_piece(),
            cut: false,
        });
        VecDeque::from([first])
    }

    /// Gives back a turn: what is left of it goes first.
    pub fn prepend(&mut self, mut turn: Self) {
        if !turn.large.is_empty() || turn.rare.rest.is_some() || self.away.is_some() {
            self.give_back_large(&mut turn);
        }
        if turn.written == turn.buffer.len() {
            turn.buffer.clear();
            return self.keep_memory(turn.buffer);
        }
        turn.buffer.extend_from_slice(&self.buffer[self.written..]);
        self.buffer = turn.buffer;
        self.written = turn.written;
        self.base = turn.base;
        self.forget_open();
    }

    /// Of two empty or one filled buffer, keeps the one with the bytes or the memory.
    #[inline]
    pub(super) fn keep_memory(&mut self, empty: Vec<u8>) {
        if self.buffer.capacity() == 0 {
            self.buffer = empty;
            return;
        }
        cold_path();
        self.keep_larger(empty);
    }

    #[inline(never)]
    fn keep_larger(&mut self, empty: Vec<u8>) {
        if self.buffer.is_empty() && empty.capacity() > self.buffer.capacity() {
            self.buffer = empty;
        }
    }

    /// Nothing can be added any more to what ends the buffer.
    #[inline]
    pub(super) fn forget_open(&mut self) {
        if self.is_open {
            cold_path();
            self.is_open = false;
            self.rare.open = Open::default();
        }
    }

    /// To note that more can be added to something.
    pub(super) const fn open(&mut self) -> &mut Open {
        self.is_open = true;
        &mut self.rare.open
    }

    fn give_back_large(&mut self, turn: &mut Self) {
        let cut = self.away.take().is_some_and(|away| away.cut);
        let ahead = &mut self.ahead;
        let mut keep = |large: Large| if cut { large.cut(ahead) } else { Some(large) };
        if let Some(large) = turn.large.pop_front().and_then(&mut keep) {
            self.large.push_front(large);
            self.due = turn.due;
        }
        self.large.extend(turn.rare.rest.take().and_then(&mut keep));
    }
}
