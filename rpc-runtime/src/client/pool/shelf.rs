//! The connections of a pool and the callers in line for a place on one: who gets which.
//!
//! Pure: told what happened, it says whom to wake. `C` stands for a connection.
//!
//! Why does a connection that becomes free go to the first in line at once, and not to whoever comes
//! next? Else callers who come would overtake those who wait, and some would wait for ever.
//!
//! What if a caller gives up whom a place was just given? The place goes to the next in line: a
//! caller either picks its place up or [leaves](Shelf::leave) it.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The connections and the line.
#[derive(Debug)]
pub(super) struct Shelf<C> {
    limits: Limits,
    /// Those that are kept first; else in the order in which they were opened.
    members: Vec<Member<C>>,
    /// Connections under way; `members.len() + opening <= limits.max`.
    opening: usize,
    /// Of those, how many are to be kept.
    opening_kept: usize,
    /// Nobody is in line while a member has room.
    line: VecDeque<Caller>,
    /// Places that were given and not picked up.
    given: HashMap<Ticket, Place<C>>,
    next_ticket: u64,
    next_member: u64,
    is_closed: bool,
}

/// What a shelf may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// So many are kept, also without calls.
    pub(super) min: usize,
    pub(super) max: usize,
    /// After so long without calls, one that is not kept is not used any more.
    pub(super) idle_timeout: Option<Duration>,
    /// How many calls a connection takes that is not open yet.
    pub(super) calls_each: usize,
}

#[derive(Debug)]
struct Member<C> {
    id: MemberId,
    connection: C,
    /// `in_use <= calls_max`
    in_use: u32,
    calls_max: u32,
    is_kept: bool,
    /// Since when no call is on it, if that matters.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
struct Caller {
    ticket: Ticket,
    waker: Waker,
}

/// A connection of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberId(u64);

/// A caller in line; they rise from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// A place on a connection. Whoever has one gives it [back](Shelf::release).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<C> {
    pub(super) member: MemberId,
    pub(super) connection: C,
}

/// What was taken off the shelf.
#[derive(Debug)]
pub(super) struct Removed<C> {
    pub(super) connection: C,
    /// Calls were on it, or callers wait.
    pub(super) was_needed: bool,
    /// There is no other.
    pub(super) was_last: bool,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) open: usize,
    pub(super) in_use: usize,
    pub(super) waiting: usize,
}

