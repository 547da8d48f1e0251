//! A place that calls can go to: what is known about it, and how it fares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gate::{Admission, Gate};
use super::latency::PeakEwma;
use super::report::{LoadReport, Reported};

/// A place that calls can go to.
///
/// Its description never changes; a new list has new backends, to which [`Backends::replaced`] hands
/// on how those of the same address fare.
///
/// [`Backends::replaced`]: super::Backends::replaced
#[derive(Debug)]
pub struct Backend {
    address: Box<str>,
    weight: u32,
    zone: Option<Box<str>>,
    version: Option<Box<str>>,
    tags: BTreeMap<String, String>,
    live: Arc<Live>,
}

/// How a backend fares; shared by all backends with the same address, one after the other.
#[derive(Debug, Default)]
pub(super) struct Live {
    gate: Gate,
    latency: PeakEwma,
    in_flight: AtomicU32,
    reported: Reported,
}

impl Backend {
    /// A backend of weight 1 of which nothing else is known. The address tells it from others.
    #[must_use]
    pub fn new(address: impl Into<Box<str>>) -> Self {
        Self {
            address: address.into(),
            weight: 1,
            zone: None,
            version: None,
            tags: BTreeMap::new(),
            live: Arc::default(),
        }
    }

    /// Sets how much of the calls it is to get, relative to the others. One with 0 gets none, unless
    /// all have 0.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets where it stands; see [`Locality`](super::Locality).
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Box<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets which build it runs.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<Box<str>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Adds a tag, or replaces it. `hash_key`, `latitude` and `longitude` mean something to
    /// [`RingHash`](super::RingHash) and [`Nearest`](super::Nearest).
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    pub(super) fn with_history_of(mut self, other: &Self) -> Self {
        self.live = other.live.clone();
        self
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How much of the calls it is to get, relative to the others.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Where it stands, if that is known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Which build it runs, if that is known.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What else is known about it.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// Counts a call until the guard is finished or dropped.
    #[inline]
    pub fn begin(&self, now: Duration) -> InFlight {
        self.live.in_flight.fetch_add(1, Relaxed);
        InFlight {
            live: self.live.clone(),
            began: now,
        }
    }

    /// Counts a call until it [leaves](Self::leave), for who has the backend anyway: a guard that
    /// shares it would cost a call two atomics more.
    #[inline]
    pub(crate) fn enter(&self) {
        self.live.in_flight.fetch_add(1, Relaxed);
    }

    /// A call that entered is over.
    #[inline]
    pub(crate) fn leave(&self) {
        self.live.in_flight.fetch_sub(1, Relaxed);
    }

    /// Notes how long a call took and how it ended.
    #[inline]
    pub(crate) fn note_end(&self, now: Duration, took: Duration, ended: Ended) {
        self.live.note_end(now, took, ended);
    }

    /// A call that entered goes on when nobody has the backend any more.
    pub(crate) fn keep(&self, began: Duration) -> InFlight {
        InFlight {
            live: self.live.clone(),
            began,
        }
    }

    /// Calls that have begun and not ended.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight.load(Relaxed)
    }

    /// The moving average of its latency, which falls while nobody calls; zero if nothing is known.
    #[must_use]
    pub fn latency(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.cost(now) as u64)
    }

    #[inline]
    pub(super) fn cost(&self, now: Duration) -> f64 {
        self.live.latency.cost(now)
    }

    /// Notes what the server said about its load; see [`ReportedLoad`](super::ReportedLoad).
    pub fn report(&self, now: Duration, report: LoadReport) {
        self.live.reported.note(now, report);
    }

    /// The weight that follows from its reports; 0.0 if there are none to rely on.
    pub(super) fn reported_weight(&self, now: Duration) -> f64 {
        self.live.reported.weight(now)
    }

    /// Closes it until then because its calls fail; after that one call probes it. Until somebody
    /// [readmits](Self::readmit) it, it gets no more than a probe a second.
    pub fn eject(&self, until: Duration) {
        self.live.gate.eject(until);
    }

    /// Ends an ejection.
    pub fn readmit(&self) {
        self.live.gate.readmit();
    }

    /// Closes it until then because no connection can be made; after that one call tries.
    pub fn set_unreachable(&self, until: Duration) {
        self.live.gate.close(until);
    }

    /// A connection was made. If that was not possible before, what was known is not true any more:
    /// it is as quick as a backend that is new, and if it is ejected, its probe is due.
    pub fn set_reachable(&self) {
        if self.live.gate.open() {
            self.live.latency.forget();
            self.live.gate.hasten_probe();
        }
    }

    /// True while it is ejected, or on probation.
    #[must_use]
    #[inline]
    pub fn is_ejected(&self) -> bool {
        self.live.gate.is_ejected()
    }

    /// True while no connection can be made.
    #[must_use]
    #[inline]
    pub fn is_unreachable(&self) -> bool {
        self.live.gate.is_unreachable()
    }

    /// True while calls may go there without more ado.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.is_ejected() && !self.is_unreachable()
    }

    /// See [`Pick::admit`](super::Pick::admit).
    #[inline]
    pub(super) fn admit(&self, now: Duration) -> Admission {
        self.live.gate.admit(now)
    }

    /// True if both stand for the same place, even in different lists.
    #[must_use]
    #[inline]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
    }
}

/// How a call ended, as far as its backend is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The backend answered: with a reply, or with an error that is not its fault.
    Answered,
    /// The backend failed. Counts as half a second at least.
    Failed,
    /// The backend did not answer in time. Counts as a failure, and is forgotten after four seconds:
    /// it tells nothing about a backend that was cut off and is back.
    Unanswered,
    /// The caller gave up first, or another attempt was quicker.
    Abandoned,
}

/// A call that is counted as in flight. Dropping it ends the call without a word on its latency.
#[derive(Debug)]
#[must_use = "the call counts as in flight until this is finished or dropped"]
pub struct InFlight {
    live: Arc<Live>,
    began: Duration,
}

impl InFlight {
    /// When the call began.
    #[must_use]
    pub const fn began(&self) -> Duration {
        self.began
    }

    /// Notes how long the reply took, of a call that goes on: items follow.
    pub fn note_reply(&self, now: Duration) {
        let took = now.saturating_sub(self.began);
        self.live.latency.observe(now, took);
    }

    /// Notes how long the call took and how it ended.
    #[inline]
    pub fn finish(self, now: Duration, ended: Ended) {
        self.live
            .note_end(now, now.saturating_sub(self.began), ended);
    }
}

impl Live {
    #[inline]
    fn note_end(&self, now: Duration, took: Duration, ended: Ended) {
        match ended {
            Ended::Answered => self.latency.observe(now, took),
            Ended::Failed => self.latency.observe_failure(now, took),
            Ended::Unanswered => self.latency.observe_silence(now, took),
            Ended::Abandoned => self.latency.observe_at_least(now, took),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.live.in_flight.fetch_sub(1, Relaxed);
    }
}
