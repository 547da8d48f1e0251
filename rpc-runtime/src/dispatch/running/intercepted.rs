//! A call that interceptors see: they are asked, its handler runs, they are told.
//!
//! Why is it a handler itself? What becomes of a handler becomes of it: it is polled once where its
//! request was read, has a task of its own if it waits, is dropped when it is given up, and its memory
//! serves the next call. An interceptor that waits is polled on as it is: nobody is asked twice.

use std::any::TypeId;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Instant;

use rpc_core::codec::CodecError;
use rpc_core::connection::Answered;
use rpc_core::{Codec, Status};

use super::deferred::{self, Arguments};
use super::handler::{Arrived, poll_task, prepare, take_on};
use super::{Surroundings, fail_panicked, log_drop};
use crate::contain::catch;
use crate::context;
use crate::dispatch::Shift;
use crate::dispatch::incoming::{Answering, Handling, Task};
use crate::dispatch::responder::Responder;
use crate::dispatch::router::{Method, Router};
use crate::middleware::{CallInfo, Inquiry};
use crate::stream::Source;

/// The interceptors of a server around one call after the other.
pub(in crate::dispatch) struct Intercepted {
    inquiry: Inquiry,
    method: Arc<Method>,
    /// Where the handler is made; before, one may be there that is over.
    handler: Option<Task>,
    /// That one was made for a plain call of the method.
    is_own: bool,
    /// What the handler is made of, while the interceptors are being asked.
    arguments: Option<Box<Arguments>>,
}

/// Starts a call that interceptors see; a panic that is not its handler's is a value, or caught where those of
/// all calls are.
pub(super) fn start<S: Surroundings>(
    surroundings: &mut S,
    router: &Router,
    method: &Arc<Method>,
    shift: &mut Shift<'_>,
    responder: &Responder<'_>,
    mut arrived: Arrived<'_>,
    cx: Option<&mut task::Context<'_>>,
) -> Result<Poll<Answered>, String> {
    let began = shift.began();
    let new = || Box::new(Intercepted::new(router, method));
    let intercepted = shift.place().intercepted.get_or_insert_with(new);
    // Lent: read in words as wide as those that it is made of.
    let arrived = &mut arrived;
    surroundings.run(|| {
        intercepted.turn_to(method, began);
        intercepted.start(method, S::IS_PLAIN, responder, arrived, cx)
    })
}

impl Intercepted {
    fn new(router: &Router, method: &Arc<Method>) -> Self {
        Self {
            inquiry: router.interceptors.inquiry(false),
            method: method.clone(),
            handler: None,
            is_own: false,
            arguments: None,
        }
    }

    /// Asks about the call that it has [turned to](Self::turn_to), makes its handler and polls that. Without a
    /// task at hand, all of it is left for later.
    fn start(
        &mut self,
        method: &Arc<Method>,
        is_plain: bool,
        responder: &Responder<'_>,
        arrived: &mut Arrived<'_>,
        cx: Option<&mut task::Context<'_>>,
    ) -> Poll<Answered> {
        let Some(cx) = cx else {
            return self.defer(arrived);
        };
        match self.inquiry.poll_before(cx) {
            Poll::Ready(Ok(())) => {
                self.use_metadata();
                let polled = catch(|| {
                    if let Err(answered) = self.prepare(method, is_plain, responder, arrived) {
                        return Poll::Ready(answered);
                    }
                    match &mut self.handler {
                        Some(task) => poll_task(task, responder, cx),
                        None => Poll::Pending,
                    }
                });
                self.note(polled, responder)
            }
            Poll::Ready(Err(status)) => Poll::Ready(self.refuse(responder, *status)),
            Poll::Pending => self.defer(arrived),
        }
    }

    /// Makes the handler, or answers the call. The service is asked once for plain calls of one method that
    /// follow one another.
    #[inline]
    fn prepare(
        &mut self,
        method: &Arc<Method>,
        is_plain: bool,
        responder: &Responder<'_>,
        arrived: &mut Arrived<'_>,
    ) -> Result<(), Answered> {
        if is_plain
            && self.is_own
            && let Some(task) = &mut self.handler
            && let Some(taken) = take_on(method, responder, arrived.body, task)
        {
            return taken;
        }
        self.is_own = false;
        prepare(method, responder, arrived.again(), &mut self.handler)?;
        self.is_own = is_plain;
        Ok(())
    }

    fn turn_to(&mut self, method: &Arc<Method>, began: Instant) {
        if !Arc::ptr_eq(&self.method, method) {
            self.method = method.clone();
            self.is_own = false;
        }
        let (metadata, deadline) = context::terms();
        let names = &method.names;
        self.inquiry
            .begin(names, metadata, context::peer, deadline, began);
    }

    /// Keeps what the handler is made of until the interceptors have let the call through.
    #[cold]
    fn defer(&mut self, arrived: &mut Arrived<'_>) -> Poll<Answered> {
        self.arguments = Some(Box::new(Arguments::new(
            arrived.body,
            arrived.later,
            arrived.items,
        )));
        Poll::Pending
    }

    /// Lets the handler find what the interceptors have changed.
    #[inline]
    fn use_metadata(&self) {
        let call = self.inquiry.call();
        if let Some(changed) = call.and_then(CallInfo::changed_metadata) {
            context::replace_metadata(changed.clone());
        }
    }

    #[inline]
    fn poll_handler(
        &mut self,
        responder: &Responder<'_>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answered> {
        let Some(handler) = &mut self.handler else {
            return Poll::Pending;
        };
        let polled = catch(|| poll_task(handler, responder, cx));
        self.note(polled, responder)
    }

    /// Tells those who were asked, if the call is over.
    #[inline]
    fn note(
        &mut self,
        polled: Result<Poll<Answered>, String>,
        responder: &Responder<'_>,
    ) -> Poll<Answered> {
        Poll::Ready(match polled {
            Ok(polled) => self.tell(ready!(polled)),
            Err(panic) => self.fail(responder, &panic),
        })
    }

    #[cold]
    fn refuse(&self, responder: &Responder<'_>, status: Status) -> Answered {
        self.tell(responder.fail(&status.with_not_processed()))
    }

    /// The handler has panicked.
    #[cold]
    fn fail(&mut self, responder: &Responder<'_>, panic: &str) -> Answered {
        let answered = fail_panicked(&self.method, responder, panic);
        let handler = self.handler.take();
        log_drop(&self.method, catch(|| drop(handler)));
        self.tell(answered)
    }

    /// Tells those who were asked.
    #[inline]
    fn tell(&self, answered: Answered) -> Answered {
        self.inquiry.tell(answered);
        answered
    }
}

impl Handling for Intercepted {
    fn poll_answered(
        mut self: Pin<&mut Self>,
        responder: &Responder<'_>,
        _: &mut Option<Box<dyn Source>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answered> {
        if self.arguments.is_some() {
            let answer = ready!(self.inquiry.poll_before(cx));
            let arguments = self.arguments.take();
            if let Err(status) = answer {
                return Poll::Ready(self.refuse(responder, *status));
            }
            self.use_metadata();
            let run = |arguments| deferred::run(self.method.clone(), responder.keep(), arguments);
            let handler = arguments.map(|arguments| Answering::task(run(*arguments)));
            self.handler = handler;
        }
        self.poll_handler(responder, cx)
    }

    fn is_of(&self, _: TypeId, _: *const ()) -> bool {
        false
    }

    fn take_on(self: Pin<&mut Self>, _: &Codec, _: &[u8]) -> Result<bool, CodecError> {
        Ok(false)
    }
}
