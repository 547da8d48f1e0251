//! One backend after the other.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::resort::resort_to_any;
use super::{Admission, List, Pick, Picked, Picker, Policy, TRIES};

/// One backend after the other, whatever their weights; see
/// [`WeightedRoundRobin`](super::WeightedRoundRobin).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RoundRobin;

impl Policy for RoundRobin {
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker> {
        let order = (0..backends.len() as u32).collect();
        Box::new(InOrder::new(backends, order, seed))
    }
}

/// Goes round in a fixed order, in which a backend may occur several times.
#[derive(Debug)]
pub(super) struct InOrder {
    list: List,
    order: Box<[u32]>,
    next: AtomicUsize,
}

impl InOrder {
    pub(super) fn new(list: List, order: Box<[u32]>, start: u64) -> Self {
        // Far from the end, where the order would have a seam.
        let next = AtomicUsize::new((start % order.len().max(1) as u64) as usize);
        Self { list, order, next }
    }
}

impl Picker for InOrder {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        if self.order.is_empty() {
            return None;
        }
        // Who is not admitted gives its turn away, and the next call goes on behind: the one after a
        // closed backend must not get twice the calls.
        for _ in 0..TRIES {
            let turn = self.next.fetch_add(1, Relaxed) % self.order.len();
            let index = self.order[turn] as usize;
            if pick.admit(&self.list[index]) != Admission::Closed {
                return Some(Picked::at(index));
            }
        }
        resort_to_any(&self.list, pick, pick.dice())
    }
}
