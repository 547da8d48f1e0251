//! Items of streams on their way out.

use bytes::Bytes;

use super::super::header::FLAGS_OFFSET;
use super::{
    CHUNK_BYTES, Flags, HEADER_BYTES, Header, ItemsFrame, ItemsRow, Kind, Large, Outgoing, Parts,
};

/// Encoded items of one stream, one behind the other, on their way into an [`Outgoing`].
///
/// The memory of a small batch is used again; that of a larger one goes out as it is.
#[derive(Debug)]
pub struct Batch {
    /// The entries, each behind its length.
    bytes: Vec<u8>,
    /// What was left out of the last entry.
    parts: Parts,
}

impl Batch {
    /// A batch without items. Holds no memory before the first one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            parts: Parts::new(),
        }
    }

    /// Bytes of the items and their lengths.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.parts.len()
    }

    /// True if there are no items.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True if more can be added: the batch has less than so many bytes, and its last item no parts
    /// outside of it.
    #[inline]
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() < bytes && self.parts.is_empty()
    }

    /// Adds one item that `encode` appends. If that fails or panics, the batch is as before.
    ///
    /// # Errors
    /// That of `encode`, or the length of an item that has more than `item_bytes_max`.
    #[inline]
    pub fn push<P: Into<Parts>, E>(
        &mut self,
        item_bytes_max: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<P, E>,
    ) -> Result<(), ItemError<E>> {
        debug_assert!(
            self.parts.is_empty(),
            "parts are behind all that is in the batch"
        );
        let entry = Entry::begin(&mut self.bytes);
        let parts = encode(entry.bytes).map_err(ItemError::Encode)?.into();
        let finished = entry.finish(parts.len(), item_bytes_max);
        finished.map_err(ItemError::TooLarge)?;
        if !parts.is_empty() {
            self.parts = parts;
        }
        Ok(())
    }

    /// Adds one item that is encoded. A short one gets its length first, so that the batch grows only
    /// once: in a row of them, each waits for the length of the batch that the one before it left.
    ///
    /// # Errors
    /// The length of an item that has more than `item_bytes_max`.
    #[inline]
    pub fn push_encoded<E>(
        &mut self,
        item_bytes_max: usize,
        item: &[u8],
    ) -> Result<(), ItemError<E>> {
        let length = item.len();
        if length > SHORT_BYTES {
            return self.push(item_bytes_max, |out| {
                out.extend_from_slice(item);
                Ok(())
            });
        }
        if length > item_bytes_max {
            return Err(ItemError::TooLarge(length));
        }
        let mut entry = [0; LENGTH_BYTES + SHORT_BYTES];
        let entry = &mut entry[..LENGTH_BYTES + length];
        entry[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
        entry[LENGTH_BYTES..].copy_from_slice(item);
        self.bytes.extend_from_slice(entry);
        Ok(())
    }

    /// The items, each behind its length, in one piece.
    #[must_use]
    pub fn into_row(self) -> Bytes {
        self.parts.fill(self.bytes)
    }

    /// What each item takes with its length and its parts, in order.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let field = self.bytes.get(at..)?.first_chunk()?;
            let size = LENGTH_BYTES + u32::from_le_bytes(*field) as usize;
            at += size;
            Some(size)
        })
    }

    /// Splits off the first items, which have so many bytes; not all of them.
    pub(crate) fn split_to(&mut self, bytes: usize) -> Self {
        let mut first = Self::new();
        first.bytes.extend(self.bytes.drain(..bytes));
        self.parts.shift(bytes);
        first
    }

    /// Empties it; the items are what is to be written one behind the other.
    fn take_segments(&mut self) -> Vec<Bytes> {
        let Self { bytes, parts } = std::mem::take(self);
        parts.into_segments(&Bytes::from(bytes), 0, 0)
    }

    /// Forgets the items.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.parts = Parts::new();
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an item was not added to a batch.
#[derive(Debug)]
#[non_exhaustive]
pub enum ItemError<E> {
    /// It could not be encoded.
    Encode(E),
    /// It has this many bytes, more than allowed.
    TooLarge(usize),
}

/// A batch up to this is copied to what waits already, as fewer writes are worth more: what a producer puts
/// together, which is 30 KiB and an item that is not left out of it. With less, two items of 16 KiB went
/// one way and two of 15 the other.
const COPIED_BYTES_MAX: usize = 62 * 1024;

/// Longer batches are added to a row as long as nothing of it is on its way: one that began with what is not
/// copied.
const LONG_BYTES_MIN: usize = 32 * 1024;

/// The length of an item, in front of it.
pub(crate) const LENGTH_BYTES: usize = 4;

/// An encoded item up to this is put together with its length before it is appended.
const SHORT_BYTES: usize = 32;

/// An item whose length is not known yet; removed again unless it is finished.
struct Entry<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> Entry<'a> {
    #[inline]
    fn begin(bytes: &'a mut Vec<u8>) -> Self {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        Self {
            bytes,
            start,
            finished: false,
        }
    }

    /// Fills in the length of the item, of which so many bytes are elsewhere.
    #[inline]
    fn finish(mut self, parts: usize, item_bytes_max: usize) -> Result<(), usize> {
        let body = self.start + LENGTH_BYTES;
        let length = self.bytes.len() - body + parts;
        let field = u32::try_from(length).map_err(|_| length)?;
        if length > item_bytes_max {
            return Err(length);
        }
        self.bytes[self.start..body].copy_from_slice(&field.to_le_bytes());
        self.finished = true;
        Ok(())
    }
}

