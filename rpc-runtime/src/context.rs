//! What surrounds a call: who calls, until when, with what metadata.
//!
//! How does a handler get it without a parameter? The runtime puts it in place around every poll of
//! the handler's future and takes it away afterwards. A call that never asks pays for moving a few
//! words.

mod capture;

pub(crate) use capture::capture;
pub use capture::capture_metadata;

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc_core::{Deadline, Metadata, MetadataError};

use crate::clock;
use crate::transport::Peer;

thread_local! {
    /// The frame of the handler that is being polled on this thread.
    static CURRENT: RefCell<Option<Frame>> = const { RefCell::new(None) };
}

/// The surroundings of the call that is being handled. A cheap handle.
#[derive(Clone, Default)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    peer: Option<Peer>,
    deadline: Option<Deadline>,
    metadata: Metadata,
    response: Mutex<Metadata>,
}

impl Context {
    /// The context of the call that this task handles; an empty one outside of a handler.
    ///
    /// A task that a handler spawned is outside.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.with_borrow_mut(|current| current.as_mut().map(Frame::context).unwrap_or_default())
    }

    /// Who calls; `None` outside of a handler and for calls within the process.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.inner.peer.as_ref()
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

    /// Adds a pair to the metadata of the response. Without effect once the handler has returned.
    ///
    /// # Errors
    /// The key or the value cannot travel.
    pub fn add_response_metadata(&self, key: &str, value: &str) -> Result<(), MetadataError> {
        let mut response = self
            .inner
            .response
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        response.append(key, value)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("peer", &self.inner.peer)
            .field("deadline", &self.inner.deadline)
            .field("metadata", &self.inner.metadata)
            .finish_non_exhaustive()
    }
}

/// The surroundings of one call while nobody has asked for them.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    peer: Option<Peer>,
    deadline: Option<Deadline>,
    metadata: Metadata,
    /// Made at the first question.
    context: Option<Context>,
}

impl Frame {
    pub(crate) fn new(peer: Option<Peer>, deadline: Option<Deadline>, metadata: Metadata) -> Self {
        Self {
            peer,
            deadline,
            metadata,
            context: None,
        }
    }

    fn context(&mut self) -> Context {
        let made = self.context.get_or_insert_with(|| Context {
            inner: Arc::new(Inner {
                peer: self.peer.take(),
                deadline: self.deadline,
                metadata: std::mem::take(&mut self.metadata),
                response: Mutex::default(),
            }),
        });
        made.clone()
    }

    /// Puts this frame in place while `f` runs, also if it panics.
    #[inline]
    pub(crate) fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _entered = Entered::swap(self);
        f()
    }
}

/// Swaps the frame back when dropped.
struct Entered<'a> {
    frame: &'a mut Frame,
    outer: Option<Frame>,
}

impl<'a> Entered<'a> {
    #[inline]
    fn swap(frame: &'a mut Frame) -> Self {
        let outer = CURRENT.replace(Some(std::mem::take(frame)));
        Self { frame, outer }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        let ours = CURRENT.replace(self.outer.take());
        *self.frame = ours.unwrap_or_default();
    }
}

/// Takes the metadata that the current handler set for its response.
#[inline]
pub(crate) fn take_response_metadata() -> Metadata {
    CURRENT.with_borrow_mut(|current| {
        let context = current.as_mut().and_then(|frame| frame.context.as_ref());
        let Some(context) = context else {
            return Metadata::new();
        };
        let mut response = context
            .inner
            .response
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *response)
    })
}
