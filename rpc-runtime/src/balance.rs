//! Chooses a backend for each call.
//!
//! What is decided when? A [`Policy`] makes a [`Picker`] for a list of backends whenever the list
//! changes, and may take its time: sort, hash, build tables. The picker then chooses for each call,
//! from any number of threads, without a lock and without allocating. What changes from call to
//! call (calls in flight, latency, ejection) are atomics of the [`Backend`], and outlive the list.
//!
//! Nothing here asks for the time or for randomness: both are arguments, so that a simulation can
//! run hours of a fleet in a second. A time is a [`Duration`] since a moment that the caller
//! chooses, once for all its backends.
//!
//! ```
//! use std::time::Duration;
//! use rpc_runtime::balance::{Backend, Backends, Ended, Pick, policy};
//!
//! let policy = policy("p2c")?;
//! let list = vec![Backend::new("10.0.0.1:7000"), Backend::new("10.0.0.2:7000")];
//! let backends = Backends::new(&*policy, list, 1);
//!
//! let (now, random) = (Duration::from_secs(1), 42);
//! let picked = backends.pick(&Pick::new(now, random)).expect("the list is not empty");
//! let index = picked.index;
//! let call = backends.list()[index].begin(now);
//! call.finish(now + Duration::from_millis(3), Ended::Answered);
//! # Ok::<(), rpc_runtime::balance::UnknownPolicy>(())
//! ```

mod alias;
mod backend;
mod backends;
mod choices;
mod dice;
mod fixed;
mod gate;
mod hash;
mod latency;
mod least_request;
mod locality;
mod name;
mod nearest;
mod p2c;
mod random;
mod report;
mod reported_load;
mod resort;
mod ring_hash;
mod round_robin;

mod subset;
mod weighted_round_robin;

pub use backend::{Backend, Ended, InFlight};
pub use backends::Backends;
pub use dice::Dice;
pub use fixed::Fixed;
pub use gate::Admission;
pub use hash::hash_key;
pub use least_request::LeastRequest;
pub use locality::Locality;
pub use name::{NAMES, UnknownPolicy, policy};
pub use nearest::Nearest;
pub use p2c::PowerOfTwoChoices;
pub use random::Random;
pub use report::LoadReport;
pub use reported_load::ReportedLoad;
pub use ring_hash::RingHash;
pub use round_robin::RoundRobin;
pub use subset::Subset;
pub use weighted_round_robin::WeightedRoundRobin;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How to balance: makes a picker for each list of backends.
pub trait Policy: fmt::Debug + Send + Sync {
    /// A picker for these backends, which may be none. `seed` is random, so that clients that start
    /// together do not all begin with the same backend.
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker>;
}

/// The backends that a picker chooses from; never changes.
pub type List = Arc<[Arc<Backend>]>;

/// Chooses one of the backends it was made for.
///
/// On the path of every call: it must not block, and should not allocate.
pub trait Picker: fmt::Debug + Send + Sync {
    /// The backend for a call; `None` if there is none.
    ///
    /// A picker asks [`Pick::admit`] about each backend it considers. If none is admitted, it gives
    /// the best of the others rather than nothing, as a [last resort](Picked::last_resort).
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked>;
}

/// What a picker chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picked {
    /// The place in the list that the picker was made for.
    pub index: usize,
    /// True if it is closed or was tried before, because all are: not worth a hedge.
    pub is_last_resort: bool,
}

impl Picked {
    /// A backend that was admitted.
    #[must_use]
    pub const fn at(index: usize) -> Self {
        Self {
            index,
            is_last_resort: false,
        }
    }

    /// A backend that was not admitted, for want of a better one.
    #[must_use]
    pub const fn last_resort(index: usize) -> Self {
        Self {
            index,
            is_last_resort: true,
        }
    }
}

/// What a picker is told about a call.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    now: Duration,
    random: u64,
    key: Option<u64>,
    tried: &'a [Arc<Backend>],
}

impl<'a> Pick<'a> {
    /// A call at this time, with 64 random bits.
    #[must_use]
    pub const fn new(now: Duration, random: u64) -> Self {
        Self {
            now,
            random,
            key: None,
            tried: &[],
        }
    }

    /// Calls with the same key go to the same backend, if the policy is one that hashes; see
    /// [`hash_key`].
    #[must_use]
    pub const fn with_key(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }

    /// Backends that the call was sent to already: they are avoided.
    #[must_use]
    pub const fn with_tried(mut self, tried: &'a [Arc<Backend>]) -> Self {
        self.tried = tried;
        self
    }

    /// When the call is made.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// The key of the call, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<u64> {
        self.key
    }

    /// The randomness of the call; the same each time it is asked for.
    #[must_use]
    pub const fn dice(&self) -> Dice {
        Dice::new(self.random)
    }

    /// May the call go there? Not if it was there before, nor while the backend is closed.
    ///
    /// With [`Admission::Probe`] the backend has been promised this call: pick it.
    #[must_use]
    #[inline]
    pub fn admit(&self, backend: &Backend) -> Admission {
        if self.was_tried(backend) {
            return Admission::Closed;
        }
        backend.admit(self.now)
    }

    #[inline]
    fn was_tried(&self, backend: &Backend) -> bool {
        self.tried.iter().any(|tried| tried.is_same(backend))
    }
}

/// How many backends a picker considers in its own order before it looks at all of them. With half
/// of them closed, one call in 32 needs the long look.
const TRIES: usize = 5;
