//! The entries of an embedded registry, and when their time is over. It is told the time.
//!
//! How does a client follow without being sent everything each time? Each change gets a number, the
//! revision; an entry carries that of its last change, and those that left are remembered for a
//! while. Whoever has seen up to a revision is sent what has a higher one, in order, a page at a
//! time; whoever has seen less than is remembered gets the list from its beginning.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc_core::Status;

use super::wire::{Changes, Instance, Lease, Mark};

/// Most entries or departures in one answer; with the largest entries it has half a megabyte.
pub(super) const PAGE: usize = 1024;
/// Departures that are remembered.
const DEPARTURES_MAX: usize = 4096;

/// All entries.
#[derive(Debug)]
pub(super) struct Table {
    entries_max: usize,
    /// From when on every server has had the time to enter itself again.
    settled_at: Instant,
    epoch: u64,
    revision: u64,
    services: BTreeMap<Arc<str>, Service>,
    /// When the last entry of any name left: names without entries are not kept.
    emptied: u64,
    leases: HashMap<u64, (Arc<str>, Arc<str>)>,
    next_lease: u64,
    /// The entries that have an end, the nearest first.
    ends: BTreeSet<(Instant, u64)>,
    departures: VecDeque<Departure>,
    /// Departures up to this revision are not remembered.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Service {
    entries: BTreeMap<Arc<str>, Held>,
    /// The revision of the last change.
    changed: u64,
}

#[derive(Debug)]
struct Held {
    instance: Instance,
    owner: Arc<str>,
    lease: u64,
    revision: u64,
    /// `None`: it stays until it is taken out.
    ttl: Option<Duration>,
    end: Option<Instant>,
}

#[derive(Debug)]
struct Departure {
    revision: u64,
    name: Arc<str>,
    address: Arc<str>,
}

