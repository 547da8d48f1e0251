//! Key–value pairs that travel beside a call: tenant, trace, token.
//!
//! What does an empty `Metadata` cost? Nothing: no allocation, no bytes on the wire.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Ordered key–value pairs; a key may repeat.
///
/// Keys are 1 to 128 bytes of `a-z 0-9 - _ .` and are compared as they are; upper-case letters are
/// refused rather than folded. Values are visible ASCII and spaces. Keys that start with `rpc-` are
/// reserved for the framework. At most 64 pairs and 8 KiB of keys and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Behind one pointer, as it is moved with each call and mostly empty; absent without pairs.
    /// Counted: copies share it, and how it is dropped is compiled in one place.
    pairs: Option<Arc<Pairs>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Pairs(Vec<(Box<str>, Box<str>)>);

/// Why a pair was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// The key is empty, too long, or has a byte that is not allowed.
    InvalidKey(String),
    /// The key belongs to the framework.
    ReservedKey(String),
    /// The value of this key has a byte that is not visible ASCII or a space.
    InvalidValue(String),
    /// More than 64 pairs, or more than 8 KiB.
    TooLarge,
    /// The encoded block is cut short or has bytes left over.
    Malformed,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKey(key) => write!(
                f,
                "metadata key {key:?} is not 1 to 128 bytes of a-z, 0-9, '-', '_', '.'"
            ),
            Self::ReservedKey(key) => write!(
                f,
                "metadata key {key:?} is reserved: keys that start with \"rpc-\" belong to the framework"
            ),
            Self::InvalidValue(key) => write!(
                f,
                "the value of metadata key {key:?} has a byte that is not visible ASCII or a space"
            ),
            Self::TooLarge => f.write_str("metadata holds at most 64 pairs and 8192 bytes"),
            Self::Malformed => f.write_str("the metadata block is malformed"),
        }
    }
}

impl Error for MetadataError {}

impl Metadata {
    /// How many pairs may travel.
    pub const PAIRS_MAX: usize = 64;
    /// How many bytes of keys and values may travel.
    pub const BYTES_MAX: usize = 8 * 1024;
    /// How long a key may be.
    pub const KEY_BYTES_MAX: usize = 128;

    /// No pairs.
    #[must_use]
    pub const fn new() -> Self {
        Self { pairs: None }
    }

    /// True without pairs.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pairs.is_none()
    }

    /// How many pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.as_ref().map_or(0, |pairs| pairs.0.len())
    }

    /// The first value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// All values of a key, in order.
    pub fn get_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(k, _)| *k == key).map(|(_, v)| v)
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.as_ref().map_or(&[][..], |pairs| &pairs.0);
        pairs.iter().map(|(k, v)| (&**k, &**v))
    }

    /// Adds a pair; earlier values of the key stay.
    ///
    /// # Errors
    /// The key or value has a byte that is not allowed, the key is reserved, or a limit is reached.
    pub fn append(&mut self, key: &str, value: &str) -> Result<(), MetadataError> {
        if key.starts_with("rpc-") {
            return Err(MetadataError::ReservedKey(key.to_owned()));
        }
        self.append_reserved(key, value)
    }

    /// Replaces all values of the key by this one.
    ///
    /// # Errors
    /// As [`append`](Self::append); the old values stay then.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), MetadataError> {
        let mut rest = self.clone();
        rest.remove(key);
        rest.append(key, value)?;
        *self = rest;
        Ok(())
    }

    /// Removes all values of the key; true if there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.len();
        if let Some(pairs) = &mut self.pairs {
            Arc::make_mut(pairs).0.retain(|(k, _)| **k != *key);
        }
        let after = self.len();
        self.pairs.take_if(|_| after == 0);
        after < before
    }

    fn append_reserved(&mut self, key: &str, value: &str) -> Result<(), MetadataError> {
        check_pair(key, value)?;
        let bytes: usize = self.iter().map(|(k, v)| k.len() + v.len()).sum();
        if self.len() == Self::PAIRS_MAX || bytes + key.len() + value.len() > Self::BYTES_MAX {
            return Err(MetadataError::TooLarge);
        }
        let pairs = Arc::make_mut(self.pairs.get_or_insert_default());
        pairs.0.push((key.into(), value.into()));
        Ok(())
    }

    /// Appends the encoded block: per pair, key length `u8`, key, value length `u16` LE, value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (key, value) in self.iter() {
            // Both casts hold by the limits that `append` checked.
            out.push(key.len() as u8);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&(value.len() as u16).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }

    /// Reads an encoded block; the counterpart of [`encode`](Self::encode).
    ///
    /// # Errors
    /// The same rules as for [`append`](Self::append), and the block has to end with its last pair.
    pub fn decode(mut block: &[u8]) -> Result<Self, MetadataError> {
        let mut metadata = Self::new();
        while let Some((&key_len, rest)) = block.split_first() {
            let (key, rest) = split(rest, usize::from(key_len))?;
            let key = std::str::from_utf8(key).map_err(|_| {
                MetadataError::InvalidKey(String::from_utf8_lossy(key).into_owned())
            })?;
            let (len, rest) = rest.split_first_chunk().ok_or(MetadataError::Malformed)?;
            let (value, rest) = split(rest, usize::from(u16::from_le_bytes(*len)))?;
            // By its key: what is no text may be a secret all the same.
            let value = std::str::from_utf8(value)
                .map_err(|_| MetadataError::InvalidValue(key.to_owned()))?;
            metadata.append_reserved(key, value)?;
            block = rest;
        }
        Ok(metadata)
    }
}

