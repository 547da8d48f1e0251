//! A body too large for one frame, on its way out in pieces.
//!
//! How does a piece get its header without being copied? The bytes in front of it have been written
//! already: the header takes their place.

use crate::wire::header::{HEADER_BYTES, Header, Kind};
use crate::wire::{CHUNK_BYTES, FRAME_BYTES_MAX};

/// What is left of one body; its next piece is ready to be written.
#[derive(Debug)]
pub(super) struct Large {
    call: u32,
    /// At least [`HEADER_BYTES`] that nobody needs, then the body.
    bytes: Vec<u8>,
    /// The next piece, with its header: `start <= written < end`
    start: usize,
    end: usize,
    written: usize,
}

impl Large {
    /// One frame that is not worth a copy: a body of `bytes` behind room for its header.
    pub(super) fn frame(header: Header, mut bytes: Vec<u8>) -> Self {
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Self {
            call: header.call,
            start: 0,
            end: bytes.len(),
            written: 0,
            bytes,
        }
    }

    /// The body is `bytes` from `start` on: not empty, with [`HEADER_BYTES`] in front of it.
    pub(super) fn pieces(call: u32, bytes: Vec<u8>, start: usize) -> Self {
        let mut large = Self {
            call,
            bytes,
            start,
            end: start,
            written: start,
        };
        large.begin_piece();
        large
    }

    pub(super) const fn call(&self) -> u32 {
        self.call
    }

    /// Bytes that wait, without the headers of later pieces.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// True if the peer has seen the beginning of a piece and expects its end.
    pub(super) const fn is_within_piece(&self) -> bool {
        self.start < self.written
    }

    /// True if nothing is left but what the peer has begun to read, or what a writer holds.
    pub(super) const fn is_last_piece(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// What is to be written of the piece.
    pub(super) fn piece(&self) -> &[u8] {
        &self.bytes[self.written..self.end]
    }

    /// Notes that so many bytes of the piece were written; true if that was its end.
    pub(super) fn advance(&mut self, count: usize) -> bool {
        self.written += count.min(self.end - self.written);
        self.written == self.end
    }

    /// The body behind a piece that was written; nothing if that was the last.
    pub(super) fn next_piece(mut self) -> Option<Self> {
        if self.is_last_piece() {
            return None;
        }
        self.begin_piece();
        Some(self)
    }

    /// The rest of the piece that the peer has begun to read; nothing if there is none.
    pub(super) fn cut(mut self) -> Option<Self> {
        self.bytes.truncate(self.end);
        self.is_within_piece().then_some(self)
    }

    fn begin_piece(&mut self) {
        let body = self.end;
        let rest = self.bytes.len() - body;
        // What would be a small last piece goes with the one before.
        let length = if rest <= FRAME_BYTES_MAX {
            rest
        } else {
            CHUNK_BYTES
        };
        let header = Header {
            length: length as u32,
            ..Header::new(Kind::Chunk, self.call)
        };
        self.start = body - HEADER_BYTES;
        self.bytes[self.start..body].copy_from_slice(&header.to_bytes());
        self.end = body + length;
        self.written = self.start;
    }
}
