//! A handler at work: its context, its panics, its time.

mod deferred;
mod handler;
mod intercepted;
mod surroundings;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::Body;
use rpc_core::{Codec, Deadline, Status};
use tokio::sync::oneshot;

use self::handler::{Arrived, poll_task, prepare, prepare_plain};
pub(super) use self::intercepted::Intercepted;
pub(crate) use self::surroundings::{Apart, Current, Surroundings};
use super::incoming::Task;
use super::responder::{OwnedResponder, Responder};
use super::router::{Method, Router};
use super::stats::nanos;
use super::{Collection, Respond, Shift};
use crate::clock;
use crate::contain::{catch, into_text};
use crate::context::Frame;
use crate::log;
use crate::stream::Receiver;

/// What a call starts with.
pub(crate) struct CallStart<'a, S> {
    pub(crate) call: CallId,
    pub(crate) oneway: bool,
    pub(crate) codec: &'a Codec,
    pub(crate) surroundings: S,
    /// The encoded arguments, unless they come `later`.
    pub(crate) body: &'a Body<'a>,
    pub(crate) later: Option<oneshot::Receiver<Bytes>>,
    /// The items behind the request.
    pub(crate) items: Option<Box<Receiver>>,
    pub(crate) respond: &'a Arc<dyn Respond>,
    /// Where its reply goes if it is ready at once; else it is for `respond`.
    pub(crate) collection: Option<&'a Collection<'a>>,
}

/// The future of a call that could not be answered at once. Dropping it stops the handler; somebody
/// else answers then.
pub(crate) struct Running {
    method: Arc<Method>,
    responder: OwnedResponder,
    frame: Frame,
    /// Absent once the call is answered.
    task: Option<Task>,
    timing: Timing,
    /// The handler waits for its first poll: until its arguments are here, or for a task of its own.
    queued: bool,
}

/// What came of starting a call.
pub(crate) enum Started {
    /// It is over.
    Over,
    /// Its handler waits.
    Waits(Running),
}

