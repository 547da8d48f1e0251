//! How calls end: each with one answer, or with none if it is oneway.

use super::plain::reply_header;
use super::{Answered, ServerConnection};
use crate::codec::CodecError;
use crate::connection::{CallId, cut_text};
use crate::wire::{Encoded, Flags, Follows, Header, Kind};
use crate::{Metadata, Status};

impl<T> ServerConnection<T> {
    /// Answers a call with a reply that `body` encodes in place; if `body` panics, the call is still
    /// to be answered. If `body` says that items follow, the call goes on, and
    /// [`streams`](Self::streams) sends them.
    ///
    /// A reply that cannot be encoded or is too long for the client is answered as an error, and so
    /// is one with a stream too many.
    #[inline]
    pub fn reply<F: Into<Encoded>>(
        &mut self,
        call: CallId,
        metadata: &Metadata,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, CodecError>,
    ) -> Answered {
        let header = reply_header(call, metadata);
        let limit = self.reply_bytes_max;
        match self.outgoing.frame(header, metadata, limit, body) {
            Ok(Follows::Nothing) => {
                self.ended(call);
                Answered::Reply
            }
            Ok(Follows::Items) => self.begin_items(call),
            Err(error) => self.fail(call, &error.into_reply_status(limit)),
        }
    }

    /// Answers a call with an error.
    pub fn fail(&mut self, call: CallId, status: &Status) -> Answered {
        self.ended(call);
        self.error(call, status, Flags::NONE);
        Answered::Error(status.code())
    }

    /// Answers a call whose method id nobody here has.
    pub fn fail_unknown_method(&mut self, call: CallId, status: &Status) -> Answered {
        self.ended(call);
        self.error(call, status, Flags::UNKNOWN_METHOD);
        Answered::Error(status.code())
    }

    /// Ends a oneway call, which is never answered.
    #[inline]
    pub fn finish_oneway(&mut self, call: CallId) {
        self.ended(call);
    }

    /// Counts the end of a call. A call that ends twice is a fault of the caller, which must not
    /// close the connection to all later calls.
    #[inline]
    pub(super) fn ended(&mut self, call: CallId) {
        if !self.parked.is_empty() {
            self.left = self.forget(call).map(|parked| parked.data);
        }
        if !self.streams.is_empty() || !self.assemblies.is_empty() {
            self.streams.close(call.wire());
            self.forget_message(call);
        }
        debug_assert!(self.running > self.parked.len(), "each call ends once");
        self.liveness.note_call(self.now);
        self.running = self.running.saturating_sub(1);
    }

    pub(super) fn error(&mut self, call: CallId, status: &Status, flags: Flags) {
        self.outgoing.cut(call.wire());
        let metadata = status.metadata();
        // What the client would refuse for its size is cut; the code and the text remain.
        let typed = status
            .error_body()
            .filter(|b| b.len() <= self.reply_bytes_max);
        let header = Header {
            flags: flags
                .with_if(Flags::METADATA, !metadata.is_empty())
                .with_if(Flags::NOT_PROCESSED, status.is_not_processed())
                .with_if(Flags::TYPED, typed.is_some()),
            extra: u16::from(status.code().number()),
            ..Header::new(Kind::Error, call.wire())
        };
        let text = cut_text(status.message());
        let written = self
            .outgoing
            .frame::<(), ()>(header, metadata, usize::MAX, |out| {
                // At most 4 KiB, hence below 2^16.
                out.extend_from_slice(&(text.len() as u16).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(typed.map_or(&[], |body| body));
                Ok(())
            });
        debug_assert!(written.is_ok(), "the parts are bounded");
    }
}
