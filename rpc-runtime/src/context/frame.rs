//! The context of the future that is being polled on this thread.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};

use rpc_core::{Deadline, Metadata};

use super::{Context, Inner, Origin, TraceParent, trace};
use crate::transport::Peer;

thread_local! {
    static CURRENT: RefCell<Frame> = const { RefCell::new(Frame::NONE) };
    /// There is a call; by itself, because it is asked with each call that is made.
    static PRESENT: Cell<bool> = const { Cell::new(false) };
}

/// The surroundings of one call while nobody has asked for them.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    origin: Option<Arc<Origin>>,
    deadline: Option<Deadline>,
    metadata: Metadata,
    /// Made at the first question.
    context: Option<Context>,
    /// There is a call.
    present: bool,
}

impl Frame {
    const NONE: Self = Self {
        origin: None,
        deadline: None,
        metadata: Metadata::new(),
        context: None,
        present: false,
    };

    /// The frame of a call within the process.
    pub(crate) const fn new(deadline: Option<Deadline>, metadata: Metadata) -> Self {
        Self {
            origin: None,
            deadline,
            metadata,
            context: None,
            present: true,
        }
    }

    /// Forgets a call, but not where it came from: another may follow.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.metadata = Metadata::new();
        self.context = None;
    }

    /// Makes this the frame of the next call of a connection.
    #[inline]
    pub(crate) fn renew(
        &mut self,
        origin: &Arc<Origin>,
        deadline: Option<Deadline>,
        metadata: Metadata,
    ) {
        self.origin.get_or_insert_with(|| origin.clone());
        self.deadline = deadline;
        self.metadata = metadata;
        self.context = None;
        self.present = true;
    }

    /// Makes the frame that is in place that of the next calls of a connection.
    #[inline]
    pub(crate) fn renew_current(origin: &Arc<Origin>, deadline: Option<Deadline>) {
        CURRENT.with_borrow_mut(|current| {
            current.origin.get_or_insert_with(|| origin.clone());
            current.deadline = deadline;
            current.present = true;
        });
        // The frame of the last call may have been taken out, and none put in its place.
        PRESENT.set(true);
    }

    /// Forgets the call whose frame is in place; true if it is as it was [made](Self::renew_current).
    #[inline]
    pub(crate) fn clear_current() -> bool {
        let is_used = CURRENT
            .with_borrow(|current| current.context.is_some() || !current.metadata.is_empty());
        if is_used {
            Self::clear_used();
        }
        !is_used
    }

    #[cold]
    fn clear_used() {
        let used = CURRENT.with_borrow_mut(|current| {
            let metadata = std::mem::take(&mut current.metadata);
            (metadata, current.context.take())
        });
        // Outside of the borrow: dropping them may run code of the user's.
        drop(used);
    }

    /// Takes the frame out of its place.
    pub(crate) fn take_current() -> Self {
        CURRENT.take()
    }

    pub(super) fn of(context: Context) -> Self {
        Self {
            deadline: context.deadline(),
            context: Some(context),
            present: true,
            ..Self::default()
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Tells those who hold the context that the call is given up.
    pub(crate) fn cancel(&self) {
        if let Some(context) = &self.context {
            context.cancel();
        }
    }

    /// Puts this frame in place while `f` runs, also if it panics.
    #[inline]
    pub(crate) fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _entered = Entered::swap(self);
        f()
    }

    pub(crate) fn context(&mut self) -> Context {
        let made = self.context.get_or_insert_with(|| Context {
            inner: Arc::new(Inner {
                origin: self.origin.take(),
                deadline: self.deadline,
                metadata: std::mem::take(&mut self.metadata),
                ..Inner::default()
            }),
        });
        made.clone()
    }

    /// The trace that calls made here belong to.
    #[inline]
    fn trace_parent(&mut self) -> Option<TraceParent> {
        if self.context.is_none() && self.metadata.is_empty() {
            return None;
        }
        self.find_trace_parent()
    }

    #[cold]
    fn find_trace_parent(&mut self) -> Option<TraceParent> {
        let untraced = self.metadata.get(trace::TRACEPARENT).is_none();
        if self.context.is_none() && untraced {
            return None;
        }
        self.context().trace_parent()
    }

    #[cold]
    fn trace_state(&mut self) -> Option<String> {
        let context = self.context();
        context.metadata().get(trace::TRACESTATE).map(str::to_owned)
    }
}

