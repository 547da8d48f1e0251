//! A body on its way out beside the buffer: too large for one frame, or not worth a copy.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::ahead::Ahead;
use crate::wire::CHUNK_BYTES;
use crate::wire::header::{HEADER_BYTES, Header, Kind};

/// What is left of one body; its next piece is ready to be written.
#[derive(Debug)]
pub(super) struct Large {
    call: u32,
    /// It is the body of a request or response, not a row of items behind one.
    is_message: bool,
    /// Its last piece was in a turn: what was appended since may rely on it.
    committed: bool,
    /// The piece was in a turn, and counts as on its way.
    counted: bool,
    /// Of the piece: written <= `HEADER_BYTES`
    header: [u8; HEADER_BYTES],
    header_written: usize,
    /// From `first` on what is to be written, none of it empty.
    segments: Vec<Bytes>,
    first: usize,
    /// Bytes of the segments that belong to the piece.
    piece: usize,
    /// Bytes of the segments: piece <= left
    left: usize,
}

impl Large {
    /// The body of a request or response, which was sent without it; not empty.
    pub(super) fn message(call: u32, segments: Vec<Bytes>) -> Self {
        Self::new(call, true, segments)
    }

    /// A row of items behind a frame that has announced it.
    pub(super) fn items(call: u32, segments: Vec<Bytes>) -> Self {
        Self::new(call, false, segments)
    }

    fn new(call: u32, is_message: bool, segments: Vec<Bytes>) -> Self {
        let left = segments.iter().map(Bytes::len).sum();
        let mut large = Self {
            call,
            is_message,
            committed: false,
            counted: false,
            header: [0; HEADER_BYTES],
            header_written: 0,
            segments,
            first: 0,
            piece: 0,
            left,
        };
        large.begin_piece(CHUNK_BYTES);
        large
    }

    /// Adds to it; nothing of it was in a turn.
    pub(super) fn lengthen(&mut self, segments: Vec<Bytes>) {
        self.left += segments.iter().map(Bytes::len).sum::<usize>();
        self.segments.extend(segments);
        self.begin_piece(CHUNK_BYTES);
    }

    pub(super) const fn call(&self) -> u32 {
        self.call
    }

    pub(super) const fn is_message(&self) -> bool {
        self.is_message
    }

    /// Bytes that wait, without headers.
    pub(super) const fn len(&self) -> usize {
        self.left
    }

    /// True if the peer has seen the beginning of a piece and expects its end.
    pub(super) const fn is_within_piece(&self) -> bool {
        self.header_written > 0
    }

    /// True if nothing is left but the piece.
    pub(super) const fn is_last_piece(&self) -> bool {
        self.piece == self.left
    }

    /// True if the piece counts as on its way.
    pub(super) const fn is_counted(&self) -> bool {
        self.counted
    }

    /// Lets the piece count as on its way, which is made about as long as this; gives how long it is.
    pub(super) fn count_piece(&mut self, bytes: Option<usize>) -> usize {
        if let Some(bytes) = bytes {
            self.begin_piece(bytes);
        }
        self.counted = true;
        self.piece
    }

    /// Notes that the piece is in a turn.
    pub(super) const fn commit(&mut self) {
        self.committed = self.is_last_piece();
    }

    /// True if nothing that is appended from now on comes before its end.
    pub(super) const fn is_on_its_way(&self) -> bool {
        self.committed || self.is_within_piece() && self.is_last_piece()
    }

    /// What is to be written first of the piece.
    pub(super) fn chunk(&self) -> &[u8] {
        if self.header_written < HEADER_BYTES {
            return &self.header[self.header_written..];
        }
        let first = self.segments.get(self.first).map_or(&[][..], |first| first);
        &first[..first.len().min(self.piece)]
    }

    /// What is to be written of the piece, as far as there are slices for it; gives how many.
    pub(super) fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty()
                && let Some(slice) = slices.get_mut(count)
            {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
        };
        put(&self.header[self.header_written..]);
        let mut piece = self.piece;
        for segment in &self.segments[self.first..] {
            let part = segment.len().min(piece);
            put(&segment[..part]);
            piece -= part;
        }
        count
    }

    /// Notes that so many bytes were written; gives how many of them were not of this piece.
    pub(super) fn advance(&mut self, mut count: usize) -> usize {
        let head = count.min(HEADER_BYTES - self.header_written);
        self.header_written += head;
        count -= head;
        while count > 0 && self.piece > 0 {
            let Some(first) = self.segments.get_mut(self.first) else {
                break;
            };
            let part = count.min(first.len()).min(self.piece);
            first.advance(part);
            if first.is_empty() {
                *first = Bytes::new();
                self.first += 1;
            }
            self.piece -= part;
            self.left -= part;
            count -= part;
        }
        count
    }

    /// True if the piece is written.
    pub(super) const fn is_piece_written(&self) -> bool {
        self.piece == 0 && self.header_written == HEADER_BYTES
    }

    /// The body behind a piece that was written; nothing if that was the last.
    pub(super) fn next_piece(mut self) -> Option<Self> {
        if self.left == 0 {
            return None;
        }
        self.begin_piece(CHUNK_BYTES);
        Some(self)
    }

    /// True if a piece is left that the peer has begun to read, or that what follows relies on.
    pub(super) const fn survives_cut(&self) -> bool {
        self.committed || self.is_within_piece()
    }

    /// The rest of that piece; nothing if there is none.
    pub(super) fn cut(mut self, ahead: &mut Ahead) -> Option<Self> {
        self.left = self.piece;
        if self.survives_cut() {
            return Some(self);
        }
        if self.counted {
            ahead.forget(self.piece);
        }
        None
    }

    fn begin_piece(&mut self, bytes: usize) {
        // What would be a small last piece goes with the one before.
        self.piece = if self.left <= bytes + bytes / 4 {
            self.left
        } else {
            bytes
        };
        self.counted = false;
        let header = Header {
            length: self.piece as u32,
            ..Header::new(Kind::Chunk, self.call)
        };
        self.header = header.to_bytes();
        self.header_written = 0;
    }
}
