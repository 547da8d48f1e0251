//! The first bytes of a connection in each direction.

use super::{WireError, cut_at_char};

/// How every connection starts; not a letter and not `0x16`, so HTTP and TLS can share the port.
pub const MAGIC: [u8; 4] = [0x93, b'r', b'p', b'c'];
/// The only version so far.
pub const VERSION: u8 = 1;
/// The fixed part of hello and ack.
pub const HELLO_BYTES: usize = 16;
/// The longest extension block.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;

mod extension {
    pub(super) const MESSAGE_BYTES_MAX: u16 = 1;
    pub(super) const CALLS_MAX: u16 = 2;
    pub(super) const SERVICES: u16 = 3;
    pub(super) const CODECS: u16 = 4;
    pub(super) const VERSIONS: u16 = 5;
    pub(super) const REASON: u16 = 6;
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
        }
    }

    /// Appends the bytes of `[open.hello]`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let versions = [self.version_max, self.version_min];
        let mut block = Block::begin(out, versions, self.codec, self.compression);
        let limit = self.message_bytes_max.to_le_bytes();
        block.entry(extension::MESSAGE_BYTES_MAX, &limit);
        block.finish();
    }
}

/// The server's verdict on a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Frames follow.
    Accepted,
    /// No version in common.
    UnsupportedVersion,
    /// The server does not have that codec.
    UnsupportedCodec,
    /// The server does not have that compression.
    UnsupportedCompression,
    /// The hello breaks its own format.
    MalformedHello,
    /// The server has no room for another connection.
    TooManyConnections,
    /// A refusal that this version does not know.
    Other(u8),
}

impl Verdict {
    const KNOWN: [Self; 6] = [
        Self::Accepted,
        Self::UnsupportedVersion,
        Self::UnsupportedCodec,
        Self::UnsupportedCompression,
        Self::MalformedHello,
        Self::TooManyConnections,
    ];

    fn number(self) -> u8 {
        match self {
            Self::Other(number) => number,
            known => Self::KNOWN.iter().position(|v| *v == known).unwrap_or(0) as u8,
        }
    }

    fn from_number(number: u8) -> Self {
        let known = Self::KNOWN.get(usize::from(number)).copied();
        known.unwrap_or(Self::Other(number))
    }
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// The version chosen; in a refusal the highest supported.
    pub version: u8,
    /// Whether frames follow.
    pub verdict: Verdict,
    /// The codec, echoed.
    pub codec: u8,
    /// The compression, echoed.
    pub compression: u8,
    /// The longest message the server accepts.
    pub message_bytes_max: u32,
    /// How many calls may be in flight.
    pub calls_max: u32,
    /// The wire names of the services here; empty also if they are too many for an ack.
    pub services: Vec<String>,
    /// The codecs supported, by id and name.
    pub codecs: Vec<(u8, String)>,
    /// The versions supported, lowest and highest; only in a refusal.
    pub versions: Option<(u8, u8)>,
    /// Why not; only in a refusal.
    pub reason: String,
}

impl Ack {
    /// An ack with a verdict on a hello; the rest is empty.
    #[must_use]
    pub const fn new(verdict: Verdict, codec: u8, compression: u8) -> Self {
        Self {
            version: VERSION,
            verdict,
            codec,
            compression,
            message_bytes_max: 0,
            calls_max: 0,
            services: Vec::new(),
            codecs: Vec::new(),
            versions: None,
            reason: String::new(),
        }
    }

    /// Appends the bytes of `[open.ack]`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = [self.version, self.verdict.number()];
        let mut block = Block::begin(out, head, self.codec, self.compression);
        block.entry(
            extension::MESSAGE_BYTES_MAX,
            &self.message_bytes_max.to_le_bytes(),
        );
        block.entry(extension::CALLS_MAX, &self.calls_max.to_le_bytes());
        let codecs: Vec<u8> = self
            .codecs
            .iter()
            .flat_map(|(id, name)| named(Some(*id), name))
            .collect();
        block.entry(extension::CODECS, &codecs);
        let services: Vec<u8> = self
            .services
            .iter()
            .flat_map(|name| named(None, name))
            .collect();
        block.entry(extension::SERVICES, &services);
        if let Some((lowest, highest)) = self.versions {
            block.entry(extension::VERSIONS, &[lowest, highest]);
        }
        if !self.reason.is_empty() {
            block.entry(extension::REASON, self.reason.as_bytes());
        }
        block.finish();
    }
}

