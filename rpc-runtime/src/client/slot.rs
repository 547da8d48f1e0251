//! Where the answer to one call lands.

use std::ops::Deref;
use std::task::Waker;

use bytes::Bytes;
use rpc_core::connection::Reply;
use rpc_core::wire::Body;
use rpc_core::{Metadata, Status};

/// Replies up to this length are copied into the slot: no allocation, and the caller decodes them
/// in its own task.
const INLINE_BYTES: usize = 48;

/// What a connection keeps for a call from request to pick-up.
#[derive(Debug)]
pub(super) enum Slot {
    /// The caller to wake.
    Waiting(Waker),
    /// The answer.
    Answered(Answer),
}

/// The answer to a call, not yet decoded.
pub(crate) type Answer = Result<RawReply, Failure>;

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// The server knows no method with the id that was sent.
    pub(crate) unknown_method: bool,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self {
            status,
            unknown_method: false,
        }
    }
}

/// A reply as it arrived.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) metadata: Metadata,
    pub(crate) body: ReplyBody,
}

/// The bytes of a reply.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// The first `length` bytes.
    Inline {
        length: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Shared(Bytes),
}

impl RawReply {
    pub(crate) fn empty() -> Self {
        Self {
            metadata: Metadata::new(),
            body: ReplyBody::Shared(Bytes::new()),
        }
    }
}

impl From<Reply<'_>> for RawReply {
    #[inline]
    fn from(reply: Reply<'_>) -> Self {
        Self {
            metadata: reply.metadata,
            body: reply.body.into(),
        }
    }
}

impl From<Body<'_>> for ReplyBody {
    #[inline]
    fn from(body: Body<'_>) -> Self {
        if body.len() > INLINE_BYTES {
            return Self::Shared(body.into_bytes());
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..body.len()].copy_from_slice(&body);
        Self::Inline {
            length: body.len() as u8,
            bytes,
        }
    }
}

impl ReplyBody {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Inline { length, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(length)]),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Deref for ReplyBody {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(bytes) => bytes,
        }
    }
}
