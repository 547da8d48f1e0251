//! A list of backends together with the picker that was made for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Backend, List, Pick, Picked, Picker, Policy};

/// Leaves out those of weight 0, unless all have 0.
pub(super) fn keep_weighty(backends: &mut Vec<Backend>) {
    if backends.iter().any(|backend| backend.weight() > 0) {
        backends.retain(|backend| backend.weight() > 0);
    }
}

/// A list of backends and its picker. Immutable: a change of the list is a new one.
#[derive(Debug)]
pub struct Backends {
    list: List,
    picker: Box<dyn Picker>,
}

impl Backends {
    /// A picker of this policy for these backends, in this order. Of several with the same address
    /// the first counts; those of weight 0 are left out, unless all have 0.
    #[must_use]
    pub fn new(policy: &dyn Policy, mut backends: Vec<Backend>, seed: u64) -> Self {
        keep_weighty(&mut backends);
        let mut seen = HashSet::new();
        let is_first: Vec<bool> = backends.iter().map(|b| seen.insert(b.address())).collect();
        let firsts = backends
            .into_iter()
            .zip(is_first)
            .filter(|(_, first)| *first);
        let list: List = firsts.map(|(backend, _)| Arc::new(backend)).collect();
        let picker = policy.picker(list.clone(), seed);
        Self { list, picker }
    }

    /// The next list. Backends whose address is in both keep their calls in flight, their latency
    /// and their ejection.
    #[must_use]
    pub fn replaced(&self, policy: &dyn Policy, backends: Vec<Backend>, seed: u64) -> Self {
        let old: HashMap<&str, &Backend> = self
            .list
            .iter()
            .map(|old| (old.address(), &**old))
            .collect();
        let keep = |backend: Backend| match old.get(backend.address()) {
            Some(old) => backend.with_history_of(old),
            None => backend,
        };
        Self::new(policy, backends.into_iter().map(keep).collect(), seed)
    }

    /// The backends; [`Picked::index`] is a place in here.
    #[must_use]
    pub const fn list(&self) -> &List {
        &self.list
    }

    /// The backend for a call; `None` if there is none.
    #[must_use]
    #[inline]
    pub fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        self.picker.pick(pick)
    }
}
