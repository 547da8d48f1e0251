//! The calls a client has open, found by id without hashing.
//!
//! How can an id both rise and name a slot? A new call takes a free slot and then the smallest id
//! above the last one whose low bits are the index of that slot. See `[call.slot]`.

use std::time::Instant;

use super::CallId;
use super::liveness::earlier;

/// A table of calls; the number of entries is a power of two.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Option<Entry<T>>>,
    /// Indexes of the entries that are `None`.
    free: Vec<u32>,
    last: u64,
    /// Calls that wait for an answer: open <= used entries
    open: usize,
    /// No open call has a deadline before this; often none has this one.
    earliest: Option<Instant>,
}

/// What an open call is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) deadline: Option<Instant>,
    /// Where the request ends in the outgoing stream.
    pub(super) request_end: u64,
}

/// Aligned, so that it does not reach into one line of the cache more than it fills.
#[derive(Debug)]
#[repr(align(64))]
struct Entry<T> {
    id: CallId,
    /// False once the answer is here and only waits to be taken.
    open: bool,
    terms: Terms,
    data: T,
}

impl<T> Slots<T> {
    const FIRST_CAPACITY: usize = 16;
    /// The most calls a table holds; ids rise by at most twice as much.
    pub(super) const CAPACITY_MAX: usize = 1 << 20;

    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            last: 0,
            open: 0,
            earliest: None,
        }
    }

    /// Calls that wait for an answer.
    #[inline]
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// The id the next call gets; `None` when the table is full.
    #[inline]
    pub(super) fn next_id(&mut self) -> Option<CallId> {
        if self.free.is_empty() {
            self.grow()?;
        }
        let index = u64::from(*self.free.last()?);
        let step = self.entries.len() as u64;
        let mut id = (self.last & !(step - 1)) | index;
        if id <= self.last {
            id += step;
        }
        if id as u32 == 0 {
            id += step;
        }
        Some(CallId(id))
    }

    /// An id that no slot is behind, for a call that is not answered.
    #[inline]
    pub(super) fn next_unanswered_id(&mut self) -> CallId {
        self.last += 1;
        if self.last as u32 == 0 {
            self.last += 1;
        }
        CallId(self.last)
    }

    /// Opens the call that [`next_id`](Self::next_id) announced.
    #[inline(always)]
    pub(super) fn insert(&mut self, id: CallId, terms: Terms, data: impl FnOnce() -> T) {
        let popped = self.free.pop();
        let index = self.index(id.wire());
        debug_assert_eq!(popped, Some(index as u32), "no other call began in between");
        let slot = &mut self.entries[index];
        debug_assert!(slot.is_none(), "its index was free");
        // Without this the compiler makes the entry elsewhere and copies it.
        if slot.is_none() {
            *slot = Some(Entry {
                id,
                open: true,
                terms,
                data: data(),
            });
        }
        self.last = id.0;
        self.open += 1;
        if terms.deadline.is_some() {
            self.earliest = earlier(self.earliest, terms.deadline);
        }
    }

    /// Gives those of these calls that are still open a deadline.
    #[inline]
    pub(super) fn set_deadlines(&mut self, calls: impl Iterator<Item = CallId>, deadline: Instant) {
        for id in calls {
            let index = self.index(id.wire());
            let entry = self.entries.get_mut(index).and_then(Option::as_mut);
            if let Some(entry) = entry.filter(|entry| entry.id == id && entry.open) {
                entry.terms.deadline = Some(deadline);
            }
        }
        self.earliest = earlier(self.earliest, Some(deadline));
    }

    pub(super) fn deadline(&self, id: CallId) -> Option<Instant> {
        let entry = self.entries.get(self.index(id.wire()))?.as_ref()?;
        (entry.id == id).then_some(entry.terms.deadline)?
    }

    /// When [`expire`](Self::expire) may find something.
    #[inline]
    pub(super) const fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Closes every open call whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, mut each: impl FnMut(CallId, &mut T)) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for entry in self.entries.iter_mut().flatten().filter(|entry| entry.open) {
            if entry.terms.deadline.is_some_and(|deadline| deadline <= now) {
                entry.open = false;
                self.open -= 1;
                each(entry.id, &mut entry.data);
            } else {
                self.earliest = earlier(self.earliest, entry.terms.deadline);
            }
        }
    }

    /// Notes that the answer to an open call is here.
    #[inline]
    pub(super) fn close(&mut self, wire: u32) -> Option<CallId> {
        self.answer(wire, |_| false)
    }

    /// As [`close`](Self::close), and passes what is kept for the call to `each`; frees the slot if that
    /// says that there is nothing left in it, not even something to drop.
    #[inline]
    pub(super) fn answer(
        &mut self,
        wire: u32,
        each: impl FnOnce(&mut T) -> bool,
    ) -> Option<CallId> {
        let index = self.index(wire);
        let slot = self.entries.get_mut(index)?;
        let entry = slot.as_mut()?;
        if entry.id.wire() != wire || !entry.open {
            return None;
        }
        entry.open = false;
        self.open -= 1;
        let id = entry.id;
        if each(&mut entry.data) {
            // To look for what there is to drop takes longer than all the rest.
            std::mem::forget(slot.take());
            self.free.push(index as u32);
        }
        Some(id)
    }

    /// The id of the call that has these low bits and is open.
    #[inline]
    pub(super) fn find_open(&self, wire: u32) -> Option<CallId> {
        let entry = self.entries.get(self.index(wire))?.as_ref()?;
        (entry.id.wire() == wire && entry.open).then_some(entry.id)
    }

    /// True if a call had these low bits, as far as can be known.
    pub(super) fn is_used(&self, wire: u32) -> bool {
        let behind = (self.last as u32).wrapping_sub(wire);
        wire != 0 && u64::from(behind) < self.last
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut T> {
        let index = self.index(id.wire());
        let entry = self.entries.get_mut(index)?.as_mut()?;
        (entry.id == id).then_some(&mut entry.data)
    }

    /// Frees the slot; tells whether the call was still open.
    #[inline]
    pub(super) fn remove(&mut self, id: CallId) -> Option<(T, bool)> {
        let index = self.index(id.wire());
        let slot = self.entries.get_mut(index)?;
        let entry = slot.take_if(|entry| entry.id == id)?;
        self.free.push(index as u32);
        self.open -= usize::from(entry.open);
        Some((entry.data, entry.open))
    }

    /// Closes every open call with an id above `last`, in order of slots.
    pub(super) fn close_above(&mut self, last: u64, mut each: impl FnMut(CallId, &mut T, Terms)) {
        for entry in self.entries.iter_mut().flatten() {
            if entry.open && entry.id.0 > last {
                entry.open = false;
                self.open -= 1;
                each(entry.id, &mut entry.data, entry.terms);
            }
        }
    }

    #[inline]
    fn index(&self, wire: u32) -> usize {
        wire as usize & self.entries.len().wrapping_sub(1)
    }

    /// Doubles the table. Every id moves to its low bits under the wider mask, which are free.
    #[cold]
    fn grow(&mut self) -> Option<()> {
        let capacity = (self.entries.len() * 2).max(Self::FIRST_CAPACITY);
        if capacity > Self::CAPACITY_MAX {
            return None;
        }
        let old = std::mem::take(&mut self.entries);
        self.entries.resize_with(capacity, || None);
        for entry in old.into_iter().flatten() {
            let index = self.index(entry.id.wire());
            self.entries[index] = Some(entry);
        }
        let free = (0..capacity).rev().filter(|i| self.entries[*i].is_none());
        self.free = free.map(|index| index as u32).collect();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn insert(slots: &mut Slots<u32>, data: u32) -> CallId {
        let id = slots.next_id().unwrap();
        let terms = Terms {
            deadline: None,
            request_end: 0,
        };
        slots.insert(id, terms, || data);
        id
    }

    #[test]
    fn ids_rise_and_skip_zero_low_bits() {
        // [call.slot] S1-19
        let mut slots = Slots::new();
        slots.last = u64::from(u32::MAX) - 40;
        let mut last = slots.last;
        for data in 0..100 {
            let id = insert(&mut slots, data);
            assert!(id.0 > last && id.wire() != 0);
            last = id.0;
            slots.remove(id).unwrap();
        }
        assert!(last > u64::from(u32::MAX));
    }

    #[test]
    fn an_answer_is_taken_once() {
        let mut slots = Slots::new();
        let id = insert(&mut slots, 7);
        assert_eq!(slots.open(), 1);
        assert_eq!(slots.close(id.wire()), Some(id));
        assert_eq!(slots.close(id.wire()), None);
        assert_eq!(slots.open(), 0);
        assert_eq!(slots.remove(id), Some((7, false)));
        assert_eq!(slots.remove(id), None);
    }

    #[test]
    fn an_answer_that_leaves_nothing_frees_the_slot() {
        let mut slots = Slots::new();
        let [first, second] = [7, 8].map(|data| insert(&mut slots, data));
        assert_eq!(slots.answer(first.wire(), |data| *data == 7), Some(first));
        assert_eq!(slots.answer(second.wire(), |data| *data == 7), Some(second));
        assert_eq!(slots.open(), 0);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.answer(first.wire(), |_| true), None);
        assert_eq!(slots.remove(second), Some((8, false)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        /// The table against a plain map, over random openings and endings.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300)) {
            let mut slots = Slots::new();
            let mut model: HashMap<CallId, u32> = HashMap::new();
            let mut ids = Vec::new();
            let mut last = 0;
            for (serial, (begin, which)) in steps.into_iter().enumerate() {
                let serial = serial as u32;
                if begin || ids.is_empty() {
                    let id = insert(&mut slots, serial);
                    prop_assert!(id.0 > last);
                    prop_assert!(id.0 - last < 1 << 31);
                    last = id.0;
                    model.insert(id, serial);
                    ids.push(id);
                } else {
                    let id = ids.swap_remove(which.index(ids.len()));
                    let removed = slots.remove(id).map(|(data, _)| data);
                    prop_assert_eq!(removed, model.remove(&id));
                }
                prop_assert_eq!(slots.open(), model.len());
                for (id, data) in &model {
                    prop_assert_eq!(slots.get_mut(*id).copied(), Some(*data));
                }
            }
        }
    }
}
