//! Plain requests that arrived together, and the replies to them, without a lock for each.
//!
//! Who answers a request at once needs the connection only to have it admitted and to have the reply
//! written. So all that lie in one read are admitted together, and their replies are collected apart
//! and handed over together.

use super::{Answered, ServerConnection, State};
use crate::codec::CodecError;
use crate::connection::CallId;
use crate::connection::ids::RisingIds;
use crate::wire::{Encoded, Flags, Follows, FrameError, HEADER_BYTES, Header, Kind, Outgoing};
use crate::{Metadata, MethodId, Status, WireTimeout};

/// A request that lies whole in the input, and comes with neither metadata nor items. It has to be
/// answered once.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlainRequest<'a> {
    /// Names the call when it is answered.
    pub id: CallId,
    /// Which method.
    pub method: MethodId,
    /// The time the caller gives, as it travels; [`WireTimeout::NONE`] if it gives none.
    pub timeout: WireTimeout,
    /// The encoded arguments.
    pub body: &'a [u8],
}

/// Plain requests that were admitted, one after the other; what is not taken out has to be given
/// back, with [`ServerConnection::settle`].
#[derive(Debug)]
pub struct PlainRequests<'a> {
    /// From the next of them on, to the end of what has arrived.
    input: &'a [u8],
    left: usize,
    ids: RisingIds,
}

impl<'a> PlainRequests<'a> {
    /// True if all were taken out.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for PlainRequests<'a> {
    type Item = PlainRequest<'a>;

    #[inline]
    fn next(&mut self) -> Option<PlainRequest<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (raw, rest) = self.input.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::parse(raw);
        let (body, rest) = rest.split_at_checked(header.length as usize)?;
        self.input = rest;
        Some(PlainRequest {
            id: self.ids.next(header.call).ok()?,
            method: MethodId::from_number(header.method),
            timeout: WireTimeout::from_bits(header.extra),
            body,
        })
    }
}

/// Replies that are not with their connection yet.
#[derive(Debug, Default)]
pub struct Replies {
    outgoing: Outgoing,
    reply_bytes_max: usize,
    /// Calls that they end.
    ended: usize,
    /// The last of those.
    last: Option<CallId>,
}

impl Replies {
    /// Bytes of them.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// True if this call was the last that was answered here.
    #[inline]
    #[must_use]
    pub fn has_just_ended(&self, call: CallId) -> bool {
        self.last == Some(call)
    }

    /// As [`ServerConnection::reply`].
    ///
    /// # Errors
    /// The call has not ended: what there is has to be handed over with
    /// [`ServerConnection::collect`], and then the call goes on with
    /// [`ServerConnection::end_reply`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a method replies in one place, which knows most of the header"
    )]
    pub fn reply<F: Into<Encoded>>(
        &mut self,
        call: CallId,
        metadata: &Metadata,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, CodecError>,
    ) -> Result<Answered, Unended> {
        let header = reply_header(call, metadata);
        let limit = self.reply_bytes_max;
        match self.outgoing.frame(header, metadata, limit, body) {
            Ok(Follows::Nothing) => {
                self.ended += 1;
                self.last = Some(call);
                Ok(Answered::Reply)
            }
            Ok(Follows::Items) => Err(Unended(None)),
            Err(error) => Err(Unended::failed(error, limit)),
        }
    }
}

/// What becomes of a call that its reply has not ended: it fails, or items follow.
#[derive(Debug)]
pub struct Unended(Option<Box<Status>>);

impl Unended {
    /// The reply could not be encoded, or is too long.
    #[cold]
    fn failed(error: FrameError<CodecError>, limit: usize) -> Self {
        Self(Some(Box::new(error.into_reply_status(limit))))
    }
}

#[inline]
pub(super) fn reply_header(call: CallId, metadata: &Metadata) -> Header {
    Header {
        flags: Flags::NONE.with_if(Flags::METADATA, !metadata.is_empty()),
        ..Header::new(Kind::Response, call.wire())
    }
}

impl<T> ServerConnection<T> {
    /// Admits the plain requests at the front of `input` for which there is room, up to `count_max`,
    /// and lends `replies` memory for what answers them.
    ///
    /// They are most of what a server hears, and no event is made of them.
    /// [`handle_input`](Self::handle_input) takes whatever else there is. Nothing may be fed in
    /// before they are [settled](Self::settle).
    #[inline]
    pub fn admit_plain<'a>(
        &mut self,
        input: &'a [u8],
        count_max: usize,
        replies: &mut Replies,
    ) -> PlainRequests<'a> {
        let mut requests = PlainRequests {
            input,
            left: 0,
            ids: self.ids,
        };
        if !matches!(self.state, State::Open) || self.progress.is_watching() {
            return requests;
        }
        let room = self.calls_max.saturating_sub(self.running);
        let mut rest = input;
        while requests.left < count_max.min(room) {
            let Some((header, _, behind)) = self.decoder.peek(rest) else {
                break;
            };
            let is_plain = header.kind == Kind::Request && header.flags == Flags::NONE;
            if !is_plain || self.ids.next(header.call).is_err() {
                break;
            }
            rest = behind;
            requests.left += 1;
        }
        if requests.left > 0 {
            self.running += requests.left;
            self.liveness.note_call(self.now);
            replies.reply_bytes_max = self.reply_bytes_max;
            self.outgoing.lend(&mut replies.outgoing);
        }
        requests
    }

    /// Takes the replies over, and what was not taken out of `requests` back: `input` begins there.
    #[inline]
    pub fn settle<'a>(
        &mut self,
        requests: PlainRequests<'a>,
        replies: &mut Replies,
        input: &mut &'a [u8],
    ) {
        *input = requests.input;
        self.running = self.running.saturating_sub(requests.left);
        // The last of them that were taken out.
        self.ids = requests.ids;
        self.collect(replies);
    }

    /// Takes replies over. That a call was in flight now was noted when it was admitted.
    #[inline]
    pub fn collect(&mut self, replies: &mut Replies) {
        let ended = std::mem::take(&mut replies.ended);
        debug_assert!(
            self.running >= self.parked.len() + ended,
            "each call ends once"
        );
        self.running = self.running.saturating_sub(ended);
        self.outgoing.append(&mut replies.outgoing);
    }

    /// Goes on with a call that its reply has not ended.
    pub fn end_reply(&mut self, call: CallId, unended: Unended) -> Answered {
        match unended.0 {
            None => self.begin_items(call),
            Some(status) => self.fail(call, &status),
        }
    }
}

impl FrameError<CodecError> {
    pub(super) fn into_reply_status(self, limit: usize) -> Status {
        match self {
            Self::Body(error) => {
                Status::internal("the reply could not be encoded").with_source(error)
            }
            Self::TooLarge(length) => Status::resource_exhausted(format!(
                "the reply has {length} bytes; the client accepts {limit}"
            )),
        }
    }
}
