//! All endpoints of a name at one moment.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Endpoint;

/// All endpoints of a name at one moment, sorted by address, each address once. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    endpoints: Arc<[Endpoint]>,
}

impl Snapshot {
    /// A snapshot of these endpoints. Of two with the same address the later one counts.
    #[must_use]
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        // Stable, so that the later of two comes later; then kept by going backwards.
        endpoints.sort_by(|a, b| a.address().cmp(b.address()));
        endpoints.reverse();
        endpoints.dedup_by(|a, b| a.address() == b.address());
        endpoints.reverse();
        Self {
            endpoints: endpoints.into(),
        }
    }

    /// The endpoints, sorted by address.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// True if nobody serves the name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// What became different since an `older` snapshot, in the order of the addresses: whoever
    /// follows the list touches nothing that stayed as it was.
    pub fn changes_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Change<'a>> {
        let mut new = self.endpoints.iter().peekable();
        let mut old = older.endpoints.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let order = match (old.peek(), new.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(old), Some(new)) => old.address().cmp(new.address()),
                };
                match order {
                    Ordering::Less => return old.next().map(Change::Removed),
                    Ordering::Greater => return new.next().map(Change::Added),
                    Ordering::Equal => {
                        let (old, new) = (old.next()?, new.next()?);
                        if old != new {
                            return Some(Change::Changed(new));
                        }
                    }
                }
            }
        })
    }
}

/// One difference between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<'a> {
    /// It was not there before.
    Added(&'a Endpoint),
    /// Its attributes are others now.
    Changed(&'a Endpoint),
    /// It is not there any more.
    Removed(&'a Endpoint),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Attributes;

    fn endpoint(port: u16, weight: u32) -> Endpoint {
        let endpoint = Endpoint::new(format!("tcp://10.0.0.1:{port}")).unwrap();
        endpoint.with_attributes(Attributes::new().with_weight(weight))
    }

    #[test]
    fn s1_32_a_snapshot_is_sorted_and_has_each_address_once() {
        let snapshot = Snapshot::new(vec![endpoint(3, 1), endpoint(1, 1), endpoint(3, 2)]);
        assert_eq!(snapshot.endpoints(), [endpoint(1, 1), endpoint(3, 2)]);
        assert_eq!(snapshot.len(), 2);
        assert!(Snapshot::new(Vec::new()).is_empty());
    }

    #[test]
    fn s2_9_only_differences_are_told() {
        let older = Snapshot::new((1..=4).map(|port| endpoint(port, 1)).collect());
        let newer = Snapshot::new(vec![endpoint(1, 1), endpoint(3, 5), endpoint(5, 1)]);
        let changes: Vec<_> = newer.changes_since(&older).collect();
        assert_eq!(
            changes,
            [
                Change::Removed(&endpoint(2, 1)),
                Change::Changed(&endpoint(3, 5)),
                Change::Removed(&endpoint(4, 1)),
                Change::Added(&endpoint(5, 1)),
            ]
        );
        assert_eq!(newer.changes_since(&newer).count(), 0);
        assert_eq!(newer.changes_since(&Snapshot::default()).count(), 3);
    }
}
