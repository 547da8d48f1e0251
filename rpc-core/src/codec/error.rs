//! Why a body could not be written or read.

use std::fmt;

/// A longer message is cut: it may quote what the peer sent.
const MESSAGE_BYTES_MAX: usize = 512;

/// A value that could not be encoded, or bytes that are not the value they should be.
///
/// The text says what was wrong and where: the byte in bincode, line and column in JSON, the name
/// of the argument. It may quote the input, but never more than 512 bytes of it.
#[derive(Debug)]
pub struct CodecError {
    /// Behind one pointer, so that what went well stays in registers.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Encode,
    Decode,
    Limit,
}

impl CodecError {
    /// A value that this codec cannot write. For a [`CustomCodec`](super::CustomCodec) to report.
    #[cold]
    pub fn encode(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Encode, &reason)
    }

    /// Bytes that are not what they should be. For a [`CustomCodec`](super::CustomCodec) to report.
    #[cold]
    pub fn decode(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Decode, &reason)
    }

    /// Bytes that ask for more than [`DecodeLimits`](super::DecodeLimits) grants.
    #[cold]
    pub(super) fn limit(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Limit, &reason)
    }

    /// Whether a value could not be written: the fault of this side.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        self.inner.kind == Kind::Encode
    }

    /// Whether bytes could not be read: the fault of the other side. True for limits too.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        !self.is_encode()
    }

    /// Whether bytes could not be read because they exceed [`DecodeLimits`](super::DecodeLimits).
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.inner.kind == Kind::Limit
    }

    /// Says which value it was.
    #[cold]
    pub(super) fn about(self, value: &str) -> Self {
        let verb = if self.is_encode() { "encode" } else { "decode" };
        let message = format!("cannot {verb} {value}: {}", self.inner.message);
        Self::new(self.inner.kind, &message)
    }

    #[cold]
    fn new(kind: Kind, reason: &dyn fmt::Display) -> Self {
        let mut message = reason.to_string();
        if message.len() > MESSAGE_BYTES_MAX {
            let mut end = MESSAGE_BYTES_MAX - "…".len();
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push('…');
        }
        let message = message.into();
        Self {
            inner: Box::new(Inner { kind, message }),
        }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for CodecError {}
