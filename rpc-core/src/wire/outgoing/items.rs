//! Items of streams on their way out.

use super::{
    CHUNK_BYTES, FRAME_BYTES_MAX, Flags, HEADER_BYTES, Header, ItemsFrame, Kind, Large, Outgoing,
};

/// Encoded items of one stream, one behind the other, on their way into an [`Outgoing`].
///
/// The memory of a batch that fits into a frame is used again; that of a larger one goes out as it is.
#[derive(Debug)]
pub struct Batch {
    /// Room for a header, then the entries.
    bytes: Vec<u8>,
}

impl Batch {
    /// A batch without items. Holds no memory before the first one.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Bytes of the items and their lengths.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_BYTES)
    }

    /// True if there are no items.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one item that `encode` appends. If that fails or panics, the batch is as before.
    ///
    /// # Errors
    /// That of `encode`, or the length of an item that has more than `item_bytes_max`.
    #[inline]
    pub fn push<E>(
        &mut self,
        item_bytes_max: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), ItemError<E>> {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        let entry = Entry::begin(&mut self.bytes);
        encode(entry.bytes).map_err(ItemError::Encode)?;
        entry.finish(item_bytes_max).map_err(ItemError::TooLarge)
    }

    /// The items, each behind its length.
    #[must_use]
    pub fn entries(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Splits off the first items, which have so many bytes.
    pub(crate) fn split_to(&mut self, bytes: usize) -> Self {
        let end = HEADER_BYTES + bytes;
        let first = self.bytes[..end].to_vec();
        self.bytes.drain(HEADER_BYTES..end);
        Self { bytes: first }
    }

    /// Forgets the items.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
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

/// A batch up to this is copied to what waits already: fewer writes are worth more.
const COPIED_BYTES_MAX: usize = 32 * 1024;

/// The length of an item, in front of it.
pub(crate) const LENGTH_BYTES: usize = 4;

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

    #[inline]
    fn finish(mut self, item_bytes_max: usize) -> Result<(), usize> {
        let body = self.start + LENGTH_BYTES;
        let length = self.bytes.len() - body;
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
    /// Appends the items of a batch, which is empty afterwards: to the frame that ends the buffer, if
    /// that has items of this call and room, or as a frame of their own.
    pub(crate) fn items(&mut self, call: u32, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if batch.len() > COPIED_BYTES_MAX {
            return self.large_items(call, batch);
        }
        if let Some(frame) = self.open_items_frame(call, batch.len()) {
            self.buffer.extend_from_slice(batch.entries());
            self.close_items_frame(frame);
        } else {
            let start = self.buffer.len();
            self.control(Header::new(Kind::Item, call), batch.entries());
            let end = self.buffer.len();
            self.items = Some(ItemsFrame { call, start, end });
        }
        batch.clear();
    }

    /// The frame that ends the buffer, if it can take so many bytes for this call.
    fn open_items_frame(&self, call: u32, length: usize) -> Option<ItemsFrame> {
        self.items.filter(|frame| {
            let is_last = frame.end == self.buffer.len() && frame.start >= self.written;
            let grown = frame.end - frame.start - HEADER_BYTES + length;
            frame.call == call && is_last && grown <= CHUNK_BYTES
        })
    }

    fn close_items_frame(&mut self, frame: ItemsFrame) {
        let end = self.buffer.len();
        let length = (end - frame.start - HEADER_BYTES) as u32;
        self.buffer[frame.start..frame.start + 4].copy_from_slice(&length.to_le_bytes());
        self.items = Some(ItemsFrame { end, ..frame });
    }

    fn large_items(&mut self, call: u32, batch: &mut Batch) {
        let batch_fits = batch.len() <= FRAME_BYTES_MAX;
        let length = batch.len() as u32;
        let header = Header::new(Kind::Item, call);
        let bytes = std::mem::take(&mut batch.bytes);
        let large = if batch_fits {
            Large::frame(Header { length, ..header }, bytes)
        } else {
            let flags = Flags::MORE;
            self.control(Header { flags, ..header }, &length.to_le_bytes());
            Large::pieces(call, bytes, HEADER_BYTES)
        };
        self.large.push_back(large);
    }
}
