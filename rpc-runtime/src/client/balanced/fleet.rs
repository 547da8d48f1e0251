//! The endpoints of a channel: follows a name, and knows whom calls may go to.
//!
//! A call takes the roster as it finds it, without a lock. A new list makes a new roster, which takes
//! over the endpoints that stay, with their connections and how they fare. Those that are gone are
//! let go: the calls on them hold their connection until they end.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rpc_core::Status;

use super::super::dialer::{Dialer, Terms};
use super::super::glance::{Glance, Hearing};
use super::super::pool::{ConnectionPool, Pool};
use super::super::remote::closed_by_user;
use super::attempts::pick;
use super::endpoint::Endpoint;
use crate::balance::{Backend, Backends, Pick, Policy, Subset};
use crate::contain::contain;
use crate::discovery::{self, Snapshot, Watch};
use crate::log;
use crate::resilience::{Health, OutlierDetector, OutlierPolicy, Verdict};
use crate::transport::Target;
use crate::watch;

/// From this many endpoints on, a picker is made on a thread that may be kept busy: a ring of a
/// thousand takes milliseconds.
const LARGE: usize = 64;

/// The endpoints of a channel.
pub(super) struct Fleet {
    watch: Watch,
    choice: Choice,
    terms: Arc<Terms>,
    connections: ConnectionPool,
    /// The time that balancing and resilience reckon in.
    glance: Arc<Glance>,
    /// `None` until the first list, and once the channel is closed.
    roster: ArcSwapOption<Roster>,
    /// Of who was listed, and may still be waited for.
    left: Mutex<Vec<Weak<Pool>>>,
    detector: Option<Mutex<OutlierDetector<Arc<Backend>>>>,
    /// Told when there is a new list, an endpoint was connected to, or the channel was closed.
    news: watch::Sender<()>,
    /// The source was asked and has not answered.
    is_unresolved: AtomicBool,
    /// The runtime has ended in which the name was followed.
    is_left_alone: AtomicBool,
    is_closed: AtomicBool,
    pub(super) ejections: AtomicU64,
}

/// Who of a list is called.
pub(super) struct Choice {
    pub(super) policy: Arc<dyn Policy>,
    /// All of them, if there is none.
    pub(super) subset: Option<Subset>,
}

/// One list of endpoints and its picker; never changes.
pub(super) struct Roster {
    backends: Backends,
    /// In the order of the backends.
    pub(super) endpoints: Vec<Arc<Endpoint>>,
}

/// Whom a call goes to.
pub(in crate::client) struct Picked {
    pub(super) endpoint: Arc<Endpoint>,
    /// It is closed or was tried, because all are.
    pub(super) is_last_resort: bool,
}

impl Fleet {
    pub(super) fn new(
        watch: Watch,
        choice: Choice,
        outliers: Option<OutlierPolicy>,
        (terms, connections): (Arc<Terms>, ConnectionPool),
    ) -> Self {
        Self {
            watch,
            choice,
            terms,
            connections,
            glance: Glance::new(),
            roster: ArcSwapOption::empty(),
            left: Mutex::default(),
            detector: outliers
                .map(|policy| Mutex::new(OutlierDetector::new(policy, Duration::ZERO))),
            news: watch::Sender::new(()),
            is_unresolved: AtomicBool::new(false),
            is_left_alone: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
        }
    }

    /// The name that is followed.
    pub(super) fn name(&self) -> &str {
        self.watch.name().as_str()
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The time, as balancing and resilience reckon it.
    #[inline]
    pub(super) fn now(&self) -> Duration {
        self.glance.now()
    }

    /// The same for a call that begins, which need not look itself if a driver just did.
    #[inline]
    pub(super) fn this_turn(&self) -> Duration {
        self.glance.this_turn()
    }

    /// The moment that time is reckoned from.
    pub(super) fn epoch(&self) -> Instant {
        self.glance.epoch()
    }

    /// Whom a call goes to; `None` if nobody is listed.
    #[inline]
    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let roster = self.roster.load();
        let roster = roster.as_ref()?;
        let picked = roster.backends.pick(pick)?;
        Some(Picked {
            endpoint: roster.endpoints[picked.index].clone(),
            is_last_resort: picked.is_last_resort,
        })
    }

