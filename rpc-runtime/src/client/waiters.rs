//! Callers that wait for room on a connection, first in, first out.
//!
//! As many are called at once as there is room for, so that what they send is written together. What if
//! one is dropped before it runs? Its room is held until it enters or leaves, and whoever does so lets
//! the next be called: no wake-up is lost.
//!
//! Those who were called run in any order. So a place in the middle that nobody has any more stays until
//! it is at the front: to close the gap each time would move half of the line.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The queue; tickets rise from front to back, and somebody has the place at the front.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<Place>,
    next: u64,
    /// Places that nobody has any more.
    vacant: usize,
    /// Callers that were woken because there is room for them, and have not come yet.
    called: usize,
    /// Places in front of this index are vacant, or their callers called.
    uncalled_from: usize,
    /// Nobody in line has a deadline before this; often nobody has this one.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    ticket: Ticket,
    /// Absent if the place is vacant.
    waker: Option<Waker>,
    called: bool,
    oneway: bool,
    deadline: Option<Instant>,
}

impl Place {
    const fn is_vacant(&self) -> bool {
        self.waker.is_none()
    }
}

impl Waiters {
    /// So many vacant places are no matter, however few are in line.
    const VACANT_MIN: usize = 64;

    /// True if nobody is in line, so that a newcomer overtakes none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True if the caller with this ticket, or a new one, may enter as far as order is concerned, where
    /// there is room for so many.
    pub(super) fn is_next(&self, ticket: Option<Ticket>, room: usize) -> bool {
        match ticket.and_then(|ticket| self.position(ticket)) {
            None => self.admits_newcomers(room),
            Some(index) => index == 0 || self.queue[index].called,
        }
    }

    /// True if a new caller takes nobody's turn: all in line were called, and there is room for one more. Who
    /// makes one call after the other would else line up for each behind those who have not run yet, and
    /// the line would never end.
    #[cold]
    pub(super) fn admits_newcomers(&self, room: usize) -> bool {
        self.is_empty() || self.uncalled_from >= self.queue.len() && self.called < room
    }

    /// Lines up, or renews the waker of a caller that stands in line and has found no room: `waker` is
    /// the former one then, to be dropped without the lock. There may be less room for `oneway` calls.
    pub(super) fn wait(
        &mut self,
        ticket: Option<Ticket>,
        deadline: Option<Instant>,
        oneway: bool,
        waker: &mut Waker,
    ) -> Ticket {
        if let Some(index) = ticket.and_then(|ticket| self.position(ticket)) {
            let place = &mut self.queue[index];
            if let Some(kept) = &mut place.waker {
                std::mem::swap(kept, waker);
            }
            if std::mem::take(&mut place.called) {
                self.called -= 1;
                self.uncalled_from = self.uncalled_from.min(index);
            }
            return place.ticket;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.earliest = earlier(self.earliest, deadline);
        self.queue.push_back(Place {
            ticket,
            waker: Some(std::mem::replace(waker, Waker::noop().clone())),
            called: false,
            oneway,
            deadline,
        });
        ticket
    }

    /// How many callers are in line.
    pub(super) fn len(&self) -> usize {
        self.queue.len() - self.vacant
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
            let is_over = |deadline: &mut Instant| *deadline <= now;
            // Once is enough: a deadline that stays would keep the timer busy.
            if place.deadline.take_if(is_over).is_some() {
                place.waker.iter().cloned().for_each(&mut each);
            }
            self.earliest = earlier(self.earliest, place.deadline);
        }
    }

