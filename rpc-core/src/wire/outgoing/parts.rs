//! Byte strings that are sent from where they are.

use bytes::Bytes;

use crate::wire::Follows;

/// What an encoder left out of a buffer: byte strings that are large enough to be sent from where
/// they are, and the places where they belong.
#[derive(Debug, Default)]
pub struct Parts {
    /// Behind one pointer, as it goes with each message and is mostly empty; absent without parts.
    list: Option<Box<List>>,
}

#[derive(Debug, Default)]
struct List(Vec<Part>);

#[derive(Debug)]
struct Part {
    /// In front of this byte of the buffer.
    at: usize,
    bytes: Bytes,
}

impl Parts {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: None }
    }

    /// Adds one that belongs in front of this byte of the buffer, behind those before it.
    pub fn push(&mut self, at: usize, bytes: Bytes) {
        let list = self.list.get_or_insert_default();
        list.0.push(Part { at, bytes });
    }

    /// Adds those of a later part of the same buffer.
    pub fn append(&mut self, mut later: Self) {
        if let Some(later) = &mut later.list {
            self.list.get_or_insert_default().0.append(&mut later.0);
        }
    }

    /// True if nothing was left out.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// Bytes that were left out.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        let Some(list) = &self.list else {
            return 0;
        };
        list.0.iter().map(|part| part.bytes.len()).sum()
    }

    /// Takes note that so many bytes in front of all parts have gone from the buffer.
    pub(super) fn shift(&mut self, bytes: usize) {
        for part in self.list.iter_mut().flat_map(|list| &mut list.0) {
            part.at -= bytes;
        }
    }

    /// The buffer from `start` on, with the parts in their places, which are counted from `before`
    /// the buffer.
    pub(super) fn into_segments(self, buffer: &Bytes, start: usize, before: usize) -> Vec<Bytes> {
        let parts = self.list.map_or_else(Vec::new, |list| list.0);
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        let mut from = start;
        for Part { at, bytes } in parts {
            let at = at - before;
            if at > from {
                segments.push(buffer.slice(from..at));
                from = at;
            }
            segments.push(bytes);
        }
        if buffer.len() > from {
            segments.push(buffer.slice(from..));
        }
        segments
    }

    /// The buffer with the parts in their places, in one piece.
    #[must_use]
    pub fn fill(self, buffer: Vec<u8>) -> Bytes {
        let buffer = Bytes::from(buffer);
        if self.is_empty() {
            return buffer;
        }
        let mut whole = Vec::with_capacity(buffer.len() + self.len());
        for segment in self.into_segments(&buffer, 0, 0) {
            whole.extend_from_slice(&segment);
        }
        whole.into()
    }
}

impl From<()> for Parts {
    #[inline]
    fn from((): ()) -> Self {
        Self::new()
    }
}

/// What an encoder says beside the bytes it has written to a buffer.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Encoded {
    /// What comes behind the message.
    pub follows: Follows,
    /// What was left out of the buffer.
    pub parts: Parts,
}

impl Encoded {
    /// A message with these parts, and what follows it.
    #[inline]
    #[must_use]
    pub const fn new(follows: Follows, parts: Parts) -> Self {
        Self { follows, parts }
    }
}

impl From<()> for Encoded {
    #[inline]
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Follows> for Encoded {
    #[inline]
    fn from(follows: Follows) -> Self {
        Self::new(follows, Parts::new())
    }
}
