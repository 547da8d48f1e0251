//! Where the answer to one call lands.

use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use rpc_core::connection::Reply;
use rpc_core::wire::Body;
use rpc_core::{Metadata, Status};
use tokio::task::AbortHandle;

use super::woken::Woken;
use crate::stream::{Inbox, InboxWriter, Receiver};

/// Replies up to this length are copied into the slot: no allocation, and the caller decodes them
/// in its own task.
const INLINE_BYTES: usize = 48;

/// What a connection keeps for a call from request to the end.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    /// Whom to wake; present while the slot waits.
    pub(super) caller: Option<Waker>,
    /// Where it is in the table of the connection, or was when the call began.
    index: usize,
    /// The streams of the call, if it has any.
    pub(super) streams: Option<Box<CallStreams>>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum Slot {
    /// There is no answer yet.
    Waiting,
    /// A reply that is nothing but a short message.
    Short(ShortReply),
    /// The answer.
    Answered(Answer),
    /// The answer was picked up, and items follow it.
    Streaming,
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
    pub(super) fn new(index: usize, caller: Waker) -> Self {
        Self {
            slot: Slot::Waiting,
            caller: Some(caller),
            index,
            streams: None,
        }
    }

    /// Puts a reply in that is nothing but a message; adds whom to wake to `woken`.
    #[inline]
    pub(super) fn reply(&mut self, message: &[u8], woken: &mut Woken) {
        if self.streams.is_some() {
            woken.others.extend(self.end(Ok(())));
        }
        if message.len() > INLINE_BYTES {
            let reply = RawReply {
                metadata: Metadata::new(),
                body: ReplyBody::Shared(Bytes::copy_from_slice(message)),
                items: None,
            };
            if let Some(caller) = self.answer(Ok(reply)) {
                woken.push_caller(self.index, caller);
            }
        } else if let Some(caller) = self.caller.take() {
            // Written where it stays.
            self.slot = Slot::Short(ShortReply::EMPTY);
            if let Slot::Short(short) = &mut self.slot {
                short.put(message);
            }
            woken.push_caller(self.index, caller);
        }
    }

    /// Puts the answer in, and gives the caller to wake.
    #[inline]
    pub(super) fn answer(&mut self, answer: Answer) -> Option<Waker> {
        let caller = self.caller.take()?;
        self.slot = Slot::Answered(answer);
        Some(caller)
    }

    /// Ends the call and its streams; gives whom to wake.
    #[inline]
    pub(super) fn end(&mut self, end: Result<(), Status>) -> Option<Waker> {
        let streams = self.streams.as_mut()?;
        streams.upload = None;
        streams.uploader = None;
        streams.inbox.take()?.end(end)
    }

    /// Ends the streams that do not outlive an answer; gives whom to wake.
    pub(super) fn note_answer(&mut self, answer: &Answer) -> Option<Waker> {
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
            Slot::Answered(answer) => Some((answer, reader)),
            Slot::Waiting | Slot::Short(_) | Slot::Streaming => None,
        }
    }

    pub(super) fn streams(&mut self) -> &mut CallStreams {
        self.streams.get_or_insert_default()
    }
}

/// A reply that is nothing but a short message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortReply {
    /// length <= INLINE_BYTES
    length: usize,
    bytes: [u8; INLINE_BYTES],
}

impl ShortReply {
    pub(super) const EMPTY: Self = Self {
        length: 0,
        bytes: [0; INLINE_BYTES],
    };

    /// Copies a message in, which is short enough.
    #[inline]
    fn put(&mut self, message: &[u8]) {
        self.bytes[..message.len()].copy_from_slice(message);
        self.length = message.len();
    }
}

impl Deref for ShortReply {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What a caller finds in its slot.
pub(crate) enum Arrived<'a> {
    Short(&'a ShortReply),
    Answer(Answer),
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

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.status
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

impl From<Reply<'_>> for RawReply {
    #[inline]
    fn from(reply: Reply<'_>) -> Self {
        Self {
            metadata: reply.metadata,
            body: reply.body.into(),
            items: None,
        }
    }
}

impl From<Body<'_>> for ReplyBody {
    #[inline]
    fn from(body: Body<'_>) -> Self {
        if body.len() > INLINE_BYTES {
            return Self::Shared(body.into_bytes());
        }
        let mut short = ShortReply::EMPTY;
        short.put(&body);
        Self::Short(short)
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
