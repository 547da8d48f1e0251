//! The items in a frame: each behind its length, `[stream.items]`.

use crate::wire::LENGTH_BYTES;

/// What one item takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLength {
    /// Bytes of the item itself.
    pub(super) body: usize,
}

impl EntryLength {
    /// With the length in front.
    pub(super) const fn whole(self) -> u64 {
        (LENGTH_BYTES + self.body) as u64
    }
}

/// The lengths of the items; `None` ends a row that is broken.
pub(super) fn entry_lengths(entries: &[u8]) -> impl Iterator<Item = Option<EntryLength>> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((length, items)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            rest = &[];
            return Some(None);
        };
        let body = u32::from_le_bytes(*length) as usize;
        rest = items.get(body..).unwrap_or_default();
        Some((body <= items.len()).then_some(EntryLength { body }))
    })
}
