//! One request, from its bytes to the future of its handler and to its outcome.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use pin_project_lite::pin_project;
use rpc_core::codec::{CodecError, DecodeArguments};
use rpc_core::connection::Answered;
use rpc_core::wire::Body;
use rpc_core::{Code, Codec, DecodeLimits, MethodDescriptor, MethodId, Status};

use super::responder::Responder;
use crate::__private::Outcome;
use crate::boxed::Boxed;
use crate::stream::{Delivery, Receiver, Source};

/// A handler at work.
pub(super) type Task = Pin<Box<dyn Handling>>;

/// The future of a handler, whatever it returns.
///
/// It is lent the right to answer with each poll: a handler that is ready at once needs no handle of
/// its own.
pub(super) trait Handling: Send {
    /// Ready when the call is answered; leaves the `source` of the stream in its reply, which is to be
    /// sent then. Nothing of the user's is left in it then.
    fn poll_answered(
        self: Pin<&mut Self>,
        responder: &Responder<'_>,
        source: &mut Option<Box<dyn Source>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answered>;

    /// True if it is one of the method that `make` makes handlers of, of the service at this address.
    fn is_of(&self, make: TypeId, service: *const ()) -> bool;

    /// Takes on a call of its own method and service: the memory of a handler that was ready serves the
    /// next call. False if it cannot.
    fn take_on(self: Pin<&mut Self>, codec: &Codec, arguments: &[u8]) -> Result<bool, CodecError>;
}

pin_project! {
    /// The call of a method of `S`; `M` makes the future of it, which gives the service back.
    struct Handler<S, A, F, M, E> {
        // Over, if the service was given back.
        #[pin]
        future: Option<F>,
        // Given back by the last call: to count who holds it costs a tenth of a short call.
        service: Option<Arc<S>>,
        make: M,
        code: fn(&E) -> Code,
        // Of the arguments.
        names: &'static [&'static str],
        arguments: PhantomData<fn(A)>,
    }
}

impl<S, A, F, M, E> Handler<S, A, F, M, E> {
    /// In memory of its own. Not inlined: most calls have that of the one before.
    #[inline(never)]
    fn new(
        service: &Arc<S>,
        make: M,
        code: fn(&E) -> Code,
        names: &'static [&'static str],
    ) -> Pin<Box<Self>> {
        Box::pin(Self {
            future: None,
            service: Some(service.clone()),
            make,
            code,
            names,
            arguments: PhantomData,
        })
    }
}

impl<S, A, R, F, M> Handling for Handler<S, A, F, M, R::Error>
where
    S: Send + Sync + 'static,
    A: DecodeArguments + 'static,
    R: Outcome,
    F: Future<Output = (R, Arc<S>)> + Send + 'static,
    M: Fn(Arc<S>, A) -> F + Send + 'static,
{
    #[inline]
    fn poll_answered(
        self: Pin<&mut Self>,
        responder: &Responder<'_>,
        source: &mut Option<Box<dyn Source>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answered> {
        let this = self.project();
        let (Some(future), None) = (this.future.as_pin_mut(), &this.service) else {
            return Poll::Pending;
        };
        let (outcome, service) = ready!(future.poll(cx));
        // The future stays, as it is an `async` block: nothing is left in it.
        *this.service = Some(service);
        Poll::Ready(responder.finish(outcome, *this.code, source))
    }

    fn is_of(&self, make: TypeId, service: *const ()) -> bool {
        let is_own = |own: &Arc<S>| service == address_of(own);
        // What makes handlers of a method is of this type, and of no other method's.
        make == TypeId::of::<M>() && self.service.as_ref().is_some_and(is_own)
    }

    #[inline]
    fn take_on(self: Pin<&mut Self>, codec: &Codec, arguments: &[u8]) -> Result<bool, CodecError> {
        let mut this = self.project();
        if this.service.is_none() {
            return Ok(false);
        }
        // Here, and not by whoever asks, so that the arguments are moved once.
        let limits = DecodeLimits::for_message(arguments.len());
        let arguments = codec.decode_arguments(this.names, arguments, &limits)?;
        let Some(service) = this.service.take() else {
            return Ok(false);
        };
        this.future.set(Some((this.make)(service, arguments)));
        Ok(true)
    }
}

#[inline]
fn address_of<S>(service: &Arc<S>) -> *const () {
    Arc::as_ptr(service).cast()
}

#[inline]
fn type_of<M: 'static>(_: &M) -> TypeId {
    TypeId::of::<M>()
}

