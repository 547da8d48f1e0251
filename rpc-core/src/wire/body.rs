//! The part of a frame behind its header.

use std::ops::Deref;

use bytes::Bytes;

use crate::metadata::{Metadata, MetadataError};

/// A body, borrowed from the read buffer if it arrived in one piece, owned otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<'a> {
    /// Lies in the bytes that were just read.
    Borrowed(&'a [u8]),
    /// Was put together from several reads.
    Owned(Bytes),
}

impl Body<'_> {
    /// The body as bytes that live on; copies only what is borrowed.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(slice) => Bytes::copy_from_slice(slice),
            Self::Owned(bytes) => bytes,
        }
    }

    /// Without the first `count` bytes; `count` is at most the length.
    pub(crate) fn skip(self, count: usize) -> Self {
        match self {
            Self::Borrowed(slice) => Self::Borrowed(&slice[count..]),
            Self::Owned(bytes) => Self::Owned(bytes.slice(count..)),
        }
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(slice) => slice,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// As much of a text as fits in `bytes_max`, cut between characters.
pub(crate) fn cut_at_char(text: &str, bytes_max: usize) -> &str {
    let mut ends = (0..=text.len().min(bytes_max)).rev();
    let end = ends.find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Appends the length and the block of `[body.metadata]`.
pub(super) fn put_metadata(metadata: &Metadata, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    metadata.encode(out);
    // At most 64 pairs and 8 KiB, hence below 2^16.
    let length = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&length.to_le_bytes());
}

/// Reads the metadata in front of a body, and gives the rest.
pub(crate) fn metadata_and_rest(body: Body<'_>) -> Result<(Metadata, Body<'_>), MetadataError> {
    let (length, rest) = body.split_first_chunk().ok_or(MetadataError::Malformed)?;
    let length = usize::from(u16::from_le_bytes(*length));
    let block = rest.get(..length).ok_or(MetadataError::Malformed)?;
    let metadata = Metadata::decode(block)?;
    // No reserved key has a meaning yet, and one that gets it later is not for a peer to make up.
    if let Some((key, _)) = metadata.iter().find(|(key, _)| key.starts_with("rpc-")) {
        return Err(MetadataError::ReservedKey(key.to_owned()));
    }
    Ok((metadata, body.skip(2 + length)))
}
