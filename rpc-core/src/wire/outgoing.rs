//! Bytes on their way out.

use super::body::put_metadata;
use super::header::{HEADER_BYTES, Header};
use crate::Metadata;

/// Frames that wait to be written: one flat buffer, encoded in place.
///
/// The buffer is moved out whole to be written and given back empty, so that its memory is used
/// again and nobody holds a lock during a system call.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Bytes already written: 0 <= written <= buffer.len()
    written: usize,
    /// Where the buffer starts in the stream of all bytes that were ever appended.
    base: u64,
}

impl Outgoing {
    /// Memory kept for the next batch.
    const KEPT_BYTES_MAX: usize = 256 * 1024;

    /// True when nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }

    /// Bytes that wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// Takes everything out to be written; what is appended meanwhile follows it.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let base = self.end();
        std::mem::replace(
            self,
            Self {
                base,
                ..Self::default()
            },
        )
    }

    /// Where the next byte that is appended lies in the stream.
    #[inline]
    pub(crate) const fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Up to where the stream was written, or at least taken out to be written.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.base + self.written as u64
    }

    /// The bytes to write next.
    #[inline]
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// Notes that `count` bytes of [`chunk`](Self::chunk) were written.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.written += count.min(self.len());
        if self.is_empty() {
            self.reset();
        } else if self.written > Self::KEPT_BYTES_MAX && self.written > self.len() {
            // A writer that never catches up must not keep all it has ever written. Moving fewer
            // bytes than are dropped costs less than writing them did.
            self.buffer.drain(..self.written);
            self.base += self.written as u64;
            self.written = 0;
        }
    }

    /// Moves everything behind what `earlier` still holds; keeps the order.
    pub fn prepend(&mut self, mut earlier: Self) {
        if earlier.is_empty() {
            // Of two empty or one filled buffer, keep the one with the bytes or the memory.
            if self.is_empty() && earlier.buffer.capacity() > self.buffer.capacity() {
                *self = earlier;
            }
            return;
        }
        earlier.buffer.extend_from_slice(self.chunk());
        *self = earlier;
    }

    /// Forgets what waits.
    pub(crate) fn discard(&mut self) {
        self.written = self.buffer.len();
        self.reset();
    }

    /// Bytes outside of any frame: hello and ack.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends a frame whose body is written in place behind the metadata, if there is any; the
    /// length field is filled in afterwards.
    ///
    /// If `body` fails or panics, or writes more than `message_bytes_max`, nothing is appended.
    /// Metadata has a limit of its own and does not count.
    #[inline]
    pub(crate) fn frame<E>(
        &mut self,
        header: Header,
        metadata: &Metadata,
        message_bytes_max: usize,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), FrameError<E>> {
        let frame = Unfinished::begin(&mut self.buffer, header);
        if !metadata.is_empty() {
            put_metadata(metadata, frame.buffer);
        }
        let message = frame.buffer.len();
        body(frame.buffer).map_err(FrameError::Body)?;
        let length = frame.buffer.len() - message;
        if length > message_bytes_max {
            return Err(FrameError::TooLarge(length));
        }
        frame.finish().map_err(FrameError::TooLarge)
    }

    /// Appends a frame with a body that cannot fail.
    pub(crate) fn control(&mut self, header: Header, body: &[u8]) {
        let length = body.len() as u32;
        let header = Header { length, ..header };
        self.buffer.extend_from_slice(&header.to_bytes());
        self.buffer.extend_from_slice(body);
    }

    fn reset(&mut self) {
        self.base = self.end();
        self.buffer.clear();
        self.written = 0;
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

/// A frame whose length is not known yet; removed again unless it is finished.
struct Unfinished<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> Unfinished<'a> {
    #[inline]
    fn begin(buffer: &'a mut Vec<u8>, header: Header) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&header.to_bytes());
        Self {
            buffer,
            start,
            finished: false,
        }
    }

    #[inline]
    fn finish(mut self) -> Result<(), usize> {
        let length = self.buffer.len() - self.start - HEADER_BYTES;
        let field = u32::try_from(length).map_err(|_| length)?;
        self.buffer[self.start..self.start + 4].copy_from_slice(&field.to_le_bytes());
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.finished {
            self.buffer.truncate(self.start);
            // The body may have been huge; that is why it was dropped.
            self.buffer.shrink_to(Outgoing::KEPT_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    #[test]
    fn a_body_that_fails_leaves_no_trace() {
        let mut out = Outgoing::default();
        out.control(Header::new(Kind::Ping, 0), &[7; 8]);
        let before = out.chunk().to_vec();

        let header = Header::new(Kind::Request, 1);
        let metadata = Metadata::new();
        let failed = out.frame(header, &metadata, 100, |body| {
            body.extend_from_slice(b"half");
            Err("no")
        });
        assert!(matches!(failed, Err(FrameError::Body("no"))));
        let large = out.frame::<()>(header, &metadata, 3, |body| {
            body.extend_from_slice(b"four");
            Ok(())
        });
        assert!(matches!(large, Err(FrameError::TooLarge(4))));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            out.frame::<()>(header, &metadata, 100, |body| {
                body.push(1);
                panic!("a user's Serialize");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(out.chunk(), before);
    }

    #[test]
    fn a_body_that_was_too_large_leaves_no_memory() {
        let mut out = Outgoing::default();
        let header = Header::new(Kind::Request, 1);
        let huge = out.frame::<()>(header, &Metadata::new(), 100, |body| {
            body.resize(10 << 20, 0);
            Ok(())
        });
        assert!(huge.is_err() && out.is_empty());
        assert!(out.buffer.capacity() <= Outgoing::KEPT_BYTES_MAX);
    }

    #[test]
    fn a_writer_that_never_catches_up_keeps_only_what_waits() {
        let mut out = Outgoing::default();
        let mut written = 0_u32;
        for batch in 0..10_000_u32 {
            let words = (0..256).flat_map(|word| (batch * 256 + word).to_le_bytes());
            out.raw().extend(words);
            if batch > 10 {
                let next = out
                    .chunk()
                    .first_chunk()
                    .map(|raw| u32::from_le_bytes(*raw));
                assert_eq!(next, Some(written), "in order");
                let mut rest = std::mem::take(&mut out);
                rest.advance(1024);
                written += 256;
                out.prepend(rest);
            }
        }
        assert_eq!(out.len(), 11 * 1024);
        assert!(out.buffer.capacity() <= 4 * Outgoing::KEPT_BYTES_MAX);
        out.advance(usize::MAX);
        assert!(out.is_empty());
    }

    #[test]
    fn a_partly_written_buffer_keeps_its_order() {
        let mut first = Outgoing::default();
        first.raw().extend_from_slice(b"abc");
        first.advance(1);
        let mut second = Outgoing::default();
        second.raw().extend_from_slice(b"def");
        second.prepend(first);
        assert_eq!(second.chunk(), b"bcdef");
        assert_eq!(second.len(), 5);
        second.advance(5);
        assert!(second.is_empty());
    }
}
