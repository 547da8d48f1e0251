//! What a client knows of one name, from the changes it is told.

use std::collections::BTreeMap;

use super::wire::{Changes, Instance, Mark};
use crate::discovery::{ENDPOINTS_MAX, Endpoint, SourceError};
use crate::log;

/// The servers of one name.
#[derive(Debug, Default)]
pub(super) struct Known {
    mark: Mark,
    /// As the registry lists them.
    listed: BTreeMap<String, Endpoint>,
    /// Those that the registry listed before it was restarted, until it is settled.
    before: BTreeMap<String, Endpoint>,
    /// Entries that make no sense.
    garbage: usize,
}

impl Known {
    /// What to ask for next.
    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Takes an answer; true if there is more to ask for before the list is one.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<bool, SourceError> {
        if changes.reset {
            let listed = std::mem::take(&mut self.listed);
            if changes.mark.epoch != self.mark.epoch {
                self.before.extend(listed);
            }
            self.garbage = 0;
        }
        // Who left and came back is in both, and is there.
        for address in &changes.left {
            self.listed.remove(address);
            self.before.remove(address);
        }
        for instance in changes.entered {
            self.enter(instance);
        }
        self.mark = changes.mark;
        if self.mark.settled {
            self.before.clear();
        }
        if self.listed.len() > ENDPOINTS_MAX {
            return Err(format!("more than {ENDPOINTS_MAX} entries are garbage").into());
        }
        Ok(changes.more)
    }

    fn enter(&mut self, instance: Instance) {
        match Endpoint::new(&instance.address) {
            Ok(endpoint) => {
                let endpoint = endpoint.with_attributes(instance.attributes);
                self.listed.insert(instance.address, endpoint);
            }
            Err(error) => {
                log::warn!(%error, "an entry of the registry is not used");
                self.garbage += 1;
            }
        }
    }

    /// The whole list. While a registry that was restarted waits for its servers, those that it
    /// listed in its last life count as well.
    pub(super) fn list(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        if self.listed.is_empty() && self.garbage > 0 {
            return Err(format!("none of its {} entries is an endpoint", self.garbage).into());
        }
        let before = self.before.iter();
        let before = before.filter(|(address, _)| !self.listed.contains_key(*address));
        let before = before.map(|(_, endpoint)| endpoint);
        let union: Vec<_> = before.chain(self.listed.values()).cloned().collect();
        if union.len() > ENDPOINTS_MAX {
            // A registry that is restarted again and again: its newest life counts.
            self.before.clear();
            return Ok(self.listed.values().cloned().collect());
        }
        Ok(union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Attributes;

    fn changes(epoch: u64, settled: bool, left: &[&str], entered: &[&str]) -> Changes {
        let entered = entered.iter();
        Changes {
            mark: Mark {
                epoch,
                settled,
                ..Mark::default()
            },
            left: left.iter().map(|&l| l.to_owned()).collect(),
            entered: entered
                .map(|&e| Instance::new(e, Attributes::new()))
                .collect(),
            ..Changes::default()
        }
    }

    fn reset(changes: Changes) -> Changes {
        Changes {
            reset: true,
            ..changes
        }
    }

    fn list(known: &mut Known) -> Vec<String> {
        let list = known.list().unwrap();
        let mut list: Vec<_> = list.iter().map(|e| e.address().to_owned()).collect();
        list.sort();
        list
    }

    /// F5: a registry that was restarted does not take the fleet down to the first server that
    /// comes back.
    #[test]
    fn f5_a_restarted_registry_adds_to_what_was_known_until_it_is_settled() {
        let mut known = Known::default();
        known
            .apply(changes(1, true, &[], &["mem://a", "mem://b", "mem://c"]))
            .unwrap();
        assert_eq!(list(&mut known), ["mem://a", "mem://b", "mem://c"]);
        known.apply(reset(changes(2, false, &[], &[]))).unwrap();
        assert_eq!(list(&mut known), ["mem://a", "mem://b", "mem://c"]);
        known
            .apply(changes(2, false, &[], &["mem://d", "mem://b"]))
            .unwrap();
        assert_eq!(list(&mut known).len(), 4);
        // One says goodbye: that is believed.
        known.apply(changes(2, false, &["mem://b"], &[])).unwrap();
        assert_eq!(list(&mut known), ["mem://a", "mem://c", "mem://d"]);
        known.apply(changes(2, true, &[], &["mem://a"])).unwrap();
        assert_eq!(list(&mut known), ["mem://a", "mem://d"]);
    }

    #[test]
    fn f5_entries_that_make_no_sense_are_left_out_and_nothing_else_is_an_error() {
        let mut known = Known::default();
        known
            .apply(changes(1, true, &[], &["nonsense", "mem://a", "tcp://x"]))
            .unwrap();
        assert_eq!(list(&mut known), ["mem://a"]);
        known.apply(changes(1, true, &["mem://a"], &[])).unwrap();
        let error = known.list().unwrap_err();
        assert!(
            error.to_string().contains("none of its 2 entries"),
            "{error}"
        );
        known.apply(reset(changes(2, true, &[], &[]))).unwrap();
        assert!(list(&mut known).is_empty());
    }
}
