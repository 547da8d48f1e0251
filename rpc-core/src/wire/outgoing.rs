//! Bytes on their way out.

mod ahead;
mod flat;
mod frame;
mod items;
mod large;
mod parts;
mod path;
mod reading;
mod turn;

pub use flat::Flat;
pub(crate) use items::LENGTH_BYTES;
pub use items::{Batch, ItemError};
pub use parts::{Encoded, Parts};

use std::collections::VecDeque;
use std::io::IoSlice;

use self::ahead::Ahead;
use self::frame::Unfinished;
use self::large::Large;
use self::reading::Reading;
use self::turn::Open;
use super::body::put_metadata;
use super::header::{Flags, HEADER_BYTES, Header, Kind};
use super::{CHUNK_BYTES, Follows, LONG_CHUNK_BYTES};
use crate::Metadata;
use crate::hint::cold_path;

/// Frames that wait to be written: one flat buffer, encoded in place, and beside it the bodies that
/// are too large for one frame.
///
/// What waits is taken out in turns to be written, and what is left of a turn is given back, so that
/// memory is used again and nobody holds a lock during a system call. A turn is the whole of the
/// buffer and one piece of one large body: nothing waits for longer than that. A piece that was in a
/// turn keeps its place: it does not wait for ever behind small frames, and what is appended behind a
/// last piece does not come before it.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Bytes of the buffer already written: 0 <= written <= buffer.len()
    written: usize,
    /// Where the buffer starts in the stream of all bytes that were ever appended.
    base: u64,
    /// In the order of their next pieces. The first may be within a piece, and is written before the
    /// buffer then.
    large: VecDeque<Large>,
    /// Where in the stream the next piece of the first of them goes, between two frames; behind all
    /// that is there if it was in no turn yet, or there is none.
    due: Option<u64>,
    /// This is a turn.
    is_turn: bool,
    /// The call whose large body is in a turn.
    away: Option<Away>,
    /// More can be added to something that is in the buffer: not all of [`Open`] is empty.
    is_open: bool,
    /// How far pieces run ahead of their reader.
    ahead: Ahead,
    /// Whoever owns this stops reading while it [`is_backlogged`](Self::is_backlogged).
    stops_reading: bool,
    /// What this side has read of the pieces of the other.
    reading: Reading,
    /// Apart from what each turn touches.
    rare: Rare,
}

/// What most turns have none of.
#[derive(Debug, Default)]
struct Rare {
    /// In a turn: what is left of the body whose piece was written.
    rest: Option<Large>,
    open: Open,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    call: u32,
    is_message: bool,
    /// The piece in the turn is the last.
    is_last: bool,
    /// What follows the piece is not wanted any more.
    cut: bool,
}

/// A frame of items at the end of the buffer, to which more can be added.
#[derive(Clone, Copy, Debug)]
struct ItemsFrame {
    call: u32,
    start: usize,
    end: usize,
}

/// A row of items in pieces of which nothing is on its way, and so more can be added.
#[derive(Clone, Copy, Debug)]
struct ItemsRow {
    call: u32,
    /// Where its announcement is in the buffer.
    start: usize,
    bytes: usize,
    /// How many of them were added last.
    last: usize,
    /// How long it may become by what is added.
    bytes_max: usize,
}

impl Outgoing {
    /// Memory kept for the next batch.
    const KEPT_BYTES_MAX: usize = 256 * 1024;

    /// One whose owner stops reading while it [`is_backlogged`](Self::is_backlogged). It would not learn
    /// then that the peer has read more, so nothing is held back for that.
    pub(crate) fn that_stops_reading() -> Self {
        Self {
            stops_reading: true,
            ..Self::default()
        }
    }