    /// Whom a call goes to that was sent to others before. A picker may insist on one of them: that
    /// is a last resort, whatever it says.
    pub(super) fn pick_again(&self, key: Option<u64>, tried: &[Arc<Backend>]) -> Option<Picked> {
        let mut picked = self.pick(&pick(self.now(), key).with_tried(tried))?;
        let backend = &picked.endpoint.backend;
        picked.is_last_resort |= tried.iter().any(|tried| tried.is_same(backend));
        Some(picked)
    }

    pub(super) fn roster(&self) -> Option<Arc<Roster>> {
        self.roster.load_full()
    }

    /// Tells of everything that may help a call that found nobody.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Why there is nobody to call; `None` if that is not known yet.
    pub(super) fn why_empty(&self) -> Option<Status> {
        let name = self.name();
        let text = if self.is_closed.load(Ordering::SeqCst) {
            return Some(closed_by_user().with_not_processed());
        } else if self.roster.load().is_some() {
            format!("nobody serves {name}")
        } else if self.is_left_alone.load(Ordering::SeqCst) {
            format!(
                "{name} is not followed any more: the runtime in which this channel was made has \
                 ended; make it in the one in which it is used"
            )
        } else if self.is_unresolved.load(Ordering::SeqCst) {
            let why = self.watch.failure();
            format!(
                "cannot resolve {name}: {}",
                why.as_deref().unwrap_or("no answer yet")
            )
        } else {
            return None;
        };
        Some(Status::unavailable(text).with_not_processed())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.shut();
        self.news.send_replace(());
    }

    fn shut(&self) {
        let roster = self.roster.swap(None);
        let listed = roster.iter().flat_map(|roster| &roster.endpoints);
        let listed = listed.map(|endpoint| endpoint.pool.clone());
        let left = mem::take(&mut *self.left());
        let pools = listed.chain(left.iter().filter_map(Weak::upgrade));
        let _held: Vec<_> = pools.map(|pool| pool.close()).collect();
        self.terms.connections.close();
    }

