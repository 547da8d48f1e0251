//! The 16 bytes in front of every frame.

/// The size of a header on the wire.
pub const HEADER_BYTES: usize = 16;
/// Where in a header the flags are.
pub(super) const FLAGS_OFFSET: usize = 9;

/// What a frame is; numbers of `docs/protocol.md` `[frame.kinds]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A call from the client.
    Request,
    /// The reply of a handler.
    Response,
    /// Why there is no reply.
    Error,
    /// The caller gave up.
    Cancel,
    /// Items of a stream.
    Item,
    /// No further item.
    End,
    /// Permission to send more items.
    Credit,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// No further call is accepted.
    GoAway,
    /// A piece of a body that is too large for one frame.
    Chunk,
    /// A kind that this version does not know.
    Unknown(u8),
}

impl Kind {
    const KNOWN: [Self; 11] = [
        Self::Request,
        Self::Response,
        Self::Error,
        Self::Cancel,
        Self::Item,
        Self::End,
        Self::Credit,
        Self::Ping,
        Self::Pong,
        Self::GoAway,
        Self::Chunk,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Error => 3,
            Self::Cancel => 4,
            Self::Item => 5,
            Self::End => 6,
            Self::Credit => 7,
            Self::Ping => 8,
            Self::Pong => 9,
            Self::GoAway => 10,
            Self::Chunk => 11,
            Self::Unknown(number) => number,
        }
    }

    #[inline]
    fn from_number(number: u8) -> Self {
        let index = usize::from(number).wrapping_sub(1);
        let known = Self::KNOWN.get(index).copied();
        known.unwrap_or(Self::Unknown(number))
    }
}

/// The flag bits of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The body starts with metadata.
    pub const METADATA: Self = Self(1);
    /// The caller does not wait for an answer.
    pub const ONEWAY: Self = Self(1 << 1);
    /// The handler provably did not run.
    pub const NOT_PROCESSED: Self = Self(1 << 2);
    /// The body ends with an encoded typed error.
    pub const TYPED: Self = Self(1 << 3);
    /// No method has this id here.
    pub const UNKNOWN_METHOD: Self = Self(1 << 4);
    /// The message follows in pieces; the body ends with its length.
    pub const MORE: Self = Self(1 << 5);
    /// Items of a stream follow.
    pub const ITEMS: Self = Self(1 << 6);
    /// The window of the stream was full before these items were sent.
    pub const WAITED: Self = Self(1 << 7);

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// True if all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits, and those of `other` if `condition` holds.
    #[must_use]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// True if a bit is set that is not in `allowed`.
    #[must_use]
    pub const fn exceeds(self, allowed: Self) -> bool {
        self.0 & !allowed.0 != 0
    }
}

/// A parsed header. Every bit pattern is one: what it means is decided per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Bytes of body that follow.
    pub length: u32,
    /// The low 32 bits of the call id; 0 for the connection itself.
    pub call: u32,
    /// What the frame is.
    pub kind: Kind,
    /// Flag bits.
    pub flags: Flags,
    /// Request: packed remaining time; error: code.
    pub extra: u16,
    /// Request: method id.
    pub method: u32,
}

impl Header {
    /// A header with this kind and call; the other fields are zero.
    #[must_use]
    pub const fn new(kind: Kind, call: u32) -> Self {
        Self {
            length: 0,
            call,
            kind,
            flags: Flags::NONE,
            extra: 0,
            method: 0,
        }
    }

    /// Reads the sixteen bytes.
    #[inline]
    #[must_use]
    pub fn parse(raw: &[u8; HEADER_BYTES]) -> Self {
        let bits = u128::from_le_bytes(*raw);
        Self {
            length: bits as u32,
            call: (bits >> 32) as u32,
            kind: Kind::from_number((bits >> 64) as u8),
            flags: Flags((bits >> 72) as u8),
            extra: (bits >> 80) as u16,
            method: (bits >> 96) as u32,
        }
    }

    /// The sixteen bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let bits = u128::from(self.length)
            | u128::from(self.call) << 32
            | u128::from(self.kind.number()) << 64
            | u128::from(self.flags.0) << 72
            | u128::from(self.extra) << 80
            | u128::from(self.method) << 96;
        bits.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_header() {
        // [frame.header] S0-5 S1-2: the layout is a promise to every other implementation.
        let header = Header {
            length: 0x0102_0304,
            call: 0x1112_1314,
            kind: Kind::Request,
            flags: Flags::METADATA.with(Flags::ONEWAY),
            extra: 0x2122,
            method: 0x3132_3334,
        };
        let golden = [
            0x04, 0x03, 0x02, 0x01, 0x14, 0x13, 0x12, 0x11, 1, 0b11, 0x22, 0x21, 0x34, 0x33, 0x32,
            0x31,
        ];
        assert_eq!(header.to_bytes(), golden);
        assert_eq!(Header::parse(&golden), header);
    }

    #[test]
    fn every_kind_has_its_number() {
        // [frame.kinds]
        for (index, kind) in Kind::KNOWN.into_iter().enumerate() {
            assert_eq!(usize::from(kind.number()), index + 1);
        }
        for number in 0..=u8::MAX {
            assert_eq!(Kind::from_number(number).number(), number);
        }
    }
}
