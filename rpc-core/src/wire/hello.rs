//! The first bytes of a connection in each direction.

mod ack;
mod block;

pub(crate) use ack::read_ack;
pub use ack::{Ack, Verdict};

use super::WireError;
use block::{Block, Entries, features, number, read_block, stream_limits};

use crate::StreamLimits;

/// How every connection starts; not a letter and not `0x16`, so HTTP and TLS can share the port.
pub const MAGIC: [u8; 4] = [0x93, b'r', b'p', b'c'];
/// The only version so far.
pub const VERSION: u8 = 1;
/// The fixed part of hello and ack.
pub const HELLO_BYTES: usize = 16;
/// The longest extension block.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Feature bit: its sender reports what it reads of pieces.
const REPORTS: u32 = 1;

mod extension {
    pub(super) const MESSAGE_BYTES_MAX: u16 = 1;
    pub(super) const CALLS_MAX: u16 = 2;
    pub(super) const SERVICES: u16 = 3;
    pub(super) const CODECS: u16 = 4;
    pub(super) const VERSIONS: u16 = 5;
    pub(super) const REASON: u16 = 6;
    pub(super) const STREAM_LIMITS: u16 = 7;
    /// Kinds from here on must be understood.
    pub(super) const CRITICAL: u16 = 0x8000;
}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The highest version the client speaks.
    pub version_max: u8,
    /// The lowest version the client speaks.
    pub version_min: u8,
    /// The codec of all bodies.
    pub codec: u8,
    /// The compression of all bodies; 0 is none.
    pub compression: u8,
    /// The longest message the client accepts.
    pub message_bytes_max: u32,
    /// How much of streams the client takes.
    pub stream_limits: StreamLimits,
    /// The client says what it reads of pieces, and knows what to make of it if the server does.
    pub reports: bool,
}

impl Hello {
    /// A hello of this version with a codec and a limit.
    #[must_use]
    pub const fn new(codec: u8, message_bytes_max: u32) -> Self {
        Self {
            version_max: VERSION,
            version_min: VERSION,
            codec,
            compression: 0,
            message_bytes_max,
            stream_limits: StreamLimits::SHIPPED,
            reports: true,
        }
    }

    /// Appends the bytes of `[open.hello]`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let versions = [self.version_max, self.version_min];
        let features = if self.reports { REPORTS } else { 0 };
        let mut block = Block::begin(out, versions, self.codec, self.compression, features);
        let limit = self.message_bytes_max.to_le_bytes();
        block.entry(extension::MESSAGE_BYTES_MAX, &limit);
        block.stream_limits(self.stream_limits);
        block.finish();
    }
}

/// Takes what belongs to a hello from the input; `None` until it is complete.
pub(crate) fn read_hello(
    buffer: &mut Vec<u8>,
    input: &mut &[u8],
) -> Result<Option<Hello>, WireError> {
    let Some((fixed, entries)) = read_block(buffer, input)? else {
        return Ok(None);
    };
    let mut hello = Hello {
        version_max: fixed[4],
        version_min: fixed[5],
        codec: fixed[6],
        compression: fixed[7],
        message_bytes_max: u32::MAX,
        stream_limits: StreamLimits::SHIPPED,
        reports: features(fixed) & REPORTS != 0,
    };
    for entry in Entries(entries) {
        let (kind, value) = entry?;
        match kind {
            extension::MESSAGE_BYTES_MAX => hello.message_bytes_max = number(value)?,
            extension::STREAM_LIMITS => hello.stream_limits = stream_limits(value)?,
            kind if kind >= extension::CRITICAL => {
                return Err(WireError::BadHello(
                    "an extension that must be understood is unknown",
                ));
            }
            _ => {}
        }
    }
    Ok(Some(hello))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_hello() {
        // [open.hello] [open.magic] S1-8: codec, compression, lengths, version at fixed places.
        let mut bytes = Vec::new();
        Hello::new(1, 4 << 20).encode(&mut bytes);
        let golden = [
            0x93, b'r', b'p', b'c', 1, 1, 1, 0, 1, 0, 0, 0, 8, 0, 0, 0, // fixed part
            1, 0, 4, 0, 0x00, 0x00, 0x40, 0x00, // entry: message limit
        ];
        assert_eq!(bytes, golden);
        let first = MAGIC[0];
        assert!(!first.is_ascii_alphabetic() && first != 0x16);
    }

    #[test]
    fn an_ack_survives_the_wire_cut_anywhere() {
        // [open.ack] [open.extension]
        let mut ack = Ack::new(Verdict::UnsupportedCodec, 9, 0);
        ack.message_bytes_max = 77;
        ack.calls_max = 1024;
        ack.services = vec!["Greeter".into(), "math.Arith".into()];
        ack.codecs = vec![(1, "bincode".into()), (2, "json".into())];
        ack.versions = Some((1, 1));
        ack.reason = "no codec 9".into();
        let mut bytes = Vec::new();
        ack.encode(&mut bytes);
        bytes.extend_from_slice(b"frames");
        for cut in 0..bytes.len() {
            let (mut first, mut second) = bytes.split_at(cut);
            let mut buffer = Vec::new();
            let early = read_ack(&mut buffer, &mut first).unwrap();
            let read = early.or_else(|| read_ack(&mut buffer, &mut second).unwrap());
            assert_eq!(read, Some(ack.clone()), "cut at {cut}");
            let rest = [first, second].concat();
            assert_eq!(rest, b"frames", "only the ack is taken");
        }
    }

    #[test]
    fn a_stranger_is_recognised_at_its_first_byte() {
        // [open.magic] S1-12
        for stranger in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01",
            b"\x93rpX",
            b"\0",
        ] {
            let refused = read_hello(&mut Vec::new(), &mut &stranger[..]);
            assert!(
                matches!(refused, Err(WireError::BadMagic { .. })),
                "{stranger:?}"
            );
        }
    }

    #[test]
    fn unknown_extensions_are_skipped_unless_critical() {
        // [open.extension]
        let with = |kind: u16| {
            let mut bytes = Vec::new();
            let mut block = Block::begin(&mut bytes, [1, 1], 1, 0, 0);
            block.entry(kind, b"?");
            block.finish();
            read_hello(&mut Vec::new(), &mut &bytes[..])
        };
        assert!(with(0x7fff).unwrap().is_some());
        assert!(with(0x8000).is_err());
    }
}