/// An entry of a list: an id if there is one, the length of the name, the name.
fn named(id: Option<u8>, name: &str) -> Vec<u8> {
    let name = cut_at_char(name, usize::from(u8::MAX));
    let head = id.into_iter().chain([name.len() as u8]);
    head.chain(name.bytes()).collect()
}

/// Writes the fixed part, then entries, then the length of the entries into the fixed part.
struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Block<'a> {
    fn begin(out: &'a mut Vec<u8>, head: [u8; 2], codec: u8, compression: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&head);
        out.extend_from_slice(&[codec, compression]);
        out.extend_from_slice(&[0; 8]);
        Self { out, start }
    }

    /// Adds an entry, unless the block would grow over its limit: what does not fit is optional.
    fn entry(&mut self, kind: u16, value: &[u8]) {
        let used = self.out.len() - self.start - HELLO_BYTES;
        if used + 4 + value.len() > EXTENSION_BYTES_MAX {
            return;
        }
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out
            .extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.out.extend_from_slice(value);
    }

    fn finish(self) {
        let length = (self.out.len() - self.start - HELLO_BYTES) as u32;
        let field = self.start + 12..self.start + 16;
        self.out[field].copy_from_slice(&length.to_le_bytes());
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
    };
    for entry in Entries(entries) {
        let (kind, value) = entry?;
        match kind {
            extension::MESSAGE_BYTES_MAX => hello.message_bytes_max = number(value)?,
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

/// Takes what belongs to an ack from the input; `None` until it is complete.
pub(crate) fn read_ack(buffer: &mut Vec<u8>, input: &mut &[u8]) -> Result<Option<Ack>, WireError> {
    let Some((fixed, entries)) = read_block(buffer, input)? else {
        return Ok(None);
    };
    let mut ack = Ack::new(Verdict::from_number(fixed[5]), fixed[6], fixed[7]);
    ack.version = fixed[4];
    // A limit that is not announced does not limit.
    ack.message_bytes_max = u32::MAX;
    ack.calls_max = u32::MAX;
    for entry in Entries(entries) {
        let (kind, value) = entry?;
        match kind {
            extension::MESSAGE_BYTES_MAX => ack.message_bytes_max = number(value)?,
            extension::CALLS_MAX => ack.calls_max = number(value)?,
            extension::SERVICES => {
                ack.services = names(value, false)?.into_iter().map(|n| n.1).collect()
            }
            extension::CODECS => ack.codecs = names(value, true)?,
            extension::VERSIONS => {
                ack.versions = value.first_chunk().map(|[low, high]| (*low, *high))
            }
            extension::REASON => ack.reason = text(value)?,
            kind if kind >= extension::CRITICAL => {
                return Err(WireError::BadHello(
                    "an extension that must be understood is unknown",
                ));
            }
            _ => {}
        }
    }
    Ok(Some(ack))
}

/// The fixed part and the extension block.
type Parts<'b> = (&'b [u8; HELLO_BYTES], &'b [u8]);

/// Collects the fixed part and the extension block in `buffer`.
fn read_block<'b>(
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
struct Entries<'a>(&'a [u8]);

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

fn number(value: &[u8]) -> Result<u32, WireError> {
    let raw = value
        .try_into()
        .map_err(|_| WireError::BadHello("a limit is not four bytes"))?;
    Ok(u32::from_le_bytes(raw))
}

fn text(value: &[u8]) -> Result<String, WireError> {
    let text =
        std::str::from_utf8(value).map_err(|_| WireError::BadHello("a text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// A list of names, each behind an id if `with_id`.
fn names(mut list: &[u8], with_id: bool) -> Result<Vec<(u8, String)>, WireError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_hello() {
        // [open.hello] [open.magic] S1-8: codec, compression, lengths, version at fixed places.
        let mut bytes = Vec::new();
        Hello::new(1, 4 << 20).encode(&mut bytes);
        let golden = [
            0x93, b'r', b'p', b'c', 1, 1, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, // fixed part
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
            let mut block = Block::begin(&mut bytes, [1, 1], 1, 0);
            block.entry(kind, b"?");
            block.finish();
            read_hello(&mut Vec::new(), &mut &bytes[..])
        };
        assert!(with(0x7fff).unwrap().is_some());
        assert!(with(0x8000).is_err());
    }
}