/// Swaps the frames back when dropped: while one is in place, it holds the one around it.
struct Entered<'a>(&'a mut Frame);

impl<'a> Entered<'a> {
    #[inline]
    fn swap(frame: &'a mut Frame) -> Self {
        exchange(frame);
        Self(frame)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        exchange(self.0);
    }
}

#[inline]
fn exchange(frame: &mut Frame) {
    PRESENT.set(frame.present);
    CURRENT.with_borrow_mut(|current| std::mem::swap(current, frame));
}

/// What a call inherits from the context it is made in.
#[derive(Debug, Default)]
pub(crate) struct Ambient {
    pub(crate) deadline: Option<Deadline>,
    pub(crate) trace: Option<TraceParent>,
    /// Vendor data of the trace, handed on as it came.
    pub(crate) trace_state: Option<String>,
}

/// True if a call made now is part of another.
#[inline]
pub(crate) fn is_present() -> bool {
    PRESENT.get()
}

/// The deadline of the call that a call made now is part of; nothing if it belongs to a trace.
#[inline(never)]
pub(crate) fn untraced_deadline() -> Option<Option<Deadline>> {
    CURRENT.with_borrow_mut(|current| match current.trace_parent() {
        Some(_) => None,
        None => Some(current.deadline),
    })
}

/// What a call made now inherits, if it is part of another.
#[inline]
pub(crate) fn ambient() -> Option<Ambient> {
    PRESENT.get().then(ambient_here)
}

#[inline(never)]
fn ambient_here() -> Ambient {
    CURRENT.with_borrow_mut(|current| {
        let trace = current.trace_parent();
        Ambient {
            deadline: current.deadline,
            trace,
            trace_state: trace.and_then(|_| current.trace_state()),
        }
    })
}

pub(super) fn current() -> Context {
    CURRENT.with_borrow_mut(|current| match current.present {
        true => current.context(),
        false => Context::default(),
    })
}

/// The metadata and the deadline of the call whose frame is in place.
#[inline]
pub(crate) fn terms() -> (Metadata, Option<Deadline>) {
    CURRENT.with_borrow(|current| {
        let made = current.context.as_ref().map(Context::metadata);
        (made.unwrap_or(&current.metadata).clone(), current.deadline)
    })
}

/// Who makes the call whose frame is in place.
pub(crate) fn peer() -> Option<Peer> {
    CURRENT.with_borrow(|current| match &current.context {
        Some(context) => context.peer().cloned(),
        None => Some(current.origin.as_ref()?.peer().clone()),
    })
}

/// Lets the current handler find other metadata than the request had.
pub(crate) fn replace_metadata(metadata: Metadata) {
    CURRENT.with_borrow_mut(|current| match &mut current.context {
        Some(context) => {
            *context = context.changed(|inner| {
                if metadata.get(trace::TRACEPARENT) != inner.metadata.get(trace::TRACEPARENT) {
                    inner.trace = OnceLock::new();
                }
                inner.metadata = metadata;
            });
        }
        None if current.present => current.metadata = metadata,
        None => {}
    });
}

/// Takes the metadata that the current handler set for its response. Not inlined: in the crate of a
/// user, the frame is found by way of another call.
#[inline(never)]
pub(crate) fn take_response_metadata() -> Metadata {
    CURRENT.with_borrow(|current| match &current.context {
        Some(context) => context.take_response(),
        None => Metadata::new(),
    })
}
