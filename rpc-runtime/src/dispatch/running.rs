//! A handler at work: its context, its panics, its time.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::Body;
use rpc_core::{Codec, Status};

use super::Respond;
use super::incoming::{Dispatched, Incoming, Responder, Task};
use super::router::{Method, Router};
use crate::clock;
use crate::context::Frame;
use crate::middleware::{CallInfo, Interceptor};

/// What a call starts with.
pub(crate) struct CallStart<'a> {
    pub(crate) call: CallId,
    pub(crate) oneway: bool,
    pub(crate) codec: Codec,
    pub(crate) frame: Frame,
    pub(crate) body: Body<'a>,
    pub(crate) respond: Arc<dyn Respond>,
}

/// The future of one call. Dropping it stops the handler; somebody else answers then.
pub(crate) struct Running {
    method: Arc<Method>,
    responder: Responder,
    frame: Frame,
    /// Absent once the call is answered.
    task: Option<Task>,
    started: Instant,
    polled: bool,
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
        method.counters.start();
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
            started: clock::now(),
            polled: false,
        };
        let responder = running.responder.clone();
        let dispatched = catch_unwind(AssertUnwindSafe(|| {
            if router.interceptors.is_empty() {
                return dispatch(method, responder, &start.body);
            }
            let body = start.body.into_bytes();
            let interceptors = router.interceptors.clone();
            let task = intercepted(interceptors, method.clone(), responder, body);
            Some(Dispatched::Task(Box::pin(task)))
        }));
        match dispatched {
            Ok(Some(Dispatched::Task(task))) => {
                running.task = Some(task);
                return Some(running);
            }
            Ok(Some(Dispatched::Answered(answered))) => running.finish(answered),
            Ok(None) => running.fail_internal("the service did not dispatch the call"),
            Err(panic) => running.panicked(&*panic),
        }
        None
    }

    /// True if the handler is known to compute for long before it first waits: it is better not
    /// polled on the task of its connection.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        self.method.counters.first_poll_is_slow()
    }

    fn finish(&mut self, answered: Answered) {
        let elapsed = clock::now().saturating_duration_since(self.started);
        let failed = matches!(answered, Answered::Error(_));
        self.method.counters.finish(elapsed, failed);
        if !self.polled {
            self.method.counters.observe_first_poll(elapsed);
        }
        self.task = None;
    }

    fn panicked(&mut self, panic: &(dyn Any + Send)) {
        let text = panic_text(panic);
        tracing::error!(method = %self.method.path(), panic = text, "handler panicked");
        self.fail_internal("the handler panicked");
    }

    fn fail_internal(&mut self, text: &'static str) {
        let answered = self.responder.fail(&Status::internal(text));
        self.finish(answered);
    }
}

impl Future for Running {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(task) = &mut this.task else {
            return Poll::Ready(());
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            this.frame.enter(|| task.as_mut().poll(cx))
        }));
        match polled {
            Ok(Poll::Ready(answered)) => this.finish(answered),
            Ok(Poll::Pending) => {
                if !std::mem::replace(&mut this.polled, true) {
                    let elapsed = clock::now().saturating_duration_since(this.started);
                    this.method.counters.observe_first_poll(elapsed);
                }
                return Poll::Pending;
            }
            Err(panic) => this.panicked(&*panic),
        }
        Poll::Ready(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else {
            return;
        };
        // The handler is stopped while it waits: its caller has gone.
        let elapsed = clock::now().saturating_duration_since(self.started);
        self.method.counters.finish(elapsed, true);
        let frame = &mut self.frame;
        let dropped = catch_unwind(AssertUnwindSafe(|| frame.enter(|| drop(task))));
        if let Err(panic) = dropped {
            let text = panic_text(&*panic);
            tracing::error!(method = %self.method.path(), panic = text, "a handler's drop panicked");
        }
    }
}

fn dispatch(method: &Method, responder: Responder, body: &[u8]) -> Option<Dispatched> {
    let mut dispatched = None;
    method.service.dispatch(Incoming {
        method: method.descriptor.id,
        body,
        responder,
        dispatched: &mut dispatched,
    });
    dispatched
}

/// Asks the interceptors, then dispatches: a refused body is never decoded.
async fn intercepted(
    interceptors: Arc<[Arc<dyn Interceptor>]>,
    method: Arc<Method>,
    responder: Responder,
    body: Bytes,
) -> Answered {
    let info = CallInfo::new(method.service_name.clone(), method.descriptor);
    let started = clock::now();
    let mut asked = 0;
    let mut refused = None;
    for interceptor in interceptors.iter() {
        asked += 1;
        if let Err(status) = interceptor.before(&info).await {
            refused = Some(status);
            break;
        }
    }
    let answered = match refused {
        Some(status) => responder.fail(&status),
        None => match dispatch(&method, responder.clone(), &body) {
            Some(Dispatched::Task(task)) => task.await,
            Some(Dispatched::Answered(answered)) => answered,
            None => responder.fail(&Status::internal("the service did not dispatch the call")),
        },
    };
    let elapsed = clock::now().saturating_duration_since(started);
    for interceptor in interceptors[..asked].iter().rev() {
        interceptor.after(&info, answered, elapsed);
    }
    answered
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
    text.unwrap_or("a value that is not text")
}
