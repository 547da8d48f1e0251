//! Small frames alone on their way out: what most turns are.

use super::Outgoing;
use crate::hint::cold_path;

/// A [turn](Outgoing::take) without large bodies. It is not moved about as much as one that may have
/// them.
#[derive(Debug)]
pub struct Flat {
    buffer: Vec<u8>,
    /// 0 <= written <= buffer.len()
    written: usize,
    /// Where the buffer starts in the stream.
    base: u64,
}

impl Flat {
    /// True when all of it is written.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
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
        self.written = self.buffer.len().min(self.written + count);
    }
}

impl Outgoing {
    /// As [`take`](Self::take), if nothing but small frames waits. It has to come back with
    /// [`give_back`](Self::give_back).
    #[inline]
    #[must_use]
    pub fn take_flat(&mut self) -> Option<Flat> {
        if self.has_large() || self.written > 0 {
            return None;
        }
        debug_assert!(self.due.is_none(), "only what is large waits for its turn");
        self.report_reading();
        let end = self.end();
        let base = std::mem::replace(&mut self.base, end);
        self.forget_open();
        Some(Flat {
            buffer: std::mem::take(&mut self.buffer),
            written: 0,
            base,
        })
    }

    /// Gives back a flat turn: what is left of it goes first.
    #[inline]
    pub fn give_back(&mut self, flat: Flat) {
        if !flat.is_empty() {
            return self.prepend_flat(flat);
        }
        let mut buffer = flat.buffer;
        buffer.clear();
        if buffer.capacity() > Self::KEPT_BYTES_MAX {
            cold_path();
            buffer.shrink_to(Self::KEPT_BYTES_MAX);
        }
        self.keep_memory(buffer);
    }

    #[cold]
    fn prepend_flat(&mut self, flat: Flat) {
        self.prepend(Self {
            base: flat.base,
            buffer: flat.buffer,
            written: flat.written,
            is_turn: true,
            ..Self::default()
        });
    }
}
