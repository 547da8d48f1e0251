//! The shape that hello and ack share: sixteen fixed bytes, then a row of entries.

use super::{EXTENSION_BYTES_MAX, HELLO_BYTES, MAGIC, extension};
use crate::StreamLimits;
use crate::wire::WireError;

/// Writes the fixed part, then entries, then the length of the entries into the fixed part.
pub(super) struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Block<'a> {
    pub(super) fn begin(
        out: &'a mut Vec<u8>,
        head: [u8; 2],
        codec: u8,
        compression: u8,
        features: u32,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&head);
        out.extend_from_slice(&[codec, compression]);
        out.extend_from_slice(&features.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    /// Adds an entry, unless the block would grow over its limit: what does not fit is optional.
    pub(super) fn entry(&mut self, kind: u16, value: &[u8]) {
        let used = self.out.len() - self.start - HELLO_BYTES;
        if used + 4 + value.len() > EXTENSION_BYTES_MAX {
            return;
        }
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out
            .extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.out.extend_from_slice(value);
    }

    /// Adds the limits of streams, unless they are those that everybody assumes.
    pub(super) fn stream_limits(&mut self, limits: StreamLimits) {
        let shipped = StreamLimits::SHIPPED.with_growth_bytes(limits.growth_bytes);
        if limits != shipped {
            let stream = limits.stream_bytes.to_le_bytes();
            let connection = limits.connection_bytes.to_le_bytes();
            self.entry(extension::STREAM_LIMITS, &[stream, connection].concat());
        }
    }

    pub(super) fn finish(self) {
        let length = (self.out.len() - self.start - HELLO_BYTES) as u32;
        let field = self.start + 12..self.start + 16;
        self.out[field].copy_from_slice(&length.to_le_bytes());
    }
}

/// The fixed part and the extension block.
pub(super) type Parts<'b> = (&'b [u8; HELLO_BYTES], &'b [u8]);

/// The feature bits of the fixed part.
pub(super) const fn features(fixed: &[u8; HELLO_BYTES]) -> u32 {
    u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])
}

/// Collects the fixed part and the extension block in `buffer`.
pub(super) fn read_block<'b>(
    buffer: &'b mut Vec<u8>,
    input: &mut &[u8],
) -> Result<Option<Parts<'b>>, WireError> {
    fill(buffer, input, HELLO_BYTES);
    let seen = buffer.len().min(MAGIC.len());
    if buffer[..seen] != MAGIC[..seen] {
        fill(buffer, input, HELLO_BYTES);
        return Err(WireError::BadMagic {
            found: buffer.clone(),
        });
    }
    let Some(fixed) = buffer.first_chunk::<HELLO_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]) as usize;
    if length > EXTENSION_BYTES_MAX {
        return Err(WireError::BadHello("the extension block is over 16 KiB"));
    }
    fill(buffer, input, HELLO_BYTES + length);
    let Some((fixed, entries)) = buffer.split_first_chunk() else {
        return Ok(None);
    };
    Ok((entries.len() == length).then_some((fixed, entries)))
}

/// Moves bytes from the input to the buffer until it holds `count`.
fn fill(buffer: &mut Vec<u8>, input: &mut &[u8], count: usize) {
    let missing = count.saturating_sub(buffer.len()).min(input.len());
    let (part, rest) = input.split_at(missing);
    buffer.extend_from_slice(part);
    *input = rest;
}

/// The entries of an extension block.
pub(super) struct Entries<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u16, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = split_entry(self.0);
        self.0 = entry.map_or(&[], |(_, _, rest)| rest);
        Some(match entry {
            Some((kind, value, _)) => Ok((kind, value)),
            None => Err(WireError::BadHello("an extension entry is cut short")),
        })
    }
}

fn split_entry(block: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (kind, rest) = block.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((u16::from_le_bytes(*kind), value, rest))
}

pub(super) fn number(value: &[u8]) -> Result<u32, WireError> {
    let raw = value
        .try_into()
        .map_err(|_| WireError::BadHello("a limit is not four bytes"))?;
    Ok(u32::from_le_bytes(raw))
}

pub(super) fn stream_limits(value: &[u8]) -> Result<StreamLimits, WireError> {
    let (stream, connection) = value.split_at(value.len() / 2);
    Ok(StreamLimits::new(number(stream)?, number(connection)?))
}

pub(super) fn text(value: &[u8]) -> Result<String, WireError> {
    let text =
        std::str::from_utf8(value).map_err(|_| WireError::BadHello("a text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// A list of names, each behind an id if `with_id`.
pub(super) fn names(mut list: &[u8], with_id: bool) -> Result<Vec<(u8, String)>, WireError> {
    let cut = WireError::BadHello("a list of names is cut short");
    let mut names = Vec::new();
    while !list.is_empty() {
        let head = 1 + usize::from(with_id);
        let (fixed, rest) = list.split_at_checked(head).ok_or(cut.clone())?;
        let length = usize::from(fixed[head - 1]);
        let (name, rest) = rest.split_at_checked(length).ok_or(cut.clone())?;
        names.push((fixed[0], text(name)?));
        list = rest;
    }
    Ok(names)
}
