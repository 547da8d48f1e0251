//! Where items come from before they are sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use rpc_core::wire::Batch;
use rpc_core::{Codec, Deadline, Status};
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;
use tokio::time::{Sleep, sleep_until};

use super::local::fill;
use super::{Inner, Lent};
use crate::contain::catch;
use crate::log;

/// A stream whose items are encoded as they come.
pub(crate) trait Source: Send {
    /// Adds items to the batch until it has `bytes`, no more is ready, or the stream ends.
    fn poll_fill(&mut self, cx: &mut Context<'_>, terms: &Terms, batch: &mut Batch) -> Filled;
}

/// How items are encoded.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) codec: Codec,
    /// The longest item.
    pub(crate) item_bytes_max: usize,
    /// A batch with as many bytes is worth sending.
    pub(crate) batch_bytes: usize,
}

/// How far a source got; the batch may have grown in any case.
#[derive(Debug)]
pub(crate) enum Filled {
    /// The batch is full.
    Full,
    /// The task is woken when there is more.
    Pending,
    /// There are no more items: the stream has ended, well or not.
    Ended(Result<(), Status>),
}

/// Asks a source for more. A panic of the user's stream ends it, behind what it gave before.
pub(super) fn fill_contained(
    source: &mut dyn Source,
    cx: &mut Context<'_>,
    terms: &Terms,
    batch: &mut Batch,
) -> Filled {
    catch(|| source.poll_fill(cx, terms, batch)).unwrap_or_else(|panic| {
        log::error!(panic, "a stream panicked");
        Filled::Ended(Err(Status::internal("the stream panicked")))
    })
}

/// What a stream gave to a call.
pub(super) struct FromLent<T> {
    lent: Lent<T>,
    /// What was lent, from the first item on.
    own: Option<Inner<T>>,
}

impl<T> FromLent<T> {
    pub(super) const fn new(lent: Lent<T>) -> Self {
        Self { lent, own: None }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Source for FromLent<T> {
    fn poll_fill(&mut self, cx: &mut Context<'_>, terms: &Terms, batch: &mut Batch) -> Filled {
        if self.own.is_none() {
            self.own = self
                .lent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        }
        let Some(stream) = &mut self.own else {
            let status = Status::failed_precondition("this stream was given to another call");
            return Filled::Ended(Err(status));
        };
        let filled = match &mut *stream {
            Inner::Local(stream) => stream.as_mut().poll_fill(cx, terms, batch),
            other => fill(cx, terms, batch, |cx| other.poll_next(cx)),
        };
        if matches!(filled, Filled::Ended(_)) {
            *stream = Inner::Ended;
        }
        filled
    }
}

/// A source that is polled in the context of the call that it belongs to.
struct InContext {
    context: crate::Context,
    source: Box<dyn Source>,
}

impl Source for InContext {
    fn poll_fill(&mut self, cx: &mut Context<'_>, terms: &Terms, batch: &mut Batch) -> Filled {
        let Self { context, source } = self;
        context.enter(|| source.poll_fill(cx, terms, batch))
    }
}

/// A source that is polled in the context that is current now, whoever polls it.
pub(crate) fn in_current_context(source: Box<dyn Source>) -> Box<dyn Source> {
    let context = crate::Context::current();
    Box::new(InContext { context, source })
}

/// A source that ends with an error at the deadline of its call, where no connection sees to it.
struct InTime {
    expiry: Pin<Box<Sleep>>,
    source: Box<dyn Source>,
}

impl Source for InTime {
    fn poll_fill(&mut self, cx: &mut Context<'_>, terms: &Terms, batch: &mut Batch) -> Filled {
        if self.expiry.as_mut().poll(cx).is_ready() {
            let text = "the stream did not end in time";
            return Filled::Ended(Err(Status::deadline_exceeded(text)));
        }
        self.source.poll_fill(cx, terms, batch)
    }
}

/// A source that lasts until the deadline, if there is one.
pub(crate) fn in_time(deadline: Option<Deadline>, source: Box<dyn Source>) -> Box<dyn Source> {
    let Some(deadline) = deadline else {
        return source;
    };
    let expiry = Box::pin(sleep_until(deadline.instant().into()));
    Box::new(InTime { expiry, source })
}

/// The items of a call that is not made over a connection; see [`Invoke`](crate::Invoke).
#[derive(Clone)]
pub struct Items {
    source: Arc<Mutex<Option<Box<dyn Source>>>>,
}

impl Items {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self {
            source: Arc::new(Mutex::new(Some(source))),
        }
    }

    /// The source, for whoever asks first.
    pub(crate) fn take(&self) -> Option<Box<dyn Source>> {
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}
