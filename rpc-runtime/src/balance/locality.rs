//! Backends of the own zone first.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gate::nanos;
use super::{Backend, List, Pick, Picked, Picker, Policy};

/// Calls stay in their own zone while enough of it is open, and spill over to all other zones when
/// it is not: in each of both, another policy chooses.
///
/// How much is enough? The zone is taken to have 1.4 times the room it needs. If 60 % of it are open,
/// 84 % of the calls stay; if no backend of it is open and untried, none does.
///
/// Source: Envoy, priority levels and their overprovisioning factor.
#[derive(Clone, Debug)]
pub struct Locality {
    zone: Box<str>,
    inner: Arc<dyn Policy>,
}

impl Locality {
    /// Prefers this zone; within and outside of it, `inner` chooses.
    #[must_use]
    pub fn new(zone: impl Into<Box<str>>, inner: Arc<dyn Policy>) -> Self {
        Self {
            zone: zone.into(),
            inner,
        }
    }
}

impl Policy for Locality {
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker> {
        let is_near = |backend: &Backend| backend.zone() == Some(&self.zone);
        let tier = |near: bool| {
            let members = (0..backends.len()).filter(|index| is_near(&backends[*index]) == near);
            Tier::new(&backends, members.collect(), &*self.inner, seed)
        };
        Box::new(Tiers {
            near: tier(true),
            far: tier(false),
        })
    }
}

#[derive(Debug)]
struct Tiers {
    near: Tier,
    far: Tier,
}

/// How much room a zone is taken to have, relative to what it needs.
const OVERPROVISIONING: f64 = 1.4;

impl Picker for Tiers {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let stays = self.near.open_share(pick.now()) * OVERPROVISIONING;
        let mut dice = pick.dice();
        let (first, second) = if dice.unit() < stays {
            (&self.near, &self.far)
        } else {
            (&self.far, &self.near)
        };
        // Other numbers than the one that chose the zone, or those would all be alike.
        let pick = &Pick {
            random: dice.roll(),
            ..*pick
        };
        let picked = first.pick(pick);
        if picked.is_some_and(|picked| !picked.is_last_resort) {
            return picked;
        }
        match second.pick(pick) {
            Some(other) if picked.is_none() || !other.is_last_resort => Some(other),
            _ => picked,
        }
    }
}

/// The backends on one side of the border of the zone.
#[derive(Debug)]
struct Tier {
    list: List,
    /// Where its backends are in the whole list.
    members: Box<[usize]>,
    picker: Box<dyn Picker>,
    /// How many were open when they were counted, and when that was.
    open: AtomicU64,
    counted_at: AtomicU64,
}

impl Tier {
    /// How old a count may be: counting looks at every backend.
    const COUNT_AGE_MAX: Duration = Duration::from_millis(100);

    fn new(all: &List, members: Box<[usize]>, policy: &dyn Policy, seed: u64) -> Self {
        let list: List = members.iter().map(|index| all[*index].clone()).collect();
        Self {
            picker: policy.picker(list.clone(), seed),
            open: AtomicU64::new(list.len() as u64),
            list,
            members,
            counted_at: AtomicU64::new(0),
        }
    }

    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let picked = self.picker.pick(pick)?;
        Some(Picked {
            index: self.members[picked.index],
            ..picked
        })
    }

    /// From 0.0 to 1.0; 0.0 without backends.
    fn open_share(&self, now: Duration) -> f64 {
        if self.list.is_empty() {
            return 0.0;
        }
        let (now, counted_at) = (nanos(now), self.counted_at.load(Relaxed));
        if now.saturating_sub(counted_at) >= nanos(Self::COUNT_AGE_MAX)
            && self
                .counted_at
                .compare_exchange(counted_at, now, Relaxed, Relaxed)
                .is_ok()
        {
            let open = self.list.iter().filter(|backend| backend.is_open()).count();
            self.open.store(open as u64, Relaxed);
        }
        self.open.load(Relaxed) as f64 / self.list.len() as f64
    }
}
