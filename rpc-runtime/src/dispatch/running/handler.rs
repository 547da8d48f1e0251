//! The handler of a call: made of what came, and polled.

use std::sync::Arc;
use std::task::{self, Poll, ready};

use bytes::Bytes;
use rpc_core::Status;
use rpc_core::codec::sharing;
use rpc_core::connection::Answered;
use rpc_core::wire::Body;
use tokio::sync::oneshot;

use super::deferred::{self, Arguments};
use crate::dispatch::incoming::{
    Answering, Arriving, Dispatched, Incoming, Task, refuse_arguments,
};
use crate::dispatch::responder::Responder;
use crate::dispatch::router::Method;
use crate::dispatch::shift::Place;
use crate::stream::{Receiver, Source};

pub(super) const NOT_DISPATCHED: &str = "the service did not dispatch the call";

/// What a call came with.
pub(super) struct Arrived<'a> {
    pub(super) body: &'a Body<'a>,
    pub(super) later: &'a mut Option<oneshot::Receiver<Bytes>>,
    pub(super) items: &'a mut Option<Box<Receiver>>,
}

impl Arrived<'_> {
    /// The same, lent on.
    #[inline]
    pub(super) const fn again(&mut self) -> Arrived<'_> {
        Arrived {
            body: self.body,
            later: self.later,
            items: self.items,
        }
    }
}

/// Makes the future of a call in its place, or answers the call.
#[inline(always)]
pub(super) fn prepare(
    method: &Arc<Method>,
    responder: &Responder<'_>,
    arrived: Arrived<'_>,
    task: &mut Option<Task>,
) -> Result<(), Answered> {
    let Arrived { body, later, items } = arrived;
    let dispatched = if later.is_some() {
        *task = Some(defer(method, responder, body, later, items));
        Dispatched::Made
    } else if let Body::Owned(bytes) = body {
        sharing(bytes, || dispatch(method, responder, body, items, task))
    } else {
        dispatch(method, responder, body, items, task)
    };
    made(dispatched, responder)
}

/// As [`prepare`], for a call that came whole and whose bytes are not its own. The handler of the call
/// before takes it on, without a question to the service, if it is of the same method.
#[inline(always)]
pub(super) fn prepare_plain(
    method: &Method,
    responder: &Responder<'_>,
    arrived: Arrived<'_>,
    place: &mut Place,
) -> Result<(), Answered> {
    if let Some(task) = place.handler_of(method)
        && let Some(taken) = take_on(method, responder, arrived.body, task)
    {
        return taken;
    }
    // Taken apart: what is handed over in memory would be kept there for each call.
    prepare_first(method, responder, arrived.body, arrived.items, place)
}

/// Lets the handler of a call of the same method take on the next; nothing if it cannot.
#[inline(always)]
pub(super) fn take_on(
    method: &Method,
    responder: &Responder<'_>,
    body: &Body<'_>,
    task: &mut Task,
) -> Option<Result<(), Answered>> {
    match task.as_mut().take_on(responder.codec, body) {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(refuse_arguments(method.descriptor, responder, &error))),
    }
}

/// As [`prepare_plain`], for the first of calls of the same method. Not inlined: few are.
#[inline(never)]
fn prepare_first(
    method: &Method,
    responder: &Responder<'_>,
    body: &Body<'_>,
    items: &mut Option<Box<Receiver>>,
    place: &mut Place,
) -> Result<(), Answered> {
    let dispatched = dispatch(method, responder, body, items, place.renew());
    made(dispatched, responder)?;
    place.note_method(method);
    Ok(())
}

#[inline(always)]
fn made(dispatched: Dispatched, responder: &Responder<'_>) -> Result<(), Answered> {
    match dispatched {
        Dispatched::Made => Ok(()),
        Dispatched::Answered(answered) => Err(answered),
        Dispatched::Not => Err(fail_undispatched(responder)),
    }
}

/// The handler of a call whose arguments are not here.
#[cold]
fn defer(
    method: &Arc<Method>,
    responder: &Responder<'_>,
    body: &Body<'_>,
    later: &mut Option<oneshot::Receiver<Bytes>>,
    items: &mut Option<Box<Receiver>>,
) -> Task {
    let arguments = Arguments::new(body, later, items);
    Answering::task(deferred::run(method.clone(), responder.keep(), arguments))
}

#[cold]
fn fail_undispatched(responder: &Responder<'_>) -> Answered {
    responder.fail(&Status::internal(NOT_DISPATCHED))
}

#[inline]
pub(super) fn dispatch(
    method: &Method,
    responder: &Responder<'_>,
    body: &Body<'_>,
    items: &mut Option<Box<Receiver>>,
    task: &mut Option<Task>,
) -> Dispatched {
    let mut dispatched = Dispatched::Not;
    method.service.dispatch(Incoming(&mut Arriving {
        method: method.descriptor.id,
        body,
        items,
        responder,
        task,
        dispatched: &mut dispatched,
    }));
    // Items that nobody asked for are stopped before the handler runs.
    if let Some(items) = items.take() {
        drop(items);
    }
    dispatched
}

/// Polls a handler, and then whoever sends the stream in its reply.
#[inline(always)]
pub(super) fn poll_task(
    task: &mut Task,
    responder: &Responder<'_>,
    cx: &mut task::Context<'_>,
) -> Poll<Answered> {
    let mut source = None;
    let answered = ready!(task.as_mut().poll_answered(responder, &mut source, cx));
    match source {
        None => Poll::Ready(answered),
        Some(source) => poll_items(task, responder, answered, source, cx),
    }
}

/// Polls whoever sends the stream in a reply.
#[cold]
fn poll_items(
    task: &mut Task,
    responder: &Responder<'_>,
    answered: Answered,
    source: Box<dyn Source>,
    cx: &mut task::Context<'_>,
) -> Poll<Answered> {
    if answered != Answered::Items {
        return Poll::Ready(answered);
    }
    *task = Answering::task(responder.keep().send_items(source));
    task.as_mut().poll_answered(responder, &mut None, cx)
}
