//! Streams that wait until more of what they appended is written, first in, first out.
//!
//! Nobody overtakes: while streams stand in line, only the one whose turn it is may append. Without
//! that, those that find room by chance send several times as much as those that wait for it.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use rpc_core::connection::CallId;

/// The queue. Whoever is woken and finds room left wakes the next.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    order: VecDeque<CallId>,
    /// Those in `order` who are not here have gone.
    wakers: HashMap<CallId, Waker>,
    /// Whose turn it is: it was woken, and has not come yet.
    called: Option<CallId>,
}

impl Turns {
    /// Lines up, or renews the waker of a stream that stands in line.
    pub(super) fn wait(&mut self, call: CallId, waker: &Waker) {
        self.come(call);
        if self.wakers.insert(call, waker.clone()).is_none() {
            self.order.push_back(call);
        }
    }

    /// True if a stream need not line up.
    #[inline]
    pub(super) fn admits(&self, call: CallId) -> bool {
        self.called == Some(call) || self.called.is_none() && self.wakers.is_empty()
    }

    /// True if nobody stands in line.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// A stream does something, so that its turn is over.
    #[inline]
    pub(super) fn come(&mut self, call: CallId) {
        if self.called == Some(call) {
            self.called = None;
        }
    }

    /// The task whose turn it is, unless one that was called before has not come yet.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Waker> {
        if self.order.is_empty() {
            return None;
        }
        self.next_of_many()
    }

    /// The same, of connections that carry streams.
    #[inline(never)]
    fn next_of_many(&mut self) -> Option<Waker> {
        if self.called.is_some() {
            return None;
        }
        while let Some(call) = self.order.pop_front() {
            if let Some(waker) = self.wakers.remove(&call) {
                self.called = Some(call);
                return Some(waker);
            }
        }
        None
    }

    /// Leaves the queue. The waker is to be dropped without the lock, as it may be the last that
    /// is left of a task.
    pub(super) fn leave(&mut self, call: CallId) -> Option<Waker> {
        self.come(call);
        self.wakers.remove(&call)
    }
}
