//! The right to answer a call.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::codec::{CodecError, leaving_out};
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::{Encoded, Follows};
use rpc_core::{Code, Codec, Status};
use serde_core::Serialize;

use super::{Collection, Respond};
use crate::__private::{CallError, Outcome};
use crate::boxed::Boxed;
use crate::contain::catch;
use crate::context;
use crate::stream::{PumpEnd, Source, capturing};

/// The right to answer one call, lent for as long as it is polled.
#[derive(Clone, Copy)]
pub(super) struct Responder<'a> {
    pub(super) respond: &'a Arc<dyn Respond>,
    /// Where its reply goes, if it is collected with others.
    pub(super) collection: Option<&'a Collection<'a>>,
    pub(super) codec: &'a Codec,
    pub(super) call: CallId,
    pub(super) oneway: bool,
}

/// The right to answer one call, kept while its handler waits.
#[derive(Clone)]
pub(super) struct OwnedResponder {
    respond: Arc<dyn Respond>,
    codec: Codec,
    call: CallId,
    oneway: bool,
}

impl OwnedResponder {
    #[inline]
    pub(super) const fn lend(&self) -> Responder<'_> {
        Responder {
            respond: &self.respond,
            collection: None,
            codec: &self.codec,
            call: self.call,
            oneway: self.oneway,
        }
    }

    /// Sends the items behind a reply, until the end of their stream.
    pub(super) fn send_items(self, source: Box<dyn Source>) -> Boxed<'static, Answered> {
        Box::pin(async move {
            let (respond, codec) = (self.respond.clone(), self.codec.clone());
            let Some(pump) = respond.send_items(self.call, source, codec) else {
                return Answered::Reply;
            };
            let status = match Box::pin(pump).await {
                PumpEnd::Ended(Ok(())) => return self.respond.end_items(self.call),
                PumpEnd::Ended(Err(status)) => from_handler(&status),
                // The call has ended, unless the client has another with the same id.
                PumpEnd::Over => Status::cancelled("the stream of the reply is over"),
            };
            self.lend().fail(&status)
        })
    }
}

impl Responder<'_> {
    #[cold]
    pub(super) fn keep(&self) -> OwnedResponder {
        OwnedResponder {
            respond: self.respond.clone(),
            codec: self.codec.clone(),
            call: self.call,
            oneway: self.oneway,
        }
    }

    /// Answers with what the handler returned; leaves the source of the stream in its reply.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "all that appends a reply is one function then, which nothing is handed through"
    )]
    pub(super) fn finish<R: Outcome>(
        &self,
        outcome: R,
        code: fn(&R::Error) -> Code,
        source: &mut Option<Box<dyn Source>>,
    ) -> Answered {
        match outcome.into_result() {
            Ok(reply) => self.reply(&reply, source),
            Err(error) => self.fail_with(error, code),
        }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "all that appends a reply is one function then, which nothing is handed through"
    )]
    fn reply<T: Serialize + 'static>(
        &self,
        reply: &T,
        source: &mut Option<Box<dyn Source>>,
    ) -> Answered {
        let Some(collection) = self.collection else {
            return self.reply_apart(&mut |out| encode_reply(self.codec, reply, source, out));
        };
        debug_assert!(!self.oneway, "only plain calls are answered together");
        let metadata = context::take_response_metadata();
        let body = |out: &mut Vec<u8>| encode_reply(self.codec, reply, source, out);
        let collected = collection
            .replies
            .borrow_mut()
            .reply(self.call, &metadata, body);
        match collected {
            Ok(answered) => answered,
            Err(unended) => collection.end_reply(self.call, unended),
        }
    }

    /// Replies to a call that is not answered together with others.
    #[inline(never)]
    fn reply_apart(
        &self,
        body: &mut dyn FnMut(&mut Vec<u8>) -> Result<Encoded, CodecError>,
    ) -> Answered {
        if self.oneway {
            self.respond.finish_oneway(self.call);
            return Answered::Reply;
        }
        let metadata = context::take_response_metadata();
        self.respond.reply(self.call, &metadata, body)
    }

    /// Answers with the error that the handler returned.
    #[cold]
    fn fail_with<E: CallError>(&self, error: E, code: fn(&E) -> Code) -> Answered {
        let status = match (&error as &dyn Any).downcast_ref::<Status>() {
            Some(status) => from_handler(status),
            None => self.typed(&error, code(&error), error.to_string()),
        };
        self.fail(&status)
    }

    /// True if the call has ended, with a reply that was collected.
    fn has_replied(&self) -> bool {
        self.collection
            .is_some_and(|collection| collection.replies.borrow().has_just_ended(self.call))
    }

    /// What cannot be collected is for the connection, behind what was collected.
    #[cold]
    fn come_forward(&self) {
        if let Some(collection) = self.collection {
            collection.pass(self.call);
        }
    }

    pub(super) fn fail(&self, status: &Status) -> Answered {
        if self.oneway {
            self.respond.finish_oneway(self.call);
            return Answered::Error(status.code());
        }
        if self.has_replied() {
            // What is left of its handler panicked.
            return Answered::Reply;
        }
        self.come_forward();
        self.respond.fail(self.call, status)
    }

    /// The status that carries a typed error.
    fn typed<E: Serialize + 'static>(&self, error: &E, code: Code, text: String) -> Status {
        let mut body = Vec::new();
        let status = match encode(self.codec, error, &mut body) {
            Ok(()) => Status::new(code, text).with_error_body(Bytes::from(body)),
            Err(_) => Status::internal("the typed error could not be encoded"),
        };
        status.with_metadata(context::take_response_metadata())
    }
}

/// Encodes a reply behind what is in `out`; leaves the source of the stream in it.
#[inline]
fn encode_reply<T: Serialize + 'static>(
    codec: &Codec,
    reply: &T,
    source: &mut Option<Box<dyn Source>>,
    out: &mut Vec<u8>,
) -> Result<Encoded, CodecError> {
    let encode = || capturing(|| encode(codec, reply, out));
    let ((encoded, captured), parts) = leaving_out(encode);
    let follows = match captured {
        None => Follows::Nothing,
        Some(captured) => leave(captured, source),
    };
    encoded.map(|()| Encoded::new(follows, parts))
}

/// Leaves the source of a stream to whoever sends it.
#[cold]
fn leave(captured: Box<dyn Source>, source: &mut Option<Box<dyn Source>>) -> Follows {
    *source = Some(captured);
    Follows::Items
}

/// A panic of the user's `Serialize` is an error of this call, and of nothing else.
#[inline]
fn encode<T: Serialize + 'static>(
    codec: &Codec,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    catch(|| codec.encode(value, out))
        .unwrap_or_else(|_| Err(CodecError::encode("the Serialize of a reply panicked")))
}

/// What a handler may say: that a call was not processed only the framework knows, also if the
/// status comes from a call that the handler made.
fn from_handler(status: &Status) -> Status {
    let mut metadata = status.metadata().clone();
    if metadata.is_empty() {
        metadata = context::take_response_metadata();
    }
    Status::new(status.code(), status.message().to_owned()).with_metadata(metadata)
}
