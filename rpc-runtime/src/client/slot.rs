//! Where the answer to one call lands.

use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use rpc_core::connection::Reply;
use rpc_core::{Metadata, Status};
use tokio::task::AbortHandle;

use super::letterbox::Lender;
use super::woken::Woken;
use crate::stream::{Inbox, InboxWriter, Receiver};

/// What a connection keeps for a call from request to the end.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    /// Whom to wake; present while the slot waits.
    pub(super) caller: Option<Waker>,
    /// Where a short reply goes instead.
    pub(super) letterbox: u32,
    /// The streams of the call, if it has any.
    pub(super) streams: Option<Box<CallStreams>>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum Slot {
    /// There is no answer yet.
    Waiting,
    /// The reply.
    Replied(LongReply),
    /// Why there is none.
    Failed(Failure),
    /// The answer was picked up, and items follow it.
    Streaming,
}

/// A reply that is more than a short message.
#[derive(Debug)]
pub(super) struct LongReply {
    pub(super) metadata: Metadata,
    pub(super) body: Bytes,
}

/// The streams of one call.
#[derive(Debug, Default)]
pub(super) struct CallStreams {
    /// Sends the items behind the request.
    pub(super) upload: Option<Upload>,
    /// The upload, while it waits for credit.
    pub(super) uploader: Option<Waker>,
    /// Where the items behind the reply go.
    pub(super) inbox: Option<InboxWriter>,
    /// Where they are taken from, until the reply is picked up.
    pub(super) reader: Option<Arc<Inbox>>,
}

/// A task that ends with the call it sends for.
#[derive(Debug)]
pub(super) struct Upload(pub(super) AbortHandle);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Entry {
    #[inline]
    pub(super) fn new(letterbox: u32, caller: Waker) -> Self {
        Self {
            slot: Slot::Waiting,
            caller: Some(caller),
            letterbox,
            streams: None,
        }
    }

    /// Hands over a reply that is nothing but a message; adds whom to wake to `woken`. True if that is
    /// the end of the call: nothing of it is left here, and nothing to be dropped.
    #[inline]
    pub(super) fn reply(&mut self, message: &[u8], lender: &Lender, woken: &mut Woken) -> bool {
        if self.streams.is_some() {
            self.end_well(woken);
        }
        let Some(caller) = self.caller.take() else {
            return false;
        };
        woken.push_caller(self.letterbox, caller);
        debug_assert!(
            matches!(self.slot, Slot::Waiting) && self.streams.is_none(),
            "nothing else is left, which nobody would drop"
        );
        let is_put = lender.put(self.letterbox, message);
        if !is_put {
            self.keep(message);
        }
        is_put
    }

    /// Ends the streams of a call whose reply has none; adds whom to wake to `woken`.
    #[cold]
    fn end_well(&mut self, woken: &mut Woken) {
        woken.others.extend(self.end(Ok(())));
        self.streams = None;
    }

    /// Keeps a reply that has no letterbox, or is too long for one.
    #[inline(never)]
    fn keep(&mut self, message: &[u8]) {
        self.slot = Slot::Replied(LongReply {
            metadata: Metadata::new(),
            body: Bytes::copy_from_slice(message),
        });
    }

    /// Puts the answer in, and gives the caller to wake.
    #[inline]
    pub(super) fn answer(&mut self, answer: Result<LongReply, Failure>) -> Option<Waker> {
        let caller = self.caller.take()?;
        self.slot = match answer {
            Ok(reply) => Slot::Replied(reply),
            Err(failure) => Slot::Failed(failure),
        };
        Some(caller)
    }

    /// Ends the call and its streams; gives whom to wake.
    pub(super) fn end(&mut self, end: Result<(), Status>) -> Option<Waker> {
        let streams = self.streams.as_mut()?;
        streams.upload = None;
        streams.uploader = None;
        streams.inbox.take()?.end(end)
    }

    /// Ends the streams that do not outlive an answer; gives whom to wake.
    pub(super) fn note_answer(&mut self, answer: &Result<LongReply, Failure>) -> Option<Waker> {
        match answer {
            Err(failure) => self.end(Err(failure.status.clone())),
            // Items follow; both sides may go on.
            Ok(_) if self.streams().reader.is_some() => None,
            Ok(_) => self.end(Ok(())),
        }
    }

    /// Picks up a reply with items behind it; the call goes on.
    pub(super) fn take_streaming_reply(&mut self) -> Option<(Answer, Arc<Inbox>)> {
        let reader = self.streams.as_mut()?.reader.take()?;
        match std::mem::replace(&mut self.slot, Slot::Streaming) {
            Slot::Replied(reply) => Some((Ok(reply.into()), reader)),
            Slot::Failed(failure) => Some((Err(failure), reader)),
            Slot::Waiting | Slot::Streaming => None,
        }
    }

    pub(super) fn streams(&mut self) -> &mut CallStreams {
        self.streams.get_or_insert_default()
    }
}

/// A reply that is nothing but a message, and short: it needs no allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortReply {
    /// length <= BYTES_MAX
    length: usize,
    words: [[u8; WORD_BYTES]; Self::WORDS],
}

impl ShortReply {
    pub(super) const BYTES_MAX: usize = Self::WORDS * WORD_BYTES;
    /// With its state, it takes a line of the cache.
    pub(super) const WORDS: usize = 7;

    /// The message of this length that has these words.
    #[inline]
    pub(super) fn new(length: usize, words: [u64; Self::WORDS]) -> Self {
        let words = words.map(u64::to_le_bytes);
        Self { length, words }
    }
}

pub(super) const WORD_BYTES: usize = size_of::<u64>();

impl Deref for ShortReply {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.words.as_flattened()[..self.length]
    }
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

impl Failure {
    /// Not a `From`: rustc would tell of it whenever `?` does not know an error of the user's.
    pub(crate) fn into_status(self) -> Status {
        self.status
    }
}

/// A reply as it arrived.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) metadata: Metadata,
    pub(crate) body: ReplyBody,
    /// The items behind it, if there are any.
    pub(crate) items: Option<Box<Receiver>>,
}

/// The bytes of a reply.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Short(ShortReply),
    Shared(Bytes),
}

impl RawReply {
    pub(crate) fn empty() -> Self {
        Self {
            metadata: Metadata::new(),
            body: ReplyBody::Shared(Bytes::new()),
            items: None,
        }
    }
}

impl RawReply {
    pub(super) fn with_items(mut self, items: Box<Receiver>) -> Self {
        self.items = Some(items);
        self
    }
}

impl From<ShortReply> for RawReply {
    fn from(short: ShortReply) -> Self {
        Self {
            metadata: Metadata::new(),
            body: ReplyBody::Short(short),
            items: None,
        }
    }
}

impl From<LongReply> for RawReply {
    fn from(reply: LongReply) -> Self {
        Self {
            metadata: reply.metadata,
            body: ReplyBody::Shared(reply.body),
            items: None,
        }
    }
}

impl From<Reply<'_>> for LongReply {
    #[inline]
    fn from(reply: Reply<'_>) -> Self {
        Self {
            metadata: reply.metadata,
            body: reply.body.into_bytes(),
        }
    }
}

impl ReplyBody {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Short(short) => Bytes::copy_from_slice(&short),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Deref for ReplyBody {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(short) => short,
            Self::Shared(bytes) => bytes,
        }
    }
}
