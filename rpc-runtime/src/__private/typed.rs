//! Where generated code meets types it knows only by name.
//!
//! Why not call `unary` directly? A type that cannot travel is used by the client and by the
//! server, so it would be reported twice more, in words about tuples and tasks. Generated code
//! states the requirement once, at the user's type (`Message`, `Outcome`, `OnewayOutcome`), and
//! makes its calls through the pairs of traits below: method resolution takes the first of a
//! pair if the types are right and otherwise the second, which accepts anything and does not
//! compile once it is used: a requirement that was not stated ends there, not in a call that hangs.

use std::future::{Pending, pending};
use std::marker::PhantomData;
use std::sync::Arc;

use rpc_core::{Code, MethodDescriptor};

use super::{CodeOf, DecodeArguments, EncodeArguments, Incoming, Outcome};
use crate::Channel;

/// One call of a typed client, not yet made: `(&Outgoing::<_, R>::new(..)).unary().await`.
#[derive(Debug)]
pub struct Outgoing<'a, A, R> {
    channel: &'a Channel,
    method: &'static MethodDescriptor,
    arguments: &'a A,
    reply: PhantomData<fn() -> R>,
}

impl<'a, A, R> Outgoing<'a, A, R> {
    pub fn new(channel: &'a Channel, method: &'static MethodDescriptor, arguments: &'a A) -> Self {
        Self {
            channel,
            method,
            arguments,
            reply: PhantomData,
        }
    }
}

/// Calls whose types can travel.
pub trait Unary<R> {
    fn unary(&self) -> impl Future<Output = R> + Send + use<Self, R>;
}
impl<'a, A: EncodeArguments + Sync, R: Outcome> Unary<R> for Outgoing<'a, A, R> {
    #[inline]
    fn unary(&self) -> impl Future<Output = R> + Send + use<'a, A, R> {
        super::unary(self.channel, self.method, self.arguments)
    }
}

/// Calls without an answer whose types can travel.
pub trait Oneway<R> {
    fn oneway(&self) -> impl Future<Output = R> + Send + use<Self, R>;
}
impl<'a, A: EncodeArguments + Sync, R: Outcome<Reply = ()>> Oneway<R> for Outgoing<'a, A, R> {
    fn oneway(&self) -> impl Future<Output = R> + Send + use<'a, A, R> {
        super::oneway(self.channel, self.method, self.arguments)
    }
}

/// The other calls.
pub trait Uncallable<R> {
    fn unary(&self) -> Pending<R> {
        self.oneway()
    }
    fn oneway(&self) -> Pending<R>;
}
impl<A, R> Uncallable<R> for &Outgoing<'_, A, R> {
    fn oneway(&self) -> Pending<R> {
        const { panic!("an argument or the reply of this method cannot travel") };
        pending()
    }
}

/// The handler of a method with these arguments: `(&Handler::<A, R>::NEW).run(..)`.
#[derive(Debug)]
pub struct Handler<A, R>(PhantomData<fn(A) -> R>);

impl<A, R> Handler<A, R> {
    pub const NEW: Self = Self(PhantomData);
}

/// Handlers whose types can travel.
pub trait Run<A, R: Outcome> {
    fn run<S: Send + Sync + 'static, F: Future<Output = (R, Arc<S>)> + Send + 'static>(
        &self,
        call: Incoming<'_>,
        method: &'static MethodDescriptor,
        code: fn(&R::Error) -> Code,
        service: &Arc<S>,
        handler: impl Fn(Arc<S>, A) -> F + Send + 'static,
    );
}
impl<A: DecodeArguments + 'static, R: Outcome> Run<A, R> for Handler<A, R> {
    #[inline]
    fn run<S: Send + Sync + 'static, F: Future<Output = (R, Arc<S>)> + Send + 'static>(
        &self,
        call: Incoming<'_>,
        method: &'static MethodDescriptor,
        code: fn(&R::Error) -> Code,
        service: &Arc<S>,
        handler: impl Fn(Arc<S>, A) -> F + Send + 'static,
    ) {
        call.unary::<A, S, R, F>(method, code, service, handler);
    }
}

/// The other handlers.
pub trait Unrunnable<A> {
    fn run<C, S, F>(
        &self,
        call: Incoming<'_>,
        method: &'static MethodDescriptor,
        code: C,
        service: &Arc<S>,
        handler: impl Fn(Arc<S>, A) -> F,
    );
}
impl<A, R> Unrunnable<A> for &Handler<A, R> {
    fn run<C, S, F>(
        &self,
        call: Incoming<'_>,
        _method: &'static MethodDescriptor,
        _code: C,
        _service: &Arc<S>,
        _handler: impl Fn(Arc<S>, A) -> F,
    ) {
        const { panic!("an argument or the reply of this method cannot travel") };
        call.unknown_method();
    }
}

/// The code of an error whose method does not return a `Result` at all.
pub trait NoCode {
    fn code(self);
}
impl<R> NoCode for CodeOf<R> {
    fn code(self) {}
}