/// A future that answers by itself.
pub(super) struct Answering(Option<Boxed<'static, Answered>>);

impl Answering {
    pub(super) fn task(future: Boxed<'static, Answered>) -> Task {
        Box::pin(Self(Some(future)))
    }
}

impl Handling for Answering {
    fn poll_answered(
        mut self: Pin<&mut Self>,
        _: &Responder<'_>,
        _: &mut Option<Box<dyn Source>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answered> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let answered = ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(answered)
    }

    fn is_of(&self, _: TypeId, _: *const ()) -> bool {
        false
    }

    fn take_on(self: Pin<&mut Self>, _: &Codec, _: &[u8]) -> Result<bool, CodecError> {
        Ok(false)
    }
}

/// What became of a request.
#[derive(Clone, Copy)]
pub(super) enum Dispatched {
    /// Nothing yet.
    Not,
    /// The handler has to be polled.
    Made,
    /// It was answered without a handler.
    Answered(Answered),
}

/// One request on its way to a handler.
pub struct Incoming<'a>(pub(super) &'a mut Arriving<'a>);

/// What is known of it; lent, so that a pointer is all that goes from layer to layer.
pub(super) struct Arriving<'a> {
    pub(super) method: MethodId,
    pub(super) body: &'a Body<'a>,
    /// The items behind the request.
    pub(super) items: &'a mut Option<Box<Receiver>>,
    pub(super) responder: &'a Responder<'a>,
    /// Where the handler is made; before, one may be there that is over.
    pub(super) task: &'a mut Option<Task>,
    pub(super) dispatched: &'a mut Dispatched,
}

impl Incoming<'_> {
    /// Which method of the service is asked for, by the id of its own name.
    #[inline]
    #[must_use]
    pub const fn method_id(&self) -> MethodId {
        self.0.method
    }

    /// Decodes the arguments and makes the future of the handler, which will answer. The future has to be
    /// an `async` block, so that nothing is left in it once it is ready: it stays until the next call. It
    /// gives the service back beside its outcome, for that.
    ///
    /// Undecodable arguments are answered with `InvalidArgument` and the handler does not run.
    #[inline]
    pub fn unary<A, S, R, F>(
        self,
        method: &'static MethodDescriptor,
        code: fn(&R::Error) -> Code,
        service: &Arc<S>,
        handler: impl Fn(Arc<S>, A) -> F + Send + 'static,
    ) where
        A: DecodeArguments + 'static,
        S: Send + Sync + 'static,
        R: Outcome,
        F: Future<Output = (R, Arc<S>)> + Send + 'static,
    {
        let Arriving {
            body,
            items,
            responder,
            task,
            dispatched,
            ..
        } = self.0;
        let is_of = |task: &&mut Task| task.is_of(type_of(&handler), address_of(service));
        let task = match task.as_mut().filter(is_of) {
            Some(task) => task,
            None => task.insert(Handler::new(service, handler, code, method.argument_names)),
        };
        let taken = {
            let items = items.take();
            let _delivery = items.map(|items| Delivery::begin(items.of_request()));
            task.as_mut().take_on(responder.codec, body)
        };
        // Items that nobody has taken are stopped before the answer.
        **dispatched = match taken {
            Ok(true) => Dispatched::Made,
            Ok(false) => Dispatched::Not,
            Err(error) => Dispatched::Answered(refuse_arguments(method, responder, &error)),
        };
    }

    /// Answers that the service has no such method.
    pub fn unknown_method(self) {
        let text = format!("no method has the id {}", self.0.method);
        let status = Status::unimplemented(text).with_not_processed();
        *self.0.dispatched = Dispatched::Answered(self.0.responder.fail(&status));
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("method", &self.0.method)
            .finish_non_exhaustive()
    }
}

/// Answers a call whose arguments are none of its method.
#[cold]
pub(super) fn refuse_arguments(
    method: &'static MethodDescriptor,
    responder: &Responder<'_>,
    error: &CodecError,
) -> Answered {
    let text = format!("the arguments of {method} could not be decoded: {error}");
    responder.fail(&Status::invalid_argument(text).with_not_processed())
}
