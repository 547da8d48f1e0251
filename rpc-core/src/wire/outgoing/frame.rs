//! A frame that is being written in place.

use bytes::Bytes;

use super::{Encoded, Large, Outgoing, Parts};
use crate::wire::header::{FLAGS_OFFSET, Flags, HEADER_BYTES, Header, Kind};
use crate::wire::{CHUNK_BYTES, Follows};

/// A frame whose length is not known yet; removed again unless it is finished.
pub(super) struct Unfinished<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> Unfinished<'a> {
    #[inline]
    pub(super) fn begin(buffer: &'a mut Vec<u8>, header: Header) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&header.to_bytes());
        Self {
            buffer,
            start,
            finished: false,
        }
    }

    #[inline]
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// As [`finish`](Self::finish), of a frame whose message, which begins at `message`, is too long
    /// for one frame or for the peer, has been left out in part, or is followed by items. Gives the
    /// body that is to follow in pieces, if there is one.
    ///
    /// Not inlined: most frames are small.
    #[inline(never)]
    pub(super) fn finish_other(
        mut self,
        kind: Kind,
        call: u32,
        message: usize,
        message_bytes_max: usize,
        encoded: Encoded,
    ) -> Result<(Follows, Option<Large>), usize> {
        let Encoded { follows, parts } = encoded;
        let length = self.buffer.len() - message + parts.len();
        if length > message_bytes_max {
            return Err(length);
        }
        if follows == Follows::Items {
            self.add_flag(Flags::ITEMS);
        }
        if (length > CHUNK_BYTES || !parts.is_empty()) && kind != Kind::Error {
            let large = self.move_out(call, message, length, parts);
            return Ok((follows, Some(large)));
        }
        self.finish()?;
        Ok((follows, None))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "to call it costs as much as it does")]
    pub(super) fn finish(&mut self) -> Result<(), usize> {
        let length = self.buffer.len() - self.start - HEADER_BYTES;
        let field = u32::try_from(length).map_err(|_| length)?;
        self.buffer[self.start..self.start + 4].copy_from_slice(&field.to_le_bytes());
        self.finished = true;
        Ok(())
    }

    /// Takes the body out, which begins at `message`, and leaves its length in its place.
    fn move_out(mut self, call: u32, message: usize, length: usize, parts: Parts) -> Large {
        self.add_flag(Flags::MORE);
        let segments = if self.start == 0 {
            // Nothing else waits: the buffer itself becomes the body.
            let head = self.buffer[..message].to_vec();
            let whole = Bytes::from(std::mem::replace(self.buffer, head));
            parts.into_segments(&whole, message, 0)
        } else {
            let body = Bytes::copy_from_slice(&self.buffer[message..]);
            self.buffer.truncate(message);
            self.buffer.shrink_to(Outgoing::KEPT_BYTES_MAX);
            parts.into_segments(&body, 0, message)
        };
        let large = Large::message(call, segments);
        // The limit of messages is below 2^32.
        self.buffer
            .extend_from_slice(&(length as u32).to_le_bytes());
        let finished = self.finish();
        debug_assert!(finished.is_ok(), "metadata is bounded");
        large
    }

    #[cold]
    fn remove(&mut self) {
        self.buffer.truncate(self.start);
        // The body may have been huge; that is why it was dropped.
        self.buffer.shrink_to(Outgoing::KEPT_BYTES_MAX);
    }

    fn add_flag(&mut self, flag: Flags) {
        let flags = &mut self.buffer[self.start + FLAGS_OFFSET];
        *flags |= flag.bits();
    }
}

impl Drop for Unfinished<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.finished {
            self.remove();
        }
    }
}
