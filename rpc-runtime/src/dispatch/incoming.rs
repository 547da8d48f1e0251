//! One request, from its bytes to the future of its handler and from its outcome to the answer.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::codec::{CodecError, DecodeArguments, leaving_out};
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::Encoded;
use rpc_core::{Code, Codec, DecodeLimits, MethodDescriptor, MethodId, Status};
use serde::Serialize;

use super::Respond;
use crate::__private::Outcome;
use crate::contain::catch;
use crate::context;
use crate::stream::{PumpEnd, Receiver, Source, capturing, delivering, follows};

/// A handler at work: ready when the call is answered.
pub(super) type Task = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// What became of a request.
pub(super) enum Dispatched {
    /// The handler has to be polled.
    Task(Task),
    /// It was answered without a handler.
    Answered(Answered),
}

/// One request on its way to a handler.
pub struct Incoming<'a> {
    pub(super) method: MethodId,
    pub(super) body: &'a [u8],
    /// The items behind the request.
    pub(super) items: Option<Receiver>,
    pub(super) responder: Responder,
    pub(super) dispatched: &'a mut Option<Dispatched>,
}

impl Incoming<'_> {
    /// Which method of the service is asked for, by the id of its own name.
    #[inline]
    #[must_use]
    pub const fn method_id(&self) -> MethodId {
        self.method
    }

    /// Decodes the arguments and makes the future of the handler, which will answer.
    ///
    /// Undecodable arguments are answered with `InvalidArgument` and the handler does not run.
    pub fn unary<A, R, F>(
        self,
        method: &'static MethodDescriptor,
        code: fn(&R::Error) -> Code,
        handler: impl FnOnce(A) -> F,
    ) where
        A: DecodeArguments,
        R: Outcome,
        F: Future<Output = R> + Send + 'static,
    {
        let names = method.argument_names;
        let limits = DecodeLimits::for_message(self.body.len());
        let codec = &self.responder.codec;
        let decoded = delivering(self.items, || {
            codec.decode_arguments(names, self.body, &limits)
        });
        *self.dispatched = Some(match decoded {
            Ok(arguments) => {
                let future = handler(arguments);
                let responder = self.responder;
                let task = async move {
                    match responder.finish(future.await, code) {
                        (Answered::Items, Some(source)) => responder.send_items(source).await,
                        (answered, _) => answered,
                    }
                };
                Dispatched::Task(Box::pin(task))
            }
            Err(error) => {
                let text = format!("the arguments of {method} could not be decoded: {error}");
                let status = Status::invalid_argument(text).with_not_processed();
                Dispatched::Answered(self.responder.fail(&status))
            }
        });
    }

    /// Answers that the service has no such method.
    pub fn unknown_method(self) {
        let text = format!("no method has the id {}", self.method);
        let status = Status::unimplemented(text).with_not_processed();
        *self.dispatched = Some(Dispatched::Answered(self.responder.fail(&status)));
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The right to answer one call.
#[derive(Clone)]
pub(super) struct Responder {
    pub(super) respond: Arc<dyn Respond>,
    pub(super) call: CallId,
    pub(super) codec: Codec,
    pub(super) oneway: bool,
}

impl Responder {
    /// Answers with what the handler returned; gives the source of the stream in its reply.
    fn finish<R: Outcome>(
        &self,
        outcome: R,
        code: fn(&R::Error) -> Code,
    ) -> (Answered, Option<Box<dyn Source>>) {
        match outcome.into_result() {
            Ok(reply) => self.reply(&reply),
            Err(error) => {
                let status = match (&error as &dyn Any).downcast_ref::<Status>() {
                    Some(status) => from_handler(status),
                    None => self.typed(&error, code(&error), error.to_string()),
                };
                (self.fail(&status), None)
            }
        }
    }

    fn reply<T: Serialize + 'static>(&self, reply: &T) -> (Answered, Option<Box<dyn Source>>) {
        if self.oneway {
            self.respond.finish_oneway(self.call);
            return (Answered::Reply, None);
        }
        let metadata = context::take_response_metadata();
        let mut source = None;
        let answered = self.respond.reply(self.call, &metadata, &mut |out| {
            let encode = || capturing(|| encode(&self.codec, reply, out));
            let ((encoded, captured), parts) = leaving_out(encode);
            source = captured;
            encoded.map(|()| Encoded::new(follows(source.is_some()), parts))
        });
        (answered, source)
    }

    /// Sends the items behind a reply, until the end of their stream.
    async fn send_items(&self, source: Box<dyn Source>) -> Answered {
        let respond = self.respond.clone();
        let Some(pump) = respond.send_items(self.call, source, self.codec.clone()) else {
            return Answered::Reply;
        };
        match Box::pin(pump).await {
            PumpEnd::Ended(Ok(())) => self.respond.end_items(self.call),
            PumpEnd::Ended(Err(status)) => self.fail(&from_handler(&status)),
            // The call has ended, unless the client has another with the same id.
            PumpEnd::Over => self.fail(&Status::cancelled("the stream of the reply is over")),
        }
    }

    pub(super) fn fail(&self, status: &Status) -> Answered {
        if self.oneway {
            self.respond.finish_oneway(self.call);
            return Answered::Error(status.code());
        }
        self.respond.fail(self.call, status)
    }

    /// The status that carries a typed error.
    fn typed<E: Serialize + 'static>(&self, error: &E, code: Code, text: String) -> Status {
        let mut body = Vec::new();
        let status = match encode(&self.codec, error, &mut body) {
            Ok(()) => Status::new(code, text).with_error_body(Bytes::from(body)),
            Err(_) => Status::internal("the typed error could not be encoded"),
        };
        status.with_metadata(context::take_response_metadata())
    }
}

/// A panic of the user's `Serialize` is an error of this call, and of nothing else.
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
