//! A handler at work: its context, its panics, its time.

mod deferred;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Instant;

use bytes::Bytes;
use rpc_core::codec::sharing;
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::Body;
use rpc_core::{Codec, Status};
use tokio::sync::oneshot;

use self::deferred::Arguments;
use super::Respond;
use super::incoming::{Dispatched, Incoming, Responder, Task};
use super::router::{Method, Router};
use crate::clock;
use crate::contain::catch;
use crate::context::Frame;
use crate::stream::Receiver;

/// What a call starts with.
pub(crate) struct CallStart<'a> {
    pub(crate) call: CallId,
    pub(crate) oneway: bool,
    pub(crate) codec: Codec,
    pub(crate) frame: Frame,
    pub(crate) body: StartBody<'a>,
    /// The items behind the request.
    pub(crate) items: Option<Receiver>,
    pub(crate) respond: Arc<dyn Respond>,
}

/// The encoded arguments.
pub(crate) enum StartBody<'a> {
    Whole(Body<'a>),
    /// On their way.
    Later(oneshot::Receiver<Bytes>),
}

/// The future of one call. Dropping it stops the handler; somebody else answers then.
pub(crate) struct Running {
    method: Arc<Method>,
    responder: Responder,
    frame: Frame,
    /// Absent once the call is answered.
    task: Option<Task>,
    started: Instant,
    /// When its connection, or its own task, turned to it.
    turned_to: Instant,
    polled: bool,
    /// The handler waits for a task of its own before its first poll.
    queued: bool,
}

impl Running {
    /// Decodes the arguments and makes the handler's future; nothing of the handler runs yet.
    /// `None` if the request is answered already.
    #[inline]
    pub(crate) fn start(
        router: &Router,
        method: &Arc<Method>,
        start: CallStart<'_>,
    ) -> Option<Self> {
        let admitted = method.admission.enter();
        if !admitted {
            refuse(method, &start);
            return None;
        }
        method.counters.start();
        let started = clock::now();
        let mut running = Self {
            method: method.clone(),
            responder: Responder {
                respond: start.respond,
                call: start.call,
                codec: start.codec,
                oneway: start.oneway,
            },
            frame: start.frame,
            task: None,
            started,
            turned_to: started,
            polled: false,
            queued: false,
        };
        if running.is_overdue(running.started) {
            running.expire();
            return None;
        }
        let responder = running.responder.clone();
        let items = start.items;
        let dispatched = catch(|| match start.body {
            StartBody::Whole(body) if router.interceptors.is_empty() => match &body {
                Body::Owned(bytes) => sharing(bytes, || dispatch(method, responder, bytes, items)),
                body => dispatch(method, responder, body, items),
            },
            body => {
                let interceptors = router.interceptors.clone();
                let arguments = Arguments::new(body, items);
                let task = deferred::run(interceptors, method.clone(), responder, arguments);
                Some(Dispatched::Task(Box::pin(task)))
            }
        });
        match dispatched {
            Ok(Some(Dispatched::Task(task))) => {
                running.task = Some(task);
                return Some(running);
            }
            Ok(Some(Dispatched::Answered(answered))) => running.finish(answered),
            Ok(None) => running.fail_internal(NOT_DISPATCHED),
            Err(panic) => running.panicked(&panic),
        }
        None
    }

    /// True if the handler is known to compute for long before it first waits: it is better not
    /// polled on the task of its connection.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        self.method.counters.first_poll_is_slow()
    }

    /// The handler will be polled first by a task of its own, which may take a while to run.
    pub(crate) const fn queue(&mut self) {
        self.queued = true;
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.frame
            .deadline()
            .is_some_and(|deadline| deadline.has_passed(now))
    }

    /// Ends the call before its handler has started.
    #[cold]
    fn expire(&mut self) {
        // Nothing was polled: that says nothing of how long it takes.
        self.polled = true;
        let text = "the deadline passed before the handler was started";
        let status = Status::deadline_exceeded(text).with_not_processed();
        let answered = self.responder.fail(&status);
        self.finish(answered);
    }

    fn finish(&mut self, answered: Answered) {
        let now = clock::now();
        let elapsed = now.saturating_duration_since(self.started);
        let failed = matches!(answered, Answered::Error(_));
        self.method.counters.finish(elapsed, failed);
        self.observe_first_poll(now);
        self.task = None;
    }

    /// Notes how long the first poll took, once; the wait for a task of its own is no part of it.
    #[inline]
    fn observe_first_poll(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.polled, true) {
            let elapsed = now.saturating_duration_since(self.turned_to);
            self.method.counters.observe_first_poll(elapsed);
        }
    }

    fn panicked(&mut self, panic: &str) {
        log_panic(&self.method, panic);
        self.fail_internal(HANDLER_PANICKED);
    }

    fn fail_internal(&mut self, text: &'static str) {
        let answered = self.responder.fail(&Status::internal(text));
        self.finish(answered);
    }
}

impl Future for Running {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if std::mem::take(&mut this.queued) {
            this.turned_to = clock::now();
            if this.is_overdue(this.turned_to) {
                this.expire();
            }
        }
        let Some(task) = &mut this.task else {
            return Poll::Ready(());
        };
        let polled = catch(|| this.frame.enter(|| task.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Ready(answered)) => this.finish(answered),
            Ok(Poll::Pending) => {
                if !this.polled {
                    this.observe_first_poll(clock::now());
                }
                return Poll::Pending;
            }
            Err(panic) => this.panicked(&panic),
        }
        Poll::Ready(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.method.admission.leave();
        let Some(task) = self.task.take() else {
            return;
        };
        self.frame.cancel();
        // The handler is stopped while it waits: its caller has gone.
        let elapsed = clock::now().saturating_duration_since(self.started);
        self.method.counters.finish(elapsed, true);
        let frame = &mut self.frame;
        if let Err(panic) = catch(|| frame.enter(|| drop(task))) {
            tracing::error!(method = %self.method.path(), panic, "a handler's drop panicked");
        }
    }
}

fn dispatch(
    method: &Method,
    responder: Responder,
    body: &[u8],
    items: Option<Receiver>,
) -> Option<Dispatched> {
    let mut dispatched = None;
    method.service.dispatch(Incoming {
        method: method.descriptor.id,
        body,
        items,
        responder,
        dispatched: &mut dispatched,
    });
    dispatched
}

const HANDLER_PANICKED: &str = "the handler panicked";
const NOT_DISPATCHED: &str = "the service did not dispatch the call";

fn log_panic(method: &Method, panic: &str) {
    tracing::error!(method = %method.path(), panic, "handler panicked");
}

/// Answers a call that the server has no room for.
#[cold]
fn refuse(method: &Method, start: &CallStart<'_>) {
    if start.oneway {
        return start.respond.finish_oneway(start.call);
    }
    let text = format!(
        "{} calls are running on this server; that is the limit",
        method.admission.calls_max()
    );
    let status = Status::resource_exhausted(text).with_not_processed();
    start.respond.fail(start.call, &status);
}