impl Running {
    /// Decodes the arguments and makes the handler's future. With a task at hand, the handler is
    /// polled at once, unless it is known to compute for long before it first waits.
    #[inline(never)]
    pub(crate) fn start<'a>(
        router: &Router,
        method: &'a Arc<Method>,
        start: CallStart<'_, Apart<'_>>,
        shift: &mut Shift<'a>,
        cx: Option<&mut task::Context<'_>>,
    ) -> Started {
        match router.intercepts() {
            true => Self::start_inlined::<_, true>(router, method, start, shift, cx),
            false => Self::start_inlined::<_, false>(router, method, start, shift, cx),
        }
    }

    /// As [`start`](Self::start), compiled for what the caller knows of most calls, and for servers with
    /// interceptors or without.
    #[inline(always)]
    pub(crate) fn start_inlined<'a, S: Surroundings, const INTERCEPTED: bool>(
        router: &Router,
        method: &'a Arc<Method>,
        start: CallStart<'_, S>,
        shift: &mut Shift<'a>,
        cx: Option<&mut task::Context<'_>>,
    ) -> Started {
        // Taken apart, so that the compiler need not put it together in memory.
        let CallStart {
            call,
            oneway,
            codec,
            mut surroundings,
            body,
            mut later,
            mut items,
            respond,
            collection,
        } = start;
        let responder = Responder {
            respond,
            collection,
            codec,
            call,
            oneway,
        };
        if !shift.enter() {
            refuse(method, &responder);
            return Started::Over;
        }
        let timed = shift.begin(method);
        if is_overdue(surroundings.deadline(), shift.now()) {
            shift.end(method, timed, expire(&responder));
            return Started::Over;
        }
        // Without its arguments, a handler has nothing to do.
        let is_early = !S::IS_PLAIN && !INTERCEPTED && later.is_some();
        let queued = cx.is_some() && (is_early || method.counters.first_poll_is_slow());
        let cx = cx.filter(|_| !queued);
        let polled = cx.is_some();
        // Out here, so that what panics is dropped apart from its panic; and lent: what is moved into a
        // closure may be copied.
        let arrived = Arrived {
            body,
            later: &mut later,
            items: &mut items,
        };
        let polled_or_panic = if INTERCEPTED {
            intercepted::start(
                &mut surroundings,
                router,
                method,
                shift,
                &responder,
                arrived,
                cx,
            )
        } else {
            let place = shift.place();
            surroundings.run(|| {
                let prepared = match S::IS_PLAIN {
                    true => prepare_plain(method, &responder, arrived, place),
                    false => prepare(method, &responder, arrived, place.renew()),
                };
                if let Err(answered) = prepared {
                    return Poll::Ready(answered);
                }
                match (&mut place.handler, cx) {
                    (Some(task), Some(cx)) => poll_task(task, &responder, cx),
                    _ => Poll::Pending,
                }
            })
        };
        match polled_or_panic {
            Ok(Poll::Ready(answered)) => over(method, shift, timed, answered),
            Ok(Poll::Pending) => {
                let mut timing = Timing::new(shift.now());
                if polled && timed {
                    timing.observe_first_poll(method, clock::now());
                }
                timing.polled |= polled;
                Started::Waits(Self::wait(
                    method,
                    &responder,
                    surroundings,
                    shift,
                    timing,
                    queued,
                ))
            }
            Err(panic) => {
                let answered = fail_and_drop(method, &responder, surroundings, shift, &panic);
                over(method, shift, timed, answered)
            }
        }
    }

    /// Ends a call that was started, in [surroundings](Current) whose panics others catch, and panicked.
    #[cold]
    pub(crate) fn end_panicked<'a>(
        method: &'a Arc<Method>,
        start: CallStart<'_, Current>,
        shift: &mut Shift<'a>,
        panic: Box<dyn Any + Send>,
    ) {
        let responder = Responder {
            respond: start.respond,
            collection: start.collection,
            codec: start.codec,
            call: start.call,
            oneway: start.oneway,
        };
        let timed = !shift.stands_for(method);
        let panic = into_text(panic);
        let answered = fail_and_drop(method, &responder, start.surroundings, shift, &panic);
        over(method, shift, timed, answered);
    }

    /// A handler goes on by itself. Not inlined: most are over when they were polled.
    #[inline(never)]
    fn wait<'a>(
        method: &'a Arc<Method>,
        responder: &Responder<'_>,
        mut surroundings: impl Surroundings,
        shift: &mut Shift<'a>,
        timing: Timing,
        queued: bool,
    ) -> Self {
        method.counters.start(1);
        Self {
            method: method.clone(),
            responder: responder.keep(),
            frame: surroundings.take(),
            task: shift.hand_over(),
            timing,
            queued,
        }
    }
}

impl Running {
    /// True if it is known to compute for long before it first waits.
    pub(crate) fn is_slow(&self) -> bool {
        self.method.counters.first_poll_is_slow()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Future for Running {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let responder = this.responder.lend();
        if std::mem::take(&mut this.queued) {
            this.timing.turned_to = clock::now();
            if is_overdue(this.frame.deadline(), this.timing.turned_to) {
                let answered = expire(&responder);
                // Nothing was polled: that says nothing of how long it takes.
                this.timing.polled = true;
                this.timing.finish(&this.method, answered);
                drop_contained(&this.method, &mut this.frame, this.task.take());
            }
        }
        if this.task.is_none() {
            return Poll::Ready(());
        }
        let slot = &mut this.task;
        let polled = contained(&mut this.frame, || {
            let answered = match slot {
                Some(task) => ready!(poll_task(task, &responder, cx)),
                None => return Poll::Pending,
            };
            *slot = None;
            Poll::Ready(answered)
        });
        let answered = match polled {
            Ok(Poll::Ready(answered)) => answered,
            Ok(Poll::Pending) => {
                if !this.timing.polled {
                    this.timing.observe_first_poll(&this.method, clock::now());
                }
                return Poll::Pending;
            }
            Err(panic) => {
                let answered = fail_panicked(&this.method, &responder, &panic);
                drop_contained(&this.method, &mut this.frame, this.task.take());
                answered
            }
        };
        this.timing.finish(&this.method, answered);
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
        let elapsed = clock::now().saturating_duration_since(self.timing.started);
        self.method.counters.finish(1, 1, nanos(elapsed));
        drop_contained(&self.method, &mut self.frame, Some(task));
    }
}

/// How long a call takes.
struct Timing {
    started: Instant,
    /// When its connection, or its own task, turned to it.
    turned_to: Instant,
    polled: bool,
}

impl Timing {
    #[inline]
    const fn new(now: Instant) -> Self {
        Self {
            started: now,
            turned_to: now,
            polled: false,
        }
    }