impl Table {
    /// A table without entries. No two lives of a registry may have the same `epoch`; servers that
    /// knew an earlier one have entered themselves again after `settling`.
    pub(super) fn new(now: Instant, epoch: u64, settling: Duration, entries_max: usize) -> Self {
        Self {
            entries_max,
            settled_at: now + settling,
            epoch,
            revision: 0,
            services: BTreeMap::new(),
            emptied: 0,
            leases: HashMap::new(),
            // Leases of an earlier life are not found.
            next_lease: epoch,
            ends: BTreeSet::new(),
            departures: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// The number of the last change.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes an entry that ends after `ttl`, or does not end.
    pub(super) fn register(
        &mut self,
        now: Instant,
        owner: &str,
        name: &str,
        instance: Instance,
        ttl: Option<Duration>,
    ) -> Result<Lease, Status> {
        self.expire(now);
        let service = self.services.get(name);
        let old = service.and_then(|service| service.entries.get(&*instance.address));
        match old {
            Some(old) if *old.owner != *owner => {
                let text = format!("{} of {name} belongs to somebody else", instance.address);
                return Err(Status::permission_denied(text));
            }
            None if self.leases.len() >= self.entries_max => {
                let text = format!("there are {} entries; that is the limit", self.entries_max);
                return Err(Status::resource_exhausted(text));
            }
            _ => {}
        }
        let is_news = old.is_none_or(|old| old.instance != instance);
        let mut revision = old.map_or(0, |old| old.revision);
        if is_news {
            self.revision += 1;
            revision = self.revision;
        }
        let lease = self.next_lease;
        self.next_lease = lease.wrapping_add(1);
        let (name, address): (Arc<str>, Arc<str>) = (name.into(), (*instance.address).into());
        let end = ttl.map(|ttl| now + ttl);
        let held = Held {
            instance,
            owner: owner.into(),
            lease,
            revision,
            ttl,
            end,
        };
        let service = self.services.entry(name.clone()).or_default();
        service.changed = service.changed.max(revision);
        if let Some(old) = service.entries.insert(address.clone(), held) {
            self.leases.remove(&old.lease);
            if let Some(end) = old.end {
                self.ends.remove(&(end, old.lease));
            }
        }
        self.leases.insert(lease, (name, address));
        if let Some(end) = end {
            self.ends.insert((end, lease));
        }
        Ok(Lease { id: lease })
    }

    /// Starts the time of an entry anew.
    pub(super) fn renew(&mut self, now: Instant, owner: &str, lease: Lease) -> Result<(), Status> {
        self.expire(now);
        let held = self.owned(owner, lease)?;
        let Some(ttl) = held.ttl else { return Ok(()) };
        let (old, new) = (held.end, now + ttl);
        held.end = Some(new);
        if let Some(old) = old {
            self.ends.remove(&(old, lease.id));
        }
        self.ends.insert((new, lease.id));
        Ok(())
    }

    /// Takes an entry out.
    pub(super) fn deregister(
        &mut self,
        now: Instant,
        owner: &str,
        lease: Lease,
    ) -> Result<(), Status> {
        self.expire(now);
        self.owned(owner, lease)?;
        self.remove(lease.id);
        Ok(())
    }

    fn owned(&mut self, owner: &str, lease: Lease) -> Result<&mut Held, Status> {
        let gone = || Status::not_found("there is no such entry, or its time is over");
        let (name, address) = self.leases.get(&lease.id).ok_or_else(gone)?;
        let service = self.services.get_mut(name).ok_or_else(gone)?;
        let held = service.entries.get_mut(address).ok_or_else(gone)?;
        if *held.owner != *owner {
            let text = "the entry belongs to somebody else";
            return Err(Status::permission_denied(text));
        }
        Ok(held)
    }

    /// Removes what is over; true if something was.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.revision;
        while let Some(&(end, lease)) = self.ends.first() {
            if end > now {
                break;
            }
            self.remove(lease);
        }
        self.revision != before
    }

    fn remove(&mut self, lease: u64) {
        let Some((name, address)) = self.leases.remove(&lease) else {
            return;
        };
        let Some(service) = self.services.get_mut(&name) else {
            return;
        };
        if let Some(end) = service.entries.remove(&address).and_then(|held| held.end) {
            self.ends.remove(&(end, lease));
        }
        self.revision += 1;
        service.changed = self.revision;
        if service.entries.is_empty() {
            self.emptied = self.revision;
            self.services.remove(&name);
        }
        if self.departures.len() == DEPARTURES_MAX {
            let oldest = self.departures.pop_front();
            self.forgotten = oldest.map_or(self.forgotten, |oldest| oldest.revision);
        }
        self.departures.push_back(Departure {
            revision: self.revision,
            name,
            address,
        });
    }

    /// When something happens by itself next.
    pub(super) fn next_event(&self, now: Instant) -> Option<Instant> {
        let settles = (self.settled_at > now).then_some(self.settled_at);
        let ends = self.ends.first().map(|(end, _)| *end);
        settles.into_iter().chain(ends).min()
    }

    /// The entries of a name after an address, in order.
    pub(super) fn list(&self, name: &str, after: &str) -> Vec<Instance> {
        let entries = self.services.get(name).map(|service| &service.entries);
        let entries = entries.into_iter().flatten();
        entries
            .filter(|(address, _)| &***address > after)
            .take(PAGE)
            .map(|(_, held)| held.instance.clone())
            .collect()
    }

    /// True if there is something to tell to who has seen a name up to a mark.
    pub(super) fn has_news(&self, now: Instant, name: &str, since: Mark) -> bool {
        let service = self.services.get(name);
        let changed = service.map_or(self.emptied, |service| service.changed);
        since.epoch != self.epoch
            || since.settled != self.is_settled(now)
            || changed > since.revision
    }

    fn is_settled(&self, now: Instant) -> bool {
        now >= self.settled_at
    }

    /// What happened to a name since a mark, up to a page of it.
    pub(super) fn changes(&self, now: Instant, name: &str, since: Mark) -> Changes {
        let reset = since.epoch != self.epoch
            || since.listed < self.forgotten
            || since.revision > self.revision;
        let from = if reset { 0 } else { since.revision };
        let entries = self.services.get(name).map(|service| &service.entries);
        let entered = entries.into_iter().flatten();
        let entered = entered.map(|(_, held)| (held.revision, Event::Entered(&held.instance)));
        // A list from its beginning does not need to tell who left.
        let told = if reset { self.revision } else { from };
        let told = self.departures.partition_point(|d| d.revision <= told);
        let left = self.departures.range(told..).filter(|d| *d.name == *name);
        let left = left.map(|departure| (departure.revision, Event::Left(&departure.address)));
        let mut events: Vec<_> = entered.chain(left).filter(|(at, _)| *at > from).collect();
        events.sort_unstable_by_key(|(revision, _)| *revision);
        let more = events.len() > PAGE;
        events.truncate(PAGE);
        let last = events.last().map_or(from, |(revision, _)| *revision);
        let mut changes = Changes {
            mark: Mark {
                epoch: self.epoch,
                revision: if more { last } else { self.revision },
                listed: if more && !reset {
                    since.listed
                } else {
                    self.revision
                },
                settled: self.is_settled(now),
            },
            reset,
            more,
            ..Changes::default()
        };
        for (_, event) in events {
            match event {
                Event::Entered(instance) => changes.entered.push(instance.clone()),
                Event::Left(address) => changes.left.push(address.to_string()),
            }
        }
        changes
    }
}

enum Event<'a> {
    Entered(&'a Instance),
    Left(&'a Arc<str>),
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
