//! Messages that arrive in pieces: `[frame.pieces]`.

mod advance;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::{Bytes, BytesMut};

use self::advance::Advance;
use super::ConnectionError;
use super::landing::Landing;
use crate::Metadata;
use crate::spare;
use crate::wire::{Body, CHUNK_BYTES, Header};

const WITHIN_PIECES: ConnectionError =
    ConnectionError::Violation("a message within the pieces of another");

/// The messages of one connection that are not complete, one for each call at the most.
#[derive(Debug, Default)]
pub(super) struct Assemblies {
    begun: HashMap<u32, Assembly>,
    /// How many of them nobody wants.
    unwanted: usize,
}

/// One message that is not complete.
#[derive(Debug)]
struct Assembly {
    head: Head,
    /// Absent if nobody wants the message any more.
    bytes: Option<BytesMut>,
    missing: usize,
    /// What those bytes were given before they came.
    advance: Option<Advance>,
}

/// What came in front of the pieces.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) header: Header,
    pub(super) metadata: Metadata,
}

/// What a piece led to.
#[derive(Debug)]
pub(super) enum Added {
    /// No message of this call is incomplete.
    Unknown,
    /// More is to come.
    Part,
    /// The message is complete; without its bytes if nobody wants them.
    Whole(Head, Option<Bytes>),
}

/// The length that ends the body of a frame whose message follows in pieces.
pub(super) fn announced_length(body: &Body<'_>) -> Result<usize, ConnectionError> {
    let length = body.first_chunk().filter(|_| body.len() == 4);
    match length.map(|raw| u32::from_le_bytes(*raw) as usize) {
        Some(length) if length > 0 => Ok(length),
        _ => Err(ConnectionError::Violation(
            "a message in pieces without a length",
        )),
    }
}

impl Assemblies {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// How many messages are arriving.
    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// How many messages are arriving that nobody wants.
    pub(super) const fn unwanted(&self) -> usize {
        self.unwanted
    }

    /// A message of this length begins; its pieces are dropped as they come unless it is `wanted`.
    pub(super) fn begin(
        &mut self,
        head: Head,
        length: usize,
        wanted: bool,
    ) -> Result<(), ConnectionError> {
        let Entry::Vacant(vacant) = self.begun.entry(head.header.call) else {
            return Err(WITHIN_PIECES);
        };
        let (bytes, advance) = wanted.then(|| memory(length)).unzip();
        vacant.insert(Assembly {
            head,
            bytes,
            missing: length,
            advance: advance.flatten(),
        });
        self.unwanted += usize::from(!wanted);
        Ok(())
    }

    /// Adds a piece to the message of its call.
    pub(super) fn add(&mut self, call: u32, piece: &[u8]) -> Result<Added, ConnectionError> {
        self.arrived(call, piece.len(), |assembly| {
            let missing = assembly.missing;
            if let Some(bytes) = &mut assembly.bytes {
                if room(bytes) < piece.len() {
                    grow(bytes, piece.len(), missing);
                }
                bytes.extend_from_slice(piece);
            }
        })
    }

    /// Notes that so many bytes of a piece are among the bytes of its message.
    pub(super) fn landed(&mut self, call: u32, count: usize) -> Result<Added, ConnectionError> {
        self.arrived(call, count, |_| {})
    }

    /// The message of a call as far as it has arrived, with room for more of it; nothing if nobody
    /// wants it, or so much of a piece is more than it misses.
    pub(super) fn take(&mut self, call: u32, piece: usize) -> Option<BytesMut> {
        let assembly = self.begun.get_mut(&call)?;
        let missing = assembly.missing;
        let bytes = assembly.bytes.as_mut().filter(|_| piece <= missing)?;
        // Part of a piece is better than much memory before it is here.
        if room(bytes) < piece.min(CHUNK_BYTES / 4) {
            grow(bytes, 0, missing);
        }
        Some(std::mem::take(bytes))
    }

    /// Gives back what was taken; it is dropped if nobody wants it any more.
    pub(super) fn put_back(&mut self, call: u32, bytes: BytesMut) {
        let assembly = self.begun.get_mut(&call);
        if let Some(place) = assembly.and_then(|assembly| assembly.bytes.as_mut()) {
            *place = bytes;
        }
    }

    fn arrived(
        &mut self,
        call: u32,
        count: usize,
        put: impl FnOnce(&mut Assembly),
    ) -> Result<Added, ConnectionError> {
        let Entry::Occupied(mut entry) = self.begun.entry(call) else {
            return Ok(Added::Unknown);
        };
        let assembly = entry.get_mut();
        let rest = assembly.missing.checked_sub(count);
        let rest = rest
            .filter(|_| count > 0)
            .ok_or(ConnectionError::Violation(
                "a piece beyond the end of its message",
            ))?;
        put(assembly);
        assembly.missing = rest;
        if rest > 0 {
            return Ok(Added::Part);
        }
        let whole = entry.remove();
        self.unwanted -= usize::from(whole.bytes.is_none());
        Ok(Added::Whole(whole.head, whole.bytes.map(spare::keep)))
    }

    /// Another message of this call is here, or the end of its stream: none may be incomplete.
    pub(super) fn check_complete(&self, call: u32) -> Result<(), ConnectionError> {
        if self.begun.contains_key(&call) {
            return Err(WITHIN_PIECES);
        }
        Ok(())
    }

    /// Nobody wants the message any more, but its pieces are still on their way.
    pub(super) fn ignore(&mut self, call: u32) {
        let begun = self.begun.get_mut(&call);
        let Some(assembly) = begun else {
            return;
        };
        assembly.advance = None;
        self.unwanted += usize::from(assembly.bytes.take().is_some());
    }

    /// No further piece of this message will come, or none is to be noticed.
    pub(super) fn forget(&mut self, call: u32) {
        let forgotten = self.begun.remove(&call);
        self.unwanted -= usize::from(forgotten.is_some_and(|it| it.bytes.is_none()));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Memory for a message of this length: all of it, or what is to [`grow`] as the message comes.
fn memory(length: usize) -> (BytesMut, Option<Advance>) {
    let capacity = length + Landing::BEHIND_BYTES;
    let spare = spare::take(capacity);
    // What is short is given whole anyway, as soon as any of it is here.
    if spare.capacity() > 0 || length <= CHUNK_BYTES {
        return (spare, None);
    }
    let granted = Advance::grant(capacity);
    granted.map_or((spare, None), |(bytes, advance)| (bytes, Some(advance)))
}

/// How much fits in, with what is read behind it.
fn room(bytes: &BytesMut) -> usize {
    (bytes.capacity() - bytes.len()).saturating_sub(Landing::BEHIND_BYTES)
}

/// Makes room for so many bytes that have arrived, of so many that are missing, and for more of them:
/// that grows with what has arrived, not with what was announced.
fn grow(bytes: &mut BytesMut, arrived: usize, missing: usize) {
    let ahead = bytes.len().max(CHUNK_BYTES).min(missing - arrived);
    bytes.reserve(arrived + ahead + Landing::BEHIND_BYTES);
}