    /// True when nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == self.buffer.len() && self.large.is_empty()
    }

    /// Bytes that wait, large bodies left out.
    #[inline]
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// True if large bodies wait.
    #[inline]
    pub(crate) fn has_large(&self) -> bool {
        !self.large.is_empty() || self.away.is_some()
    }

    /// Bytes that wait, without the headers of pieces to come.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        if self.large.is_empty() {
            return self.buffered();
        }
        self.buffered() + self.large_bytes()
    }

    fn large_bytes(&self) -> usize {
        self.large.iter().map(Large::len).sum()
    }

    /// Where the next byte that is appended lies in the stream.
    #[inline]
    pub(crate) const fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Up to where the stream was written, or at least taken out to be written. Large bodies are not
    /// part of it.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.base + self.written as u64
    }

    /// Rises whenever the writer gets on, also with large bodies.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.written() + self.ahead.taken()
    }

    /// The bytes to write next.
    #[inline]
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        match self.large.front() {
            Some(large) if large.is_within_piece() || self.due() <= self.written() => large.chunk(),
            Some(_) => &self.buffer[self.written..(self.due() - self.base) as usize],
            None => &self.buffer[self.written..],
        }
    }

    /// As [`chunk`](Self::chunk), for a writer that takes several slices at once: fills as many as
    /// there is something for, and gives how many.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(large) = self.large.front() else {
            return 0;
        };
        let in_front = self.chunk();
        if large.is_within_piece() || self.due() <= self.written() {
            return large.chunks(slices);
        }
        let Some((first, rest)) = slices.split_first_mut() else {
            return 0;
        };
        *first = IoSlice::new(in_front);
        1 + large.chunks(rest)
    }

    /// True if [`chunks`](Self::chunks) has more than [`chunk`](Self::chunk).
    #[inline]
    #[must_use]
    pub fn has_chunks(&self) -> bool {
        !self.large.is_empty()
    }

    /// Large bodies of which a piece is still to be written.
    #[must_use]
    pub fn large_bodies(&self) -> usize {
        self.large.len() + usize::from(self.away.is_some())
    }

    /// Notes that `count` bytes of [`chunk`](Self::chunk) or [`chunks`](Self::chunks) were written.
    #[inline]
    pub fn advance(&mut self, mut count: usize) {
        while count > 0 && !self.large.is_empty() {
            let in_front = self.due().saturating_sub(self.written()) as usize;
            let Some(large) = self.large.front_mut() else {
                break;
            };
            if large.is_within_piece() || in_front == 0 {
                if !large.is_counted() {
                    // Written without a turn.
                    self.ahead.take(large.count_piece(None));
                }
                count = large.advance(count);
                if large.is_piece_written() {
                    self.end_piece();
                }
            } else {
                let part = count.min(in_front);
                self.advance_buffer(part);
                count -= part;
            }
        }
        if count > 0 {
            self.advance_buffer(count);
        }
    }

    fn due(&self) -> u64 {
        self.due.unwrap_or_else(|| self.end())
    }

    fn end_piece(&mut self) {
        let rest = self.large.pop_front().and_then(Large::next_piece);
        if self.is_turn {
            self.rare.rest = rest;
        } else {
            self.large.extend(rest);
            self.due = None;
        }
    }

    #[inline]
    fn advance_buffer(&mut self, count: usize) {
        self.written += count.min(self.buffer.len() - self.written);
        if self.written == self.buffer.len() {
            self.reset();
        } else if self.written > Self::KEPT_BYTES_MAX && self.written > self.buffer.len() / 2 {
            // A writer that never catches up must not keep all it has ever written. Moving fewer
            // bytes than are dropped costs less than writing them did.
            self.buffer.drain(..self.written);
            self.base += self.written as u64;
            self.written = 0;
            self.forget_open();
        }
    }

    /// True if the large body of this call's request or response cannot have been written to its end:
    /// a part of it is here, or comes back with a turn.
    pub(crate) fn holds(&self, call: u32) -> bool {
        let away = self.away.filter(|away| away.call == call);
        away.is_some_and(|away| away.is_message && !away.is_last)
            || self
                .large
                .iter()
                .any(|large| large.call() == call && large.is_message())
    }

    /// True if what is appended now would come before the end of the large body of this call.
    pub(crate) fn is_sending(&self, call: u32) -> bool {
        let away = self.away.filter(|away| away.call == call);
        away.is_some_and(|away| !away.is_last && !away.cut)
            || self
                .large
                .iter()
                .any(|large| large.call() == call && !large.is_on_its_way())
    }

    /// Gives up the rest of the large bodies of a call. A piece that is being written goes on to its
    /// end: the peer could not read anything behind less. So does a last piece that was in a turn.
    pub(crate) fn cut(&mut self, call: u32) {
        if let Some(away) = self.away.as_mut().filter(|away| away.call == call) {
            away.cut = true;
        }
        // One may be at its last piece, with another behind it.
        if self.large.iter().any(|large| large.call() == call) {
            self.rare.open.row = None;
            let first = self.large.front();
            if first.is_some_and(|large| large.call() == call && !large.survives_cut()) {
                // The place of its piece is not that of another's.
                self.due = None;
            }
            let bodies = std::mem::take(&mut self.large).into_iter();
            let ahead = &mut self.ahead;
            let kept = bodies.filter_map(|large| match large.call() == call {
                true => large.cut(ahead),
                false => Some(large),
            });
            self.large = kept.collect();
        }
    }

    /// Forgets what waits, also what is left of a frame that was written in part: nothing may follow.
    /// Of a turn that is away only its own piece comes back.
    pub(crate) fn discard(&mut self) {
        self.written = self.buffer.len();
        self.reset();
        self.large.clear();
        self.due = None;
        if let Some(away) = &mut self.away {
            away.cut = true;
        }
    }

    /// Bytes outside of any frame: hello and ack.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends a frame whose body is written in place behind the metadata, if there is any; the
    /// length field is filled in afterwards. A body of more than [`CHUNK_BYTES`] follows in
    /// pieces, if `header` is that of a request or a response.
    ///
    /// If `body` fails or panics, or writes more than `message_bytes_max`, nothing is appended.
    /// Metadata has a limit of its own and does not count.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most of what the header says is known where it is called"
    )]
    pub(crate) fn frame<F: Into<Encoded>, E>(
        &mut self,
        header: Header,
        metadata: &Metadata,
        message_bytes_max: usize,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, E>,
    ) -> Result<Follows, FrameError<E>> {
        let mut frame = Unfinished::begin(&mut self.buffer, header);
        if !metadata.is_empty() {
            put_metadata(metadata, frame.buffer());
        }
        let message = frame.buffer().len();
        let encoded: Encoded = body(frame.buffer()).map_err(FrameError::Body)?.into();
        let length = frame.buffer().len() - message;
        let is_small = length <= CHUNK_BYTES.min(message_bytes_max);
        let Header { kind, call, .. } = header;
        if encoded.follows != Follows::Nothing || !encoded.parts.is_empty() || !is_small {
            cold_path();
            let finished = frame.finish_other(kind, call, message, message_bytes_max, encoded);
            return self.append_other(finished);
        }
        frame.finish().map_err(FrameError::TooLarge)?;
        self.ahead.note_small();
        Ok(Follows::Nothing)
    }

    /// Takes what follows a frame in pieces.
    #[inline(never)]
    fn append_other<E>(
        &mut self,
        finished: Result<(Follows, Option<Large>), usize>,
    ) -> Result<Follows, FrameError<E>> {
        let (follows, large) = finished.map_err(FrameError::TooLarge)?;
        match large {
            Some(large) => self.large.push_back(large),
            None if follows == Follows::Nothing => self.ahead.note_small(),
            None => {}
        }
        Ok(follows)
    }

    /// Appends a frame with a body that cannot fail.
    pub(crate) fn control(&mut self, header: Header, body: &[u8]) {
        let length = body.len() as u32;
        let header = Header { length, ..header };
        self.buffer.extend_from_slice(&header.to_bytes());
        self.buffer.extend_from_slice(body);
    }

    /// Lends the memory of the buffer to `other`, which is empty, if nothing waits in it.
    #[inline]
    pub(crate) fn lend(&mut self, other: &mut Self) {
        if self.buffer.is_empty() && other.buffer.capacity() == 0 {
            other.buffer = std::mem::take(&mut self.buffer);
        }
    }

    /// Appends what waits in `other`, of which nothing was taken out, and leaves it empty and without
    /// memory.
    #[inline]
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.buffer.is_empty() {
            std::mem::swap(&mut self.buffer, &mut other.buffer);
        } else {
            self.buffer.extend_from_slice(&other.buffer);
            self.rare.open.items = None;
            self.rare.open.row = None;
        }
        other.buffer = Vec::new();
        if other.ahead.take_small() {
            self.ahead.note_small();
        }
        if !other.large.is_empty() {
            self.append_large(other);
        }
    }

    #[cold]
    fn append_large(&mut self, other: &mut Self) {
        self.large.append(&mut other.large);
    }

    fn reset(&mut self) {
        self.base = self.end();
        self.buffer.clear();
        self.written = 0;
        self.forget_open();
        self.buffer.shrink_to(Self::KEPT_BYTES_MAX);
    }
}

/// Why a frame was not appended.
#[derive(Debug)]
pub(crate) enum FrameError<E> {
    /// The body could not be encoded.
    Body(E),
    /// The body has this many bytes, more than allowed.
    TooLarge(usize),
}

#[cfg(test)]
mod random;

#[cfg(test)]
mod tests;