    /// Leaves the queue, because the caller enters or gives up; gives its waker, to be dropped without the
    /// lock.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let index = self.position(ticket)?;
        let place = &mut self.queue[index];
        let waker = place.waker.take();
        place.deadline = None;
        self.called -= usize::from(std::mem::take(&mut place.called));
        self.vacant += 1;
        while self.queue.front().is_some_and(Place::is_vacant) {
            self.queue.pop_front();
            self.vacant -= 1;
            self.uncalled_from = self.uncalled_from.saturating_sub(1);
        }
        // Somebody at the front who was called and does not come would keep all places that follow.
        if self.vacant > Self::VACANT_MIN.max(self.queue.len() / 2) {
            self.close_gaps();
        }
        waker
    }

    #[cold]
    fn close_gaps(&mut self) {
        self.queue.retain(|place| !place.is_vacant());
        self.vacant = 0;
        self.uncalled_from = 0;
    }

    /// The next caller to wake, if there is room for one more than were called, and for an oneway call if
    /// it has one to make: nobody overtakes it.
    pub(super) fn call(&mut self, room: usize, takes_oneway: bool) -> Option<Waker> {
        if self.called >= room {
            return None;
        }
        while let Some(place) = self.queue.get_mut(self.uncalled_from) {
            let waker = place.waker.as_ref().filter(|_| !place.called);
            if waker.is_some() && place.oneway && !takes_oneway {
                return None;
            }
            self.uncalled_from += 1;
            if let Some(waker) = waker {
                place.called = true;
                self.called += 1;
                return Some(waker.clone());
            }
        }
        None
    }

    /// Empties the queue: there will be no room any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        (self.vacant, self.called, self.uncalled_from) = (0, 0, 0);
        self.queue.drain(..).filter_map(|place| place.waker)
    }

    /// Where the caller with this ticket is, if it still is in line.
    fn position(&self, ticket: Ticket) -> Option<usize> {
        let front = self.queue.front()?.ticket;
        // There it is, unless gaps were closed.
        let guess = ticket.0.checked_sub(front.0)? as usize;
        let index = match self.queue.get(guess) {
            Some(place) if place.ticket == ticket => guess,
            _ => {
                let found = self
                    .queue
                    .binary_search_by_key(&ticket, |place| place.ticket);
                found.ok()?
            }
        };
        (!self.queue[index].is_vacant()).then_some(index)
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

    fn noop() -> Waker {
        Waker::noop().clone()
    }

    #[test]
    fn s0_13_the_first_to_wait_is_the_first_to_enter() {
        let mut waiters = Waiters::default();
        assert!(waiters.is_next(None, 9));
        let first = waiters.wait(None, None, false, &mut noop());
        let second = waiters.wait(None, None, false, &mut noop());
        assert!(!waiters.is_next(None, 9), "a newcomer does not overtake");
        assert!(waiters.is_next(Some(first), 9) && !waiters.is_next(Some(second), 9));
        assert_eq!(waiters.wait(Some(second), None, false, &mut noop()), second);
        waiters.leave(first);
        assert!(waiters.is_next(Some(second), 9));
        waiters.leave(second);
        assert!(waiters.is_empty());
    }

    #[test]
    fn as_many_are_called_as_there_is_room_for() {
        let mut waiters = Waiters::default();
        let [first, second, third] = [(); 3].map(|()| waiters.wait(None, None, false, &mut noop()));
        assert!(waiters.call(2, true).is_some() && waiters.call(2, true).is_some());
        assert!(
            waiters.call(2, true).is_none(),
            "more than there is room for"
        );
        assert!(!waiters.is_next(None, 9), "not all were called");
        assert!(waiters.call(3, true).is_some());
        assert!(waiters.is_next(None, 4) && !waiters.is_next(None, 3));
        waiters.wait(Some(third), None, false, &mut noop());
        assert!(!waiters.is_next(None, 9), "one was called in vain");
        assert!(waiters.is_next(Some(second), 9) && !waiters.is_next(Some(third), 9));
        // One of them enters, which takes the room that was kept for it.
        waiters.leave(second);
        assert!(waiters.call(1, true).is_none());
        // The other goes away, and its room is for the next.
        waiters.leave(first);
        assert!(waiters.call(1, true).is_some() && waiters.is_next(Some(third), 9));
        waiters.leave(third);
        assert!(waiters.is_empty() && waiters.call(1, true).is_none());
    }

    #[test]
    fn an_oneway_call_waits_for_room_of_its_own_and_is_not_overtaken() {
        let mut waiters = Waiters::default();
        let plain = waiters.wait(None, None, false, &mut noop());
        let oneway = waiters.wait(None, None, true, &mut noop());
        waiters.wait(None, None, false, &mut noop());
        assert!(waiters.call(9, false).is_some() && waiters.call(9, false).is_none());
        assert!(waiters.is_next(Some(plain), 9) && !waiters.is_next(Some(oneway), 9));
        assert!(waiters.call(9, true).is_some() && waiters.call(9, true).is_some());
        assert!(waiters.is_next(Some(oneway), 9) && waiters.is_next(None, 9));
    }

    #[test]
    fn who_was_called_in_vain_is_called_again() {
        let mut waiters = Waiters::default();
        let [first, second] = [(); 2].map(|()| waiters.wait(None, None, false, &mut noop()));
        assert!(waiters.call(2, true).is_some() && waiters.call(2, true).is_some());
        assert_eq!(waiters.wait(Some(second), None, false, &mut noop()), second);
        assert!(!waiters.is_next(Some(second), 9));
        assert_eq!(waiters.wait(Some(first), None, false, &mut noop()), first);
        assert!(waiters.call(1, true).is_some() && waiters.is_next(Some(first), 9));
        assert!(
            !waiters.is_next(Some(second), 9),
            "the first is the first again"
        );
        assert!(waiters.call(1, true).is_none());
        assert!(waiters.call(2, true).is_some() && waiters.is_next(Some(second), 9));
    }

    /// The line as a list of who is in it, and whether it was called.
    #[derive(Default)]
    struct Model(Vec<(Ticket, bool)>);

    impl Model {
        fn called(&self) -> usize {
            self.0.iter().filter(|(_, called)| *called).count()
        }

        /// Calls the first who was not, if there is room for one more.
        fn call(&mut self, room: usize) -> bool {
            let has_room = self.called() < room;
            let next = self.0.iter_mut().find(|(_, called)| !called);
            next.filter(|_| has_room)
                .map(|(_, called)| *called = true)
                .is_some()
        }

        fn assert_same(&self, waiters: &Waiters) {
            assert_eq!(waiters.len(), self.0.len());
            assert_eq!(waiters.is_empty(), self.0.is_empty());
            assert_eq!(waiters.called, self.called());
            if waiters.is_next(None, usize::MAX) {
                assert_eq!(self.called(), self.0.len());
            }
            let vacant = waiters.queue.iter().filter(|place| place.is_vacant());
            assert_eq!(waiters.vacant, vacant.count());
            for (index, (ticket, called)) in self.0.iter().enumerate() {
                assert_eq!(waiters.is_next(Some(*ticket), 9), index == 0 || *called);
            }
        }
    }

    #[test]
    fn whatever_callers_do_the_line_is_the_list_of_them() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut waiters, mut model) = (Waiters::default(), Model::default());
            let mut gone = Vec::new();
            let arrivals = random.u8(1..5);
            for _ in 0..600 {
                let count = model.0.len();
                let someone = (count > 0).then(|| random.usize(0..count));
                match (random.u8(0..10), someone) {
                    (act, _) if act < arrivals => {
                        model
                            .0
                            .push((waiters.wait(None, None, false, &mut noop()), false));
                    }
                    (5 | 6, _) => {
                        let room = random.usize(0..300);
                        assert_eq!(waiters.call(room, true).is_some(), model.call(room));
                    }
                    (7, Some(index)) => {
                        let (ticket, called) = &mut model.0[index];
                        *called = false;
                        waiters.wait(Some(*ticket), None, false, &mut noop());
                    }
                    (8, Some(index)) => {
                        let (ticket, _) = model.0.remove(index);
                        waiters.leave(ticket);
                        gone.push(ticket);
                    }
                    (9, _) if random.u8(0..60) == 0 => {
                        assert_eq!(waiters.drain().count(), count);
                        gone.extend(model.0.drain(..).map(|(ticket, _)| ticket));
                    }
                    _ => gone.iter().for_each(|ticket| drop(waiters.leave(*ticket))),
                }
                model.assert_same(&waiters);
            }
        }
    }

    #[test]
    fn a_caller_that_never_comes_keeps_one_place_and_no_more() {
        let mut waiters = Waiters::default();
        let stuck = waiters.wait(None, None, false, &mut noop());
        assert!(waiters.call(2, true).is_some());
        let mut last = waiters.wait(None, None, false, &mut noop());
        for _ in 0..1000 {
            let next = waiters.wait(None, None, false, &mut noop());
            assert!(waiters.call(2, true).is_some() && waiters.call(2, true).is_none());
            assert!(waiters.is_next(Some(last), 9) && !waiters.is_next(Some(next), 9));
            waiters.leave(last);
            waiters.leave(last);
            assert_eq!(waiters.len(), 2);
            assert!(waiters.queue.len() < 200, "{}", waiters.queue.len());
            last = next;
        }
        waiters.leave(stuck);
        assert!(waiters.call(1, true).is_some() && waiters.is_next(Some(last), 9));
        waiters.leave(last);
        assert!(waiters.is_empty());
    }
}