impl<C: Clone> Shelf<C> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            members: Vec::new(),
            opening: 0,
            opening_kept: 0,
            line: VecDeque::new(),
            given: HashMap::new(),
            next_ticket: 0,
            next_member: 0,
            is_closed: false,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let busy = self.members.iter().filter(|member| member.in_use > 0);
        Counts {
            open: self.members.len(),
            in_use: busy.count(),
            waiting: self.line.len(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True if a connection is under way.
    pub(super) const fn is_opening(&self) -> bool {
        self.opening > 0
    }

    /// A place for a caller who has just come, if there is one and nobody waits.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Place<C>> {
        if !self.line.is_empty() {
            return None;
        }
        let index = self.least_used()?;
        Some(self.place(index))
    }

    /// Takes off those that were without calls for too long, whatever timer is late.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<C> {
        let Some(timeout) = self.limits.idle_timeout else {
            return Vec::new();
        };
        let is_over = |member: &Member<C>| {
            let idle_since = member.idle_since.filter(|_| !member.is_kept);
            idle_since.is_some_and(|since| now.saturating_duration_since(since) >= timeout)
        };
        let over = self.members.extract_if(.., |member| is_over(member));
        over.map(|member| member.connection).collect()
    }

    /// Lines up, or asks again: gives the place, or what to ask again with. `waker` is the former one
    /// then, to be dropped without the lock.
    pub(super) fn wait(
        &mut self,
        ticket: Option<Ticket>,
        waker: &mut Waker,
    ) -> Result<Place<C>, Ticket> {
        let Some(ticket) = ticket else {
            if let Some(place) = self.take() {
                return Ok(place);
            }
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            self.line.push_back(Caller {
                ticket,
                waker: std::mem::replace(waker, Waker::noop().clone()),
            });
            return Err(ticket);
        };
        if let Some(place) = self.given.remove(&ticket) {
            return Ok(place);
        }
        self.swap_waker(ticket, waker);
        Err(ticket)
    }

    /// Exchanges the waker of a caller in line.
    pub(super) fn swap_waker(&mut self, ticket: Ticket, waker: &mut Waker) {
        if let Some(index) = self.position(ticket) {
            std::mem::swap(&mut self.line[index].waker, waker);
        }
    }

    /// A caller waits no longer; gives whom to wake.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Option<Instant>) -> Option<Waker> {
        if let Some(index) = self.position(ticket) {
            self.line.remove(index);
            return None;
        }
        let place = self.given.remove(&ticket)?;
        self.release(place.member, now)
    }

    /// A call has ended; gives whom to wake. `now` is asked for if there is an idle timeout.
    #[inline]
    pub(super) fn release(&mut self, id: MemberId, now: Option<Instant>) -> Option<Waker> {
        let index = self.index(id)?;
        let member = &mut self.members[index];
        member.in_use -= 1;
        if let Some(caller) = self.line.pop_front() {
            return Some(self.give(caller, index));
        }
        let member = &mut self.members[index];
        if member.in_use == 0 {
            member.idle_since = now;
        }
        None
    }

    /// Begins the first connection, unless one is under way; says whether it is to be kept.
    pub(super) fn begin_first(&mut self) -> Option<bool> {
        (self.opening == 0).then(|| self.open_one())
    }

    /// Begins as many more connections as are of use and may be made; says which are to be kept. Each
    /// counts as under way until [`add`](Self::add) or [`forget`](Self::forget).
    pub(super) fn begin_openings(&mut self) -> Vec<bool> {
        let mut begun = Vec::new();
        // The first is made by who keeps trying.
        while !self.members.is_empty()
            && self.members.len() + self.opening < self.limits.max
            && self.wants_more_than(self.opening)
        {
            begun.push(self.open_one());
        }
        begun
    }

    /// True if those under way are not all that is needed.
    fn wants_more_than(&self, opening: usize) -> bool {
        let on_the_way = opening.saturating_mul(self.limits.calls_each);
        !self.is_closed
            && (self.members.len() + opening < self.limits.min || on_the_way < self.line.len())
    }

    /// One is made whatever is of use.
    pub(super) fn open_one(&mut self) -> bool {
        let kept = self.members.iter().filter(|member| member.is_kept).count();
        let is_kept = kept + self.opening_kept < self.limits.min;
        self.opening += 1;
        self.opening_kept += usize::from(is_kept);
        is_kept
    }

    /// One that was under way will not be.
    pub(super) fn forget(&mut self, is_kept: bool) {
        self.opening -= 1;
        self.opening_kept -= usize::from(is_kept);
    }

    /// An attempt has failed: true if it will not be repeated, because nobody needs one more
    /// connection, or because another attempt goes on.
    pub(super) fn forget_if_useless(&mut self, is_kept: bool) -> bool {
        let others = self.opening - 1;
        let is_useless = if self.members.is_empty() {
            others > 0
        } else {
            !self.wants_more_than(others)
        };
        if is_useless {
            self.forget(is_kept);
        }
        is_useless
    }

    /// One that was under way is open; gives its name and whom to wake, or nothing if the pool is
    /// closed.
    pub(super) fn add(
        &mut self,
        connection: C,
        calls_max: u32,
        is_kept: bool,
        now: Option<Instant>,
    ) -> Option<(MemberId, Vec<Waker>)> {
        self.forget(is_kept);
        if self.is_closed {
            return None;
        }
        let id = MemberId(self.next_member);
        self.next_member += 1;
        let others = self.members.iter();
        let index = match is_kept {
            true => others.take_while(|member| member.is_kept).count(),
            false => self.members.len(),
        };
        let member = Member {
            id,
            connection,
            in_use: 0,
            calls_max,
            is_kept,
            idle_since: now,
        };
        self.members.insert(index, member);
        Some((id, self.serve()))
    }

    /// A connection takes no more calls.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<(Removed<C>, Vec<Waker>)> {
        let member = self.members.remove(self.index(id)?);
        self.put_back(id);
        let woken = self.serve();
        let removed = Removed {
            connection: member.connection,
            was_needed: member.in_use > 0 || !self.line.is_empty(),
            was_last: self.members.is_empty(),
        };
        Some((removed, woken))
    }

    /// Which member this connection is.
    pub(super) fn find(&self, is_it: impl Fn(&C) -> bool) -> Option<MemberId> {
        let found = self.members.iter().find(|member| is_it(&member.connection));
        found.map(|member| member.id)
    }

    /// There will be no connections any more; gives those there are.
    pub(super) fn close(&mut self) -> Vec<C> {
        self.is_closed = true;
        self.clear()
    }

    /// Takes all connections off; gives them.
    pub(super) fn clear(&mut self) -> Vec<C> {
        let members = std::mem::take(&mut self.members);
        members.iter().for_each(|member| self.put_back(member.id));
        members
            .into_iter()
            .map(|member| member.connection)
            .collect()
    }

    /// Callers who were given a place on this connection stand in line again where they stood.
    fn put_back(&mut self, id: MemberId) {
        let given = self.given.iter().filter(|(_, place)| place.member == id);
        let back: Vec<_> = given.map(|(ticket, _)| *ticket).collect();
        for ticket in back {
            self.given.remove(&ticket);
            // It was woken, and will say whom to wake when it asks.
            let waker = Waker::noop().clone();
            let index = self.line.partition_point(|caller| caller.ticket < ticket);
            self.line.insert(index, Caller { ticket, waker });
        }
    }

    /// Gives places to those in line; gives whom to wake.
    fn serve(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while !self.line.is_empty()
            && let Some(index) = self.least_used()
        {
            let caller = self.line.pop_front();
            woken.extend(caller.map(|caller| self.give(caller, index)));
        }
        woken
    }

    fn give(&mut self, caller: Caller, index: usize) -> Waker {
        let place = self.place(index);
        self.given.insert(caller.ticket, place);
        caller.waker
    }

    #[inline]
    fn place(&mut self, index: usize) -> Place<C> {
        let member = &mut self.members[index];
        member.in_use += 1;
        member.idle_since = None;
        Place {
            member: member.id,
            connection: member.connection.clone(),
        }
    }

    /// Of several, the first: under a low load the last ones get no calls, and expire.
    #[inline]
    fn least_used(&self) -> Option<usize> {
        let members = self.members.iter().enumerate();
        let open = members.filter(|(_, member)| member.in_use < member.calls_max);
        open.min_by_key(|(_, member)| member.in_use)
            .map(|(index, _)| index)
    }

    #[inline]
    fn index(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        let found = self
            .line
            .binary_search_by_key(&ticket, |caller| caller.ticket);
        found.ok()
    }
}

#[cfg(test)]
mod tests;
