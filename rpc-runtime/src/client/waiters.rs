//! Callers that wait for room on a connection, first in, first out.
//!
//! What if a woken caller is dropped before it runs? The place at the front is held until its caller
//! enters or leaves, and whoever leaves the front wakes the next: no wake-up is lost.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The queue; tickets rise from front to back.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<(Ticket, Waker)>,
    next: u64,
}

impl Waiters {
    /// True if a caller with this ticket, or a new one, may enter as far as order is concerned.
    #[inline]
    pub(super) fn is_next(&self, ticket: Option<Ticket>) -> bool {
        match self.queue.front() {
            None => true,
            Some((front, _)) => Some(*front) == ticket,
        }
    }

    /// Lines up, or renews the waker of a caller that stands in line.
    pub(super) fn wait(&mut self, ticket: Option<Ticket>, waker: &Waker) -> Ticket {
        if let Some(index) = ticket.and_then(|t| self.position(t)) {
            self.queue[index].1.clone_from(waker);
            return self.queue[index].0;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.queue.push_back((ticket, waker.clone()));
        ticket
    }

    /// Leaves the queue, because the caller enters or gives up.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(index) = self.position(ticket) {
            self.queue.remove(index);
        }
    }

    /// The caller to wake when there is room.
    #[inline]
    pub(super) fn front(&self) -> Option<Waker> {
        self.queue.front().map(|(_, waker)| waker.clone())
    }

    /// Empties the queue: there will be no room any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.queue.drain(..).map(|(_, waker)| waker)
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |(t, _)| *t).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s0_13_the_first_to_wait_is_the_first_to_enter() {
        let mut waiters = Waiters::default();
        assert!(waiters.is_next(None));
        let first = waiters.wait(None, Waker::noop());
        let second = waiters.wait(None, Waker::noop());
        assert!(!waiters.is_next(None), "a newcomer does not overtake");
        assert!(waiters.is_next(Some(first)) && !waiters.is_next(Some(second)));
        assert_eq!(waiters.wait(Some(second), Waker::noop()), second);
        waiters.leave(first);
        assert!(waiters.is_next(Some(second)));
        waiters.leave(second);
        assert!(waiters.front().is_none());
    }
}
