//! What surrounds a call: who calls, until when, with what metadata.
//!
//! How does a handler get it without a parameter? The runtime puts it in place around every poll of
//! the handler's future and takes it away afterwards. A call that never asks pays for moving a few
//! words.

mod capture;
mod frame;
mod origin;
mod signal;
mod trace;

pub(crate) use capture::capture;
pub use capture::capture_metadata;
pub(crate) use frame::{
    Ambient, Frame, ambient, is_present, peer, replace_metadata, take_response_metadata, terms,
    untraced_deadline,
};
pub(crate) use origin::Origin;
pub use trace::TraceParent;
pub(crate) use trace::{TRACEPARENT, TRACESTATE};

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rpc_core::{Deadline, Metadata, MetadataError};

use self::signal::Signal;
use crate::clock;
use crate::transport::Peer;

/// The surroundings of a call. A cheap handle.
///
/// In a handler, [`Context::current`] is that of the call being handled, and the calls the handler
/// makes inherit from it: they end at its deadline at the latest, carry its trace on, and are
/// dropped with the handler. Elsewhere a context can be made and put around a future with
/// [`scope`](Self::scope).
#[derive(Clone, Default)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    origin: Option<Arc<Origin>>,
    deadline: Option<Deadline>,
    metadata: Metadata,
    /// The trace of the request, continued by a span of this call's own.
    trace: OnceLock<Option<TraceParent>>,
    call: Arc<Call>,
}

/// What a context shares with those made from it: the end of the call, and its response.
#[derive(Default)]
struct Call {
    response: Mutex<Metadata>,
    cancelled: Signal,
}

impl Context {
    /// The context of the call that this task handles, or of the [`scope`](Self::scope) it runs in;
    /// an empty one elsewhere.
    ///
    /// A task that a handler spawned is elsewhere: see
    /// [`in_current_context`](InCurrentContext::in_current_context).
    #[must_use]
    pub fn current() -> Self {
        frame::current()
    }

    /// A context without anything in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A context like this one that ends after `timeout` at the latest.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let deadline = Deadline::after(clock::now(), timeout);
        let earlier = self
            .inner
            .deadline
            .map_or(deadline, |own| own.min(deadline));
        self.changed(|inner| inner.deadline = Some(earlier))
    }

    /// A context like this one whose calls belong to a trace.
    #[must_use]
    pub fn with_trace_parent(&self, trace: TraceParent) -> Self {
        self.changed(|inner| inner.trace = OnceLock::from(Some(trace)))
    }

    /// Who calls; `None` outside of a handler and for calls within the process.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        Some(self.inner.origin.as_ref()?.peer())
    }

    /// The metadata of the request.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.inner.deadline
    }

    /// The time until the caller stops waiting; zero when it has.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.inner.deadline?.remaining(clock::now()))
    }

    /// The W3C trace context that calls made here carry as their parent: the trace of the request
    /// with a span id of this call's own. `None` if the request belongs to no trace.
    #[must_use]
    pub fn trace_parent(&self) -> Option<TraceParent> {
        *self.inner.trace.get_or_init(|| {
            let parent = self.inner.metadata.get(trace::TRACEPARENT)?;
            Some(
                parent
                    .parse::<TraceParent>()
                    .ok()?
                    .child(fastrand::u64(1..)),
            )
        })
    }

    /// Adds a pair to the metadata of the response. Without effect once the handler has returned.
    ///
    /// # Errors
    /// The key or the value cannot travel.
    pub fn add_response_metadata(&self, key: &str, value: &str) -> Result<(), MetadataError> {
        let mut response = self.response();
        response.append(key, value)
    }

    /// Ready when the call is given up while its handler runs: the caller dropped it, its deadline
    /// passed, the connection was lost, or the server was closed. Never ready if the call ends by
    /// itself.
    ///
    /// The handler's own future is dropped then and needs no notice; this is for what it spawned.
    pub async fn cancelled(&self) {
        self.inner.call.cancelled.wait().await;
    }

    /// True once the call is given up; see [`cancelled`](Self::cancelled).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.call.cancelled.is_given()
    }

    /// Ready when the connection that the call came by takes no more calls: its server
    /// [shuts down](crate::Server::shutdown), or the connection has reached its
    /// [age](crate::ServerBuilder::connection_age_max). The call itself goes on, until the grace of
    /// the server is over.
    ///
    /// For handlers that have no end of their own, such as one that replies with a stream of news. If
    /// it ends the stream now, its client goes on at another server, and the shutdown need not wait.
    /// Never ready outside of a handler, within a process, and for a oneway call that has outlived
    /// its connection. Dropping the future changes nothing.
    ///
    /// ```
    /// # use rpc_runtime::{Context, Streaming};
    /// # async fn handler(mut news: tokio::sync::mpsc::Receiver<String>) -> Streaming<String> {
    /// let context = Context::current();
    /// let (sender, stream) = Streaming::channel(16);
    /// tokio::spawn(async move {
    ///     loop {
    ///         tokio::select! {
    ///             () = context.draining() => return,
    ///             () = sender.closed() => return,
    ///             Some(news) = news.recv() => if sender.send(news).await.is_err() { return },
    ///             else => return,
    ///         }
    ///     }
    /// });
    /// stream
    /// # }
    /// ```
    pub async fn draining(&self) {
        match &self.inner.origin {
            Some(origin) => origin.draining().wait().await,
            None => std::future::pending().await,
        }
    }

    /// True once the connection that the call came by takes no more calls; see
    /// [`draining`](Self::draining).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let origin = self.inner.origin.as_ref();
        origin.is_some_and(|origin| origin.draining().is_given())
    }

    /// Runs a future in this context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        let mut frame = Frame::of(self);
        let mut future = pin!(future);
        std::future::poll_fn(|cx| frame.enter(|| future.as_mut().poll(cx))).await
    }

    /// Runs `f` in this context.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        Frame::of(self.clone()).enter(f)
    }

    fn cancel(&self) {
        self.inner.call.cancelled.give();
    }

    fn response(&self) -> std::sync::MutexGuard<'_, Metadata> {
        let response = self.inner.call.response.lock();
        response.unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn take_response(&self) -> Metadata {
        std::mem::take(&mut *self.response())
    }

    fn changed(&self, change: impl FnOnce(&mut Inner)) -> Self {
        // The span of the call is chosen once.
        let _ = self.trace_parent();
        let mut inner = Inner {
            origin: self.inner.origin.clone(),
            deadline: self.inner.deadline,
            metadata: self.inner.metadata.clone(),
            trace: self.inner.trace.clone(),
            call: self.inner.call.clone(),
        };
        change(&mut inner);
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("peer", &self.peer())
            .field("deadline", &self.inner.deadline)
            .field("metadata", &self.inner.metadata)
            .finish_non_exhaustive()
    }
}

/// Carries the context of the current task into another.
pub trait InCurrentContext: Future + Sized {
    /// The same future, run in the context that is current now; for `tokio::spawn` in a handler.
    fn in_current_context(self) -> impl Future<Output = Self::Output>;
}

impl<F: Future> InCurrentContext for F {
    fn in_current_context(self) -> impl Future<Output = F::Output> {
        Context::current().scope(self)
    }
}