impl Drop for Entry<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.finished {
            self.bytes.truncate(self.start);
        }
    }
}

impl Outgoing {
    /// Appends the items of a batch, which is empty afterwards: to the row or the frame that was appended
    /// last, if that has items of this call and room, or as one of their own. `flags` are those of a
    /// frame of items; a row of long ones may be lengthened up to `row_bytes_max`.
    pub(crate) fn items(
        &mut self,
        call: u32,
        flags: Flags,
        batch: &mut Batch,
        row_bytes_max: usize,
    ) {
        if batch.is_empty() {
            return;
        }
        if self.lengthen_row(call, flags, batch) {
            return;
        }
        if batch.len() > COPIED_BYTES_MAX || !batch.parts.is_empty() {
            return self.large_items(call, flags, batch, row_bytes_max);
        }
        if let Some(frame) = self.open_items_frame(call, batch.len()) {
            self.buffer.extend_from_slice(&batch.bytes);
            self.buffer[frame.start + FLAGS_OFFSET] |= flags.bits();
            self.close_items_frame(frame);
        } else {
            let start = self.buffer.len();
            let header = Header::new(Kind::Item, call);
            self.control(Header { flags, ..header }, &batch.bytes);
            let end = self.buffer.len();
            self.open().items = Some(ItemsFrame { call, start, end });
        }
        batch.clear();
    }

    /// The frame that ends the buffer, if it can take so many bytes for this call.
    fn open_items_frame(&self, call: u32, length: usize) -> Option<ItemsFrame> {
        self.rare.open.items.filter(|frame| {
            let is_last = frame.end == self.buffer.len() && frame.start >= self.written;
            let grown = frame.end - frame.start - HEADER_BYTES + length;
            frame.call == call && is_last && grown <= CHUNK_BYTES
        })
    }

    fn close_items_frame(&mut self, frame: ItemsFrame) {
        let end = self.buffer.len();
        let length = (end - frame.start - HEADER_BYTES) as u32;
        self.buffer[frame.start..frame.start + 4].copy_from_slice(&length.to_le_bytes());
        self.open().items = Some(ItemsFrame { end, ..frame });
    }

    /// Announces the row in its turn, so that nothing that overtakes it is taken to have come before.
    fn large_items(&mut self, call: u32, flags: Flags, batch: &mut Batch, row_bytes_max: usize) {
        let start = self.buffer.len();
        let header = Header {
            flags: flags.with(Flags::MORE),
            ..Header::new(Kind::Item, call)
        };
        // Items are no longer than messages, hence below 2^32.
        self.control(header, &(batch.len() as u32).to_le_bytes());
        self.open().row = Some(ItemsRow {
            call,
            start,
            bytes: batch.len(),
            last: batch.len(),
            bytes_max: row_bytes_max,
        });
        self.large
            .push_back(Large::items(call, batch.take_segments()));
    }

    /// True if so many bytes of items of this call can be appended: no row of them is on its way in
    /// pieces, or it can be lengthened by that, which is worth it for long ones.
    pub(crate) fn takes_items(&self, call: u32, bytes: usize) -> bool {
        let takes = |row: ItemsRow| {
            let are_long = row.last.min(bytes) > LONG_BYTES_MIN;
            are_long && row.bytes + bytes <= row.bytes_max
        };
        !self.is_sending(call) || self.open_row(call).is_some_and(takes)
    }

    /// True if more items can be appended that are as long as the last ones.
    pub(crate) fn takes_alike(&self, call: u32) -> bool {
        let last = self.rare.open.row.map_or(0, |row| row.last);
        self.takes_items(call, last)
    }

    /// The row of items of this call of which nothing is on its way, its announcement neither.
    fn open_row(&self, call: u32) -> Option<ItemsRow> {
        let row = self.rare.open.row;
        row.filter(|row| row.call == call && row.start >= self.written)
    }

    /// Appends to the row of this call to which more can be added; false if there is none.
    fn lengthen_row(&mut self, call: u32, flags: Flags, batch: &mut Batch) -> bool {
        let Some(row) = self.open_row(call) else {
            return false;
        };
        let mut bodies = self.large.iter_mut();
        let Some(body) = bodies.rfind(|body| body.call() == call) else {
            return false;
        };
        let last = batch.len();
        body.lengthen(batch.take_segments());
        let bytes = row.bytes + last;
        let length = (bytes as u32).to_le_bytes();
        self.buffer[row.start + HEADER_BYTES..][..length.len()].copy_from_slice(&length);
        self.buffer[row.start + FLAGS_OFFSET] |= flags.bits();
        self.open().row = Some(ItemsRow { bytes, last, ..row });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_items_lie_in_a_row_as_any_others() {
        // [stream.items]
        let (mut encoded, mut others) = (Batch::new(), Batch::new());
        for length in [0, 1, SHORT_BYTES, SHORT_BYTES + 1, 1000] {
            let item = vec![7; length];
            encoded.push_encoded::<()>(1000, &item).unwrap();
            let pushed = others.push(1000, |out| {
                out.extend_from_slice(&item);
                Ok::<_, ()>(())
            });
            pushed.unwrap();
        }
        for (limit, length) in [(5, 6), (SHORT_BYTES, SHORT_BYTES + 1)] {
            let refused = encoded.push_encoded::<()>(limit, &vec![7; length]);
            assert!(matches!(refused, Err(ItemError::TooLarge(found)) if found == length));
        }
        assert_eq!(encoded.into_row(), others.into_row());
    }
}
