//! The items in a frame: each behind its length, `[stream.items]`.

use crate::connection::ConnectionError;
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

/// An entry that is whole and not too long.
pub(super) fn checked(
    length: Option<EntryLength>,
    item_bytes_max: usize,
) -> Result<EntryLength, ConnectionError> {
    let length = length.ok_or(ConnectionError::Violation("items of broken lengths"))?;
    if length.body > item_bytes_max {
        return Err(ConnectionError::Violation("an item longer than announced"));
    }
    Ok(length)
}

/// True items, of which none is too long, are all that a row may have.
pub(in crate::connection) fn check_row(
    entries: &[u8],
    item_bytes_max: usize,
) -> Result<(), ConnectionError> {
    let mut rest = entries;
    while let Some(length) = entry_lengths(rest).next() {
        rest = behind_alike(rest, checked(length, item_bytes_max)?);
    }
    Ok(())
}

/// What is behind the items in front that are all as long as the first of them, which has `length`.
///
/// Why not go from one to the next? Because the processor would have to wait for each length to know
/// where the next one is; and the items of a stream are mostly of one length.
fn behind_alike(entries: &[u8], length: EntryLength) -> &[u8] {
    let whole = LENGTH_BYTES + length.body;
    let field = (length.body as u32).to_le_bytes();
    let items = entries.chunks_exact(whole);
    let alike = items.take_while(|item| item.starts_with(&field)).count();
    &entries[alike * whole..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_are_those_of_one_length_that_are_whole() {
        // [stream.items]
        let item = |length: usize| [&(length as u32).to_le_bytes()[..], &vec![9; length]].concat();
        for length in [0, 1, 32, 300] {
            let other = item(length + 1);
            for (count, behind) in [(1, &[][..]), (5, &[]), (5, &other), (5, &other[..3])] {
                let row = [item(length).repeat(count), behind.to_vec()].concat();
                assert_eq!(behind_alike(&row, EntryLength { body: length }), behind);
                let cut = &row[..row.len() - behind.len() - 1];
                let left = behind_alike(cut, EntryLength { body: length });
                assert_eq!(left.len(), LENGTH_BYTES + length - 1, "{count} of {length}");
            }
        }
    }
}
