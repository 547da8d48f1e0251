//! Streams that wait until more of what they appended is written, first in, first out.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use rpc_core::connection::CallId;

/// The queue. Whoever is woken and finds room left wakes the next.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    order: VecDeque<CallId>,
    /// Those in `order` who are not here have gone.
    wakers: HashMap<CallId, Waker>,
}

impl Turns {
    /// Lines up, or renews the waker of a stream that stands in line.
    pub(super) fn wait(&mut self, call: CallId, waker: &Waker) {
        if self.wakers.insert(call, waker.clone()).is_none() {
            self.order.push_back(call);
        }
    }

    /// The task whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Waker> {
        while let Some(call) = self.order.pop_front() {
            if let Some(waker) = self.wakers.remove(&call) {
                return Some(waker);
            }
        }
        None
    }

    /// Leaves the queue.
    pub(super) fn leave(&mut self, call: CallId) {
        self.wakers.remove(&call);
    }
}