    fn left(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call to an endpoint has ended in a way that may say something about it.
    #[inline]
    pub(super) fn note_health(
        &self,
        endpoint: &Endpoint,
        began: Duration,
        now: Duration,
        failed: bool,
    ) {
        if let Some(health) = &endpoint.health
            && health.record(began, failed)
        {
            self.judge(endpoint, health, began, now, failed);
        }
    }

    #[cold]
    fn judge(
        &self,
        endpoint: &Endpoint,
        health: &Arc<Health>,
        began: Duration,
        now: Duration,
        failed: bool,
    ) {
        let Some(mut detector) = self.detector() else {
            return;
        };
        if let Some(verdict) = detector.judge(now, health, began, failed) {
            self.apply(&endpoint.backend, verdict);
        }
    }

    fn apply(&self, backend: &Backend, verdict: Verdict) {
        let address = backend.address();
        match verdict {
            Verdict::Eject { until } => {
                log::info!(address, "ejected: its calls fail");
                self.ejections.fetch_add(1, Ordering::Relaxed);
                backend.eject(until);
            }
            Verdict::Readmit => {
                log::info!(address, "readmitted");
                backend.readmit();
            }
        }
    }

    fn detector(&self) -> Option<MutexGuard<'_, OutlierDetector<Arc<Backend>>>> {
        let detector = self.detector.as_ref()?;
        Some(detector.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares the endpoints, if it is time to; gives when it is the next time.
    fn sweep(&self) -> Option<Instant> {
        let mut detector = self.detector()?;
        for (backend, verdict) in detector.handle_timeout(self.now()) {
            self.apply(&backend, verdict);
        }
        // A time that no clock shows never comes.
        self.glance.epoch().checked_add(detector.poll_timeout())
    }

    /// Makes the roster of a new list.
    async fn update(self: &Arc<Self>, snapshot: Snapshot) {
        let (fleet, is_large) = (self.clone(), snapshot.len() >= LARGE);
        let build = move || fleet.replace(&snapshot);
        let built = if is_large {
            let built = tokio::task::spawn_blocking(build).await;
            built.map_err(|error| error.to_string())
        } else {
            contain(async { build() }).await
        };
        if let Err(panic) = built {
            // A policy of the user's panicked: the last roster stays.
            log::error!(panic, "no picker for the new endpoints");
        }
        self.news.send_replace(());
    }

    /// Replaces the roster by one of a new list; also lets go of the old one, which takes time too.
    fn replace(&self, snapshot: &Snapshot) {
        let old = self.roster();
        let (policy, seed) = (&*self.choice.policy, fastrand::u64(..));
        let mut list = snapshot.endpoints().iter().map(backend).collect();
        if let Some(subset) = &self.choice.subset {
            list = subset.of(list);
        }
        let backends = match &old {
            Some(old) => old.backends.replaced(policy, list, seed),
            None => Backends::new(policy, list, seed),
        };
        let endpoints = self.endpoints(old.as_deref(), &backends);
        self.roster.store(Some(Arc::new(Roster {
            backends,
            endpoints,
        })));
        if self.is_closed() {
            // Closed by another thread, which may not have found this one. Whoever waits for it to be made
            // is gone then.
            self.shut();
        }
    }

    /// The endpoints of these backends: the same as before, where there were some.
    fn endpoints(&self, old: Option<&Roster>, backends: &Backends) -> Vec<Arc<Endpoint>> {
        let old = old.map_or(&[][..], |old| &old.endpoints);
        let mut known: HashMap<_, _> = old
            .iter()
            .map(|endpoint| (endpoint.backend.address(), endpoint))
            .collect();
        let list = backends.list().iter();
        let endpoints = list.map(|backend| match known.remove(backend.address()) {
            Some(endpoint) => endpoint.clone(),
            None => Arc::new(self.endpoint(backend)),
        });
        let endpoints = endpoints.collect();
        if let Some(mut detector) = self.detector() {
            detector.retain(|backend| !known.contains_key(backend.address()));
        }
        let mut left = self.left();
        left.retain(|pool| pool.strong_count() > 0);
        left.extend(known.values().map(|gone| Arc::downgrade(&gone.pool)));
        drop(left);
        endpoints
    }

    fn endpoint(&self, backend: &Arc<Backend>) -> Endpoint {
        let health = self
            .detector()
            .map(|mut detector| detector.add(backend.clone()));
        let target: Target = backend
            .address()
            .parse()
            .expect("an endpoint has a target for an address");
        let hearing = Hearing::new(self.glance.clone());
        let dialer = Dialer::new(self.terms.connectors.of(&target), self.terms.clone());
        let dialer = dialer.heard_by(hearing.clone());
        let news = self.news.clone();
        Endpoint::new(
            (backend.clone(), health, hearing),
            dialer,
            self.connections,
            news,
        )
    }
}

/// Whoever follows a fleet; says so when that is over.
struct Follower(Weak<Fleet>);

impl Follower {
    async fn follow(&self, mut watch: Watch) {
        if watch.ready().await.is_err() {
            let Some(fleet) = self.0.upgrade() else {
                return;
            };
            fleet.is_unresolved.store(true, Ordering::SeqCst);
            fleet.news.send_replace(());
        }
        loop {
            let Some(sweep_at) = self.0.upgrade().map(|fleet| fleet.sweep()) else {
                return;
            };
            let changed = match sweep_at {
                Some(at) => tokio::time::timeout_at(at.into(), watch.changed())
                    .await
                    .ok(),
                None => Some(watch.changed().await),
            };
            let Some(fleet) = self.0.upgrade() else {
                return;
            };
            if let Some(snapshot) = changed {
                fleet.update(snapshot).await;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Else the channel has gone, and nobody is to be told.
        if let Some(fleet) = self.0.upgrade() {
            fleet.is_left_alone.store(true, Ordering::SeqCst);
            fleet.news.send_replace(());
        }
    }
}

/// Keeps a fleet up to date while it is there.
pub(super) fn follow(fleet: Weak<Fleet>, watch: Watch) -> impl Future<Output = ()> + Send {
    // It may end before it is polled.
    let follower = Follower(fleet);
    async move { follower.follow(watch).await }
}

/// An endpoint as balancing sees it.
fn backend(endpoint: &discovery::Endpoint) -> Backend {
    let attributes = endpoint.attributes();
    let mut backend = Backend::new(endpoint.address()).with_weight(attributes.weight);
    if let Some(zone) = &attributes.zone {
        backend = backend.with_zone(zone.as_str());
    }
    if let Some(version) = &attributes.version {
        backend = backend.with_version(version.as_str());
    }
    attributes
        .tags
        .iter()
        .fold(backend, |backend, (key, value)| {
            backend.with_tag(key, value)
        })
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roster = self.roster.load();
        let endpoints = roster.as_ref().map(|roster| roster.endpoints.len());
        f.debug_struct("Fleet")
            .field("name", &self.name())
            .field("policy", &self.choice.policy)
            .field("endpoints", &endpoints)
            .finish_non_exhaustive()
    }
}
