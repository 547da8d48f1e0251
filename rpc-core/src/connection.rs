//! What one connection does: events in, bytes out, time as an argument.
//!
//! Where are the sockets, tasks and locks? With the caller: it feeds [`ClientConnection`] or
//! [`ServerConnection`] with what it read and with the current time, and writes what it finds in
//! their [`Outgoing`] buffer.

mod assembly;
mod cancels;
mod client;
mod guard;
mod ids;
mod landing;
mod liveness;
mod pace;
mod server;
mod slots;
mod streams;

pub use client::{ClientConfig, ClientConnection, ClientEvent, Reply, RequestHead, StartError};
pub use landing::{Arriving, Behind, Landing};
pub use liveness::KeepAlive;
pub use server::{
    Answered, PlainRequest, PlainRequests, Replies, ServerConfig, ServerConnection, ServerEvent,
    ServerRequest, Unended,
};
pub use streams::{Sent, Streams};

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pace::TokenBucket;

use crate::status::Shown;
use crate::wire::{Ack, Header, Kind, MAGIC, Outgoing, Verdict, WireError, cut_at_char};

/// Names one call of a connection; rises from call to call and is never used again.
///
/// 64 bits of which 32 travel: see `[call.id]` in `docs/protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl CallId {
    /// The smallest id there is.
    pub const FIRST: Self = Self(1);

    /// All 64 bits.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    const fn wire(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({})", self.0)
    }
}

/// Why a connection ended; every call that was open ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer sent bytes that are not this protocol.
    Wire(WireError),
    /// The other side does not open: client's view of a refusal, or server's view of a bad hello.
    Refused(Refusal),
    /// No complete hello or ack in time.
    HandshakeTimeout(Duration),
    /// The peer broke a rule of the protocol.
    Violation(&'static str),
    /// The peer does something too often.
    EnhanceYourCalm(&'static str),
    /// The peer sends a frame so slowly that it looks like an attack.
    Stalled,
    /// The peer has not answered a ping.
    Silent,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Refused(refusal) => write!(f, "connection refused: {refusal}"),
            Self::HandshakeTimeout(time) => write!(f, "no complete handshake within {time:?}"),
            Self::Violation(what) => write!(f, "protocol violation by the peer: {what}"),
            Self::EnhanceYourCalm(what) => write!(f, "enhance your calm: the peer {what}"),
            Self::Stalled => f.write_str("a frame takes longer than 10 s at less than 1 KiB/s"),
            Self::Silent => f.write_str("the peer is silent and does not answer pings"),
        }
    }
}

impl Error for ConnectionError {}

impl From<WireError> for ConnectionError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// A hello that was not accepted, with what would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Which part was not accepted.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    /// The versions supported by the server, lowest and highest.
    pub versions: (u8, u8),
    /// The codecs supported by the server, by id and name.
    pub codecs: Vec<(u8, String)>,
}

impl Refusal {
    fn from_ack(ack: &Ack) -> Self {
        Self {
            verdict: ack.verdict,
            reason: ack.reason.clone(),
            versions: ack.versions.unwrap_or((ack.version, ack.version)),
            codecs: ack.codecs.clone(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason.as_str() {
            "" => "no reason given",
            reason => reason,
        };
        let (lowest, highest) = self.versions;
        write!(
            f,
            "{}; supported are magic {MAGIC:02x?}, versions {lowest} to {highest}, ",
            Shown(reason)
        )?;
        if self.codecs.is_empty() {
            return f.write_str("no codec listed");
        }
        f.write_str("codecs")?;
        for (index, (id, name)) in self.codecs.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {} ({id})", Shown(name))?;
        }
        Ok(())
    }
}

/// Cancels that a server takes from one client.
const CANCELS_PER_SECOND_MAX: u32 = 100;
const CANCELS_BURST_MAX: u32 = 200;

/// Frames without request or answer that either side takes from the other.
const CONTROL_FRAMES_PER_SECOND_MAX: u32 = 1000;
const TOO_MUCH_CONTROL: ConnectionError =
    ConnectionError::EnhanceYourCalm("sends more than 1000 control frames a second");

fn control_pace(now: Instant) -> TokenBucket {
    let most = CONTROL_FRAMES_PER_SECOND_MAX;
    TokenBucket::new(most, most, now)
}

/// While more than this waits, pings are not answered: a peer that reads will hear the rest first.
const PONG_BEHIND_BYTES_MAX: usize = 64 * 1024;

/// Answers a ping.
fn pong(outgoing: &mut Outgoing, body: &[u8]) -> Result<(), ConnectionError> {
    if body.len() != 8 {
        return Err(ConnectionError::Violation(
            "a ping that has not eight bytes",
        ));
    }
    if outgoing.len() <= PONG_BEHIND_BYTES_MAX {
        outgoing.control(Header::new(Kind::Pong, 0), body);
    }
    Ok(())
}

/// Asks the peer whether it is there.
fn ping(outgoing: &mut Outgoing) {
    outgoing.control(Header::new(Kind::Ping, 0), &[0; 8]);
}

const LONG_FRAME: ConnectionError =
    ConnectionError::Violation("a frame of items, or a piece, that is too long");
const NO_SUCH_CALL: ConnectionError =
    ConnectionError::Violation("a frame of a call that never was");

/// The peer has read pieces; true if it says so in less than reasonable portions.
fn read_report(
    outgoing: &mut Outgoing,
    body: &[u8],
    now: Instant,
) -> Result<bool, ConnectionError> {
    let bytes = <[u8; 4]>::try_from(body).map(u32::from_le_bytes);
    let known = bytes
        .ok()
        .and_then(|bytes| outgoing.pieces_read(bytes, now));
    known.ok_or(ConnectionError::Violation(
        "a report of pieces that were not sent",
    ))
}

/// Frames of this many unknown kinds are skipped before the connection is closed.
const UNKNOWN_FRAMES_MAX: u32 = 1000;

/// The body of a go-away: `[body.go-away]`.
fn go_away_body(last: u64, reason: &str) -> Vec<u8> {
    let mut body = last.to_le_bytes().to_vec();
    body.extend_from_slice(cut_text(reason).as_bytes());
    body
}

fn read_go_away(body: &[u8]) -> Result<(u64, String), ConnectionError> {
    let (last, reason) = body
        .split_first_chunk()
        .ok_or(ConnectionError::Violation("a go-away without a call id"))?;
    let reason = String::from_utf8_lossy(reason).into_owned();
    Ok((u64::from_le_bytes(*last), reason))
}

/// Text travels up to 4 KiB.
fn cut_text(text: &str) -> &str {
    cut_at_char(text, 4096)
}

/// Keeps a body that has to outlive the read buffer, or nothing if it is empty.
fn owned(body: &[u8]) -> Option<Bytes> {
    (!body.is_empty()).then(|| Bytes::copy_from_slice(body))
}
