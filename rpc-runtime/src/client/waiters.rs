//! Callers that wait for room on a connection, first in, first out.
//!
//! What if a woken caller is dropped before it runs? The place at the front is held until its caller
//! enters or leaves, and whoever leaves the front wakes the next: no wake-up is lost.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The queue; tickets rise from front to back.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<Place>,
    next: u64,
    /// Nobody in line has a deadline before this; often nobody has this one.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    ticket: Ticket,
    waker: Waker,
    deadline: Option<Instant>,
}

impl Waiters {
    /// True if a caller with this ticket, or a new one, may enter as far as order is concerned.
    #[inline]
    pub(super) fn is_next(&self, ticket: Option<Ticket>) -> bool {
        match self.queue.front() {
            None => true,
            Some(front) => Some(front.ticket) == ticket,
        }
    }

    /// Lines up, or renews the waker of a caller that stands in line.
    pub(super) fn wait(
        &mut self,
        ticket: Option<Ticket>,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> Ticket {
        if let Some(index) = ticket.and_then(|t| self.position(t)) {
            self.queue[index].waker.clone_from(waker);
            return self.queue[index].ticket;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.earliest = earlier(self.earliest, deadline);
        self.queue.push_back(Place {
            ticket,
            waker: waker.clone(),
            deadline,
        });
        ticket
    }

    /// How many callers are in line.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When [`overdue`](Self::overdue) may find somebody.
    #[inline]
    pub(super) const fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// The callers who have waited too long; each leaves by itself when it runs.
    pub(super) fn overdue(&mut self, now: Instant, mut each: impl FnMut(Waker)) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for place in &mut self.queue {
            if place.deadline.is_some_and(|deadline| deadline <= now) {
                // Once is enough: a deadline that stays would keep the timer busy.
                place.deadline = None;
                each(place.waker.clone());
            }
            self.earliest = earlier(self.earliest, place.deadline);
        }
    }

    /// Leaves the queue, because the caller enters or gives up.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(index) = self.position(ticket) {
            self.queue.remove(index);
        }
    }

    /// The caller to wake when there is room.
    pub(super) fn front(&self) -> Option<Waker> {
        self.queue.front().map(|place| place.waker.clone())
    }

    /// Empties the queue: there will be no room any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.queue.drain(..).map(|place| place.waker)
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        let found = self
            .queue
            .binary_search_by_key(&ticket, |place| place.ticket);
        found.ok()
    }
}

/// The earlier of two moments that may not come.
#[inline]
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s0_13_the_first_to_wait_is_the_first_to_enter() {
        let mut waiters = Waiters::default();
        assert!(waiters.is_next(None));
        let first = waiters.wait(None, None, Waker::noop());
        let second = waiters.wait(None, None, Waker::noop());
        assert!(!waiters.is_next(None), "a newcomer does not overtake");
        assert!(waiters.is_next(Some(first)) && !waiters.is_next(Some(second)));
        assert_eq!(waiters.wait(Some(second), None, Waker::noop()), second);
        waiters.leave(first);
        assert!(waiters.is_next(Some(second)));
        waiters.leave(second);
        assert!(waiters.front().is_none());
    }
}
