//! What a server answers to a hello.

use super::block::{Block, Entries, features, names, number, read_block, stream_limits, text};
use super::{REPORTS, VERSION, extension};
use crate::StreamLimits;
use crate::wire::{WireError, cut_at_char};

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
    /// How much of streams the server takes.
    pub stream_limits: StreamLimits,
    /// Client and server say what they read of pieces.
    pub reports: bool,
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
            stream_limits: StreamLimits::SHIPPED,
            reports: false,
            services: Vec::new(),
            codecs: Vec::new(),
            versions: None,
            reason: String::new(),
        }
    }

    /// Appends the bytes of `[open.ack]`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = [self.version, self.verdict.number()];
        let features = if self.reports { REPORTS } else { 0 };
        let mut block = Block::begin(out, head, self.codec, self.compression, features);
        block.entry(
            extension::MESSAGE_BYTES_MAX,
            &self.message_bytes_max.to_le_bytes(),
        );
        block.entry(extension::CALLS_MAX, &self.calls_max.to_le_bytes());
        block.stream_limits(self.stream_limits);
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

/// Takes what belongs to an ack from the input; `None` until it is complete.
pub(crate) fn read_ack(buffer: &mut Vec<u8>, input: &mut &[u8]) -> Result<Option<Ack>, WireError> {
    let Some((fixed, entries)) = read_block(buffer, input)? else {
        return Ok(None);
    };
    let mut ack = Ack::new(Verdict::from_number(fixed[5]), fixed[6], fixed[7]);
    ack.version = fixed[4];
    ack.reports = features(fixed) & REPORTS != 0;
    // A limit that is not announced does not limit.
    ack.message_bytes_max = u32::MAX;
    ack.calls_max = u32::MAX;
    for entry in Entries(entries) {
        let (kind, value) = entry?;
        match kind {
            extension::MESSAGE_BYTES_MAX => ack.message_bytes_max = number(value)?,
            extension::STREAM_LIMITS => ack.stream_limits = stream_limits(value)?,
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
