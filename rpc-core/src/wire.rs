//! The bytes of the protocol: hello, header, frames; see `docs/protocol.md`.
//!
//! Who decides what a frame means? Not this module: it turns bytes into legal frames and back, and
//! knows nothing of calls. [`connection`](crate::connection) gives them meaning.

mod body;
mod decoder;
mod header;
mod hello;
mod outgoing;

pub use body::Body;
pub use decoder::{Decoder, Frame};
pub use header::{Flags, HEADER_BYTES, Header, Kind};
pub use hello::{Ack, EXTENSION_BYTES_MAX, HELLO_BYTES, Hello, MAGIC, VERSION, Verdict};
pub use outgoing::{Batch, Encoded, Flat, ItemError, Outgoing, Parts};

pub(crate) use body::{cut_at_char, metadata_and_rest};
pub(crate) use hello::{read_ack, read_hello};
pub(crate) use outgoing::{FrameError, LENGTH_BYTES};

use std::error::Error;
use std::fmt;

/// A message above this follows its frame in pieces of this size, and other frames go in between:
/// 64 KiB. Fixed.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The longest frame of items: 80 KiB. Fixed.
///
/// A last piece takes with it what would be a small one behind it: a message of 64 KiB, and whatever
/// little is added to it, goes in one.
pub const CHUNK_BYTES_MAX: usize = 80 * 1024;

/// The longest that pieces are made while nothing small is sent besides: 1 MiB. Fixed.
pub(crate) const LONG_CHUNK_BYTES: usize = 1024 * 1024;

/// The longest piece: 1280 KiB. Fixed.
pub const LONG_CHUNK_BYTES_MAX: usize = 1280 * 1024;

/// How long a row of several long items becomes: two of 64 KiB with their lengths, 129 KiB.
pub(crate) const ROW_BYTES_MAX: usize = 129 * 1024;

/// What comes behind a request or a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Follows {
    /// Nothing.
    #[default]
    Nothing,
    /// The items of a stream.
    Items,
}

/// Bytes that no peer of this protocol sends; the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The stream does not start with the magic.
    BadMagic {
        /// The bytes that came instead.
        found: Vec<u8>,
    },
    /// A hello or ack that breaks its own lengths.
    BadHello(&'static str),
    /// A length field beyond what may be skipped.
    FrameTooLarge {
        /// The length announced.
        length: u32,
        /// The longest body that is accepted.
        limit: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic { found } => write!(
                f,
                "the peer does not speak rpc: the stream starts with {found:02x?}, expected {MAGIC:02x?}"
            ),
            Self::BadHello(why) => write!(f, "malformed hello: {why}"),
            Self::FrameTooLarge { length, limit } => write!(
                f,
                "a frame announces a body of {length} bytes; the limit is {limit}"
            ),
        }
    }
}

impl Error for WireError {}