fn split(block: &[u8], len: usize) -> Result<(&[u8], &[u8]), MetadataError> {
    block.split_at_checked(len).ok_or(MetadataError::Malformed)
}

fn check_pair(key: &str, value: &str) -> Result<(), MetadataError> {
    let key_byte = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let in_range = (1..=Metadata::KEY_BYTES_MAX).contains(&key.len());
    if !in_range || !key.bytes().all(key_byte) {
        let shown = key.chars().take(Metadata::KEY_BYTES_MAX).collect();
        return Err(MetadataError::InvalidKey(shown));
    }
    if !value.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return Err(MetadataError::InvalidValue(key.to_owned()));
    }
    Ok(())
}

/// Keys whose values never reach a log.
fn is_secret(key: &str) -> bool {
    let named = matches!(
        key,
        "authorization" | "proxy-authorization" | "cookie" | "set-cookie"
    );
    named || key.ends_with("-bin")
}

/// Values of `authorization`, `proxy-authorization`, cookies and `*-bin` keys are masked.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .iter()
            .map(|(k, v)| (k, if is_secret(k) { "<masked>" } else { v }));
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive_the_wire_in_order() {
        let mut metadata = Metadata::new();
        for (key, value) in [("tenant", "a"), ("trace.id", "0 1"), ("tenant", "b")] {
            metadata.append(key, value).unwrap();
        }
        let mut block = Vec::new();
        metadata.encode(&mut block);
        assert_eq!(Metadata::decode(&block), Ok(metadata.clone()));
        assert_eq!(metadata.get("tenant"), Some("a"));
        assert_eq!(metadata.get_all("tenant").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn t7_bad_pairs_are_refused_with_the_reason() {
        let mut metadata = Metadata::new();
        let long = "k".repeat(129);
        for key in ["", "Upper", "sp ace", "nul\0", "cr\r", "ü", &long] {
            let refused = metadata.append(key, "v");
            assert!(
                matches!(refused, Err(MetadataError::InvalidKey(_))),
                "{key:?}"
            );
        }
        for value in ["a\r\nb", "nul\0", "ü", "\u{7f}"] {
            let refused = metadata.append("k", value);
            assert!(
                matches!(refused, Err(MetadataError::InvalidValue(_))),
                "{value:?}"
            );
        }
        // A value that is no text is named by its key: it may be a secret.
        let refused = Metadata::decode(b"\x0dauthorization\x08\x00secret \xff");
        assert_eq!(
            refused,
            Err(MetadataError::InvalidValue("authorization".to_owned()))
        );
        let refused = Metadata::decode(b"\x01\xff\x00\x00");
        assert!(matches!(refused, Err(MetadataError::InvalidKey(_))));
        let reserved = metadata.append("rpc-timeout", "1");
        assert!(matches!(reserved, Err(MetadataError::ReservedKey(_))));
        assert!(metadata.is_empty());
    }

    #[test]
    fn t7_the_limits_hold_when_building_and_when_decoding() {
        let mut metadata = Metadata::new();
        for i in 0..Metadata::PAIRS_MAX {
            metadata.append(&format!("k{i}"), "v").unwrap();
        }
        assert_eq!(
            metadata.append("one-more", "v"),
            Err(MetadataError::TooLarge)
        );

        let pair = [&[1, b'k', 1, 0][..], b"v"].concat();
        assert_eq!(
            Metadata::decode(&pair.repeat(65)),
            Err(MetadataError::TooLarge)
        );
        let big = [&[1, b'k', 0x00, 0x20][..], &[b'v'; 0x2000]].concat();
        assert_eq!(Metadata::decode(&big), Err(MetadataError::TooLarge));
        for cut in 1..pair.len() {
            assert!(Metadata::decode(&pair[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn t22_secrets_are_masked_when_shown() {
        let mut metadata = Metadata::new();
        metadata.append("authorization", "S3CR3T-1").unwrap();
        metadata.append("token-bin", "S3CR3T-2").unwrap();
        metadata.append("tenant", "a").unwrap();
        let shown = format!("{metadata:?}");
        assert!(
            !shown.contains("S3CR3T") && shown.contains("tenant"),
            "{shown}"
        );
    }
}
