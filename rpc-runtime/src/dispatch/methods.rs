//! What is known of methods, by their ids. Frozen before the server starts: looking up takes no lock.
//!
//! Why no hash map? An id is a hash already, and what is asked for by a call that comes alone is found
//! with one look at memory, not with two. The ids are the server's own; a peer only looks up.

use rpc_core::MethodId;

/// A table in which half of the slots at least are free.
pub(super) struct Methods<T> {
    /// A power of two of them. What has an id is in the slot that its lowest bits name, or in the first
    /// behind that was free.
    slots: Box<[Option<(MethodId, T)>]>,
}

impl<T> Methods<T> {
    /// Of these, whose ids differ.
    pub(super) fn new(methods: Vec<(MethodId, T)>) -> Self {
        let slots = (2 * methods.len()).next_power_of_two();
        let mut table = Self {
            slots: (0..slots).map(|_| None).collect(),
        };
        for (id, method) in methods {
            let free = table.slot_of(|slot| slot.is_none(), id);
            table.slots[free] = Some((id, method));
        }
        table
    }

    #[inline]
    pub(super) fn find(&self, id: MethodId) -> Option<&T> {
        let is_its = |slot: &Option<(MethodId, T)>| slot.as_ref().is_none_or(|(own, _)| *own == id);
        let slot = &self.slots[self.slot_of(is_its, id)];
        slot.as_ref().map(|(_, method)| method)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, method)| method)
    }

    /// The first slot from that of the id on which is what is sought; a free one has to be.
    #[inline]
    fn slot_of(&self, is_sought: impl Fn(&Option<(MethodId, T)>) -> bool, id: MethodId) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = id.number() as usize & mask;
        while !is_sought(&self.slots[slot]) {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u32) -> MethodId {
        MethodId::from_number(number)
    }

    #[test]
    fn each_is_found_and_no_other() {
        let none = Methods::<u32>::new(Vec::new());
        assert_eq!(none.find(id(0)), None);
        // Of 40, each four have their lowest bits in common, and the last slots go on with the first.
        let numbers = || (0..40_u32).map(|n| (n % 10 + 119) | n << 20);
        let methods = Methods::new(numbers().map(|n| (id(n), n)).collect());
        for number in numbers() {
            assert_eq!(methods.find(id(number)), Some(&number));
            assert_eq!(methods.find(id(number | 1 << 30)), None);
        }
        assert_eq!(methods.iter().count(), 40);
    }
}