    fn finish(&mut self, method: &Method, answered: Answered) {
        let now = clock::now();
        let elapsed = now.saturating_duration_since(self.started);
        let failed = matches!(answered, Answered::Error(_));
        method.counters.finish(1, u64::from(failed), nanos(elapsed));
        self.observe_first_poll(method, now);
    }

    /// Notes how long the first poll took, once; the wait for a task of its own is no part of it.
    #[inline]
    fn observe_first_poll(&mut self, method: &Method, now: Instant) {
        if !std::mem::replace(&mut self.polled, true) {
            let elapsed = now.saturating_duration_since(self.turned_to);
            method.counters.observe_first_poll(nanos(elapsed));
        }
    }
}

#[inline]
fn is_overdue(deadline: Option<Deadline>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline.has_passed(now))
}

/// Ends a call that did not have to wait.
#[inline]
fn over<'a>(method: &'a Method, shift: &mut Shift<'a>, timed: bool, answered: Answered) -> Started {
    // Its first poll was all of it.
    if let Some(nanos) = shift.end(method, timed, answered) {
        method.counters.observe_first_poll(nanos);
    }
    Started::Over
}

/// Answers a call before its handler has started.
#[cold]
fn expire(responder: &Responder<'_>) -> Answered {
    let text = "the deadline passed before the handler was started";
    responder.fail(&Status::deadline_exceeded(text).with_not_processed())
}

#[cold]
fn fail_panicked(method: &Method, responder: &Responder<'_>, panic: &str) -> Answered {
    log_panic(method, panic);
    responder.fail(&Status::internal(HANDLER_PANICKED))
}

/// Runs code of the user's in its context; a panic in it is a value.
#[inline]
fn contained<R>(frame: &mut Frame, f: impl FnOnce() -> R) -> Result<R, String> {
    frame.enter(|| catch(f))
}

/// Answers a call whose handler panicked where it was made, and drops what is left of it.
#[cold]
fn fail_and_drop(
    method: &Method,
    responder: &Responder<'_>,
    mut surroundings: impl Surroundings,
    shift: &mut Shift<'_>,
    panic: &str,
) -> Answered {
    let answered = fail_panicked(method, responder, panic);
    let task = shift.place().take();
    log_drop(method, surroundings.contain(|| drop(task)));
    answered
}

#[cold]
fn drop_contained(method: &Method, frame: &mut Frame, task: Option<Task>) {
    log_drop(method, contained(frame, || drop(task)));
}

#[cold]
fn log_drop(method: &Method, dropped: Result<(), String>) {
    if let Err(panic) = dropped {
        log::error!(method = %method.path(), panic, "a handler's drop panicked");
    }
}

const HANDLER_PANICKED: &str = "the handler panicked";

fn log_panic(method: &Method, panic: &str) {
    log::error!(method = %method.path(), panic, "handler panicked");
}

/// Answers a call that the server has no room for.
#[cold]
fn refuse(method: &Method, responder: &Responder<'_>) {
    let text = format!(
        "{} calls are running on this server; that is the limit",
        method.admission.calls_max()
    );
    responder.fail(&Status::resource_exhausted(text).with_not_processed());
}
