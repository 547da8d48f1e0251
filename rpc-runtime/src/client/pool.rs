//! The connections to one place.
//!
//! Who connects? A task of the pool, and never a call: a call that is given up leaves the attempt
//! to the others, and a place that cannot be reached costs no call anything once that is known. After
//! a failure the task tries again, at the pace of the backoff, for as long as the pool is there.
//!
//! What does a pool of one connection cost, without a limit on its calls? Nothing: its connection is
//! there to be taken, and calls are not counted.

mod dialing;
mod lease;
mod settings;
mod shelf;

pub(super) use lease::Leased;
pub use settings::ConnectionPool;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rpc_core::Status;

use super::connection::Connection;
use super::dialer::Dialer;
use super::remote::closed_by_user;
use super::stats::ConnectionStats;
use crate::clock;
use crate::error::{Error, Kind};
use crate::watch;
use dialing::{Dialing, Stage};
use shelf::{Limits, MemberId, Shelf};

/// The connections to one place, and how they are made.
pub(super) struct Pool {
    dialer: Dialer,
    settings: ConnectionPool,
    store: Store,
    /// What is done to have a first connection.
    stage: watch::Sender<Stage>,
    dialing: Mutex<Dialing>,
    listener: Box<dyn Listener>,
}

/// Is told whether the place can be reached.
pub(super) trait Listener: Send + Sync {
    /// There is no connection, and one is being made.
    fn unreachable(&self);
    /// There is a connection.
    fn connected(&self);
}

/// Nobody cares.
impl Listener for () {
    fn unreachable(&self) {}
    fn connected(&self) {}
}

enum Store {
    /// One, and as many calls as its server takes.
    One(ArcSwapOption<Connection>),
    Many(Mutex<Shelf<Arc<Connection>>>),
}

/// What is known about a connection that is not used any more.
struct GivenUp {
    /// There is no other.
    was_last: bool,
    /// Another is needed at once: calls were on it, callers wait, or there is a minimum.
    was_needed: bool,
}

/// Why there is no connection.
pub(super) enum NotReached {
    /// There may be one yet, but it takes long.
    Slow,
    /// Each has as many calls as it may.
    Full,
    Failed(Arc<Error>, Instant),
    /// There may be one yet, but there is another place to go to.
    Overtaken,
    /// The runtime of the caller has ended, so that nothing can be begun on it.
    Stopped,
    Closed,
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not for an attempt to connect that takes long, nor for a place on a connection.
    Short,
    /// Until connecting has failed.
    Long,
    /// Also after that.
    Endless,
}

impl Pool {
    pub(super) fn new(
        dialer: Dialer,
        settings: ConnectionPool,
        listener: Box<dyn Listener>,
    ) -> Arc<Self> {
        let limits = Limits {
            min: settings.min_connections(),
            max: settings.max_connections().max(1),
            idle_timeout: settings.idle_timeout(),
            calls_each: settings
                .calls_per_connection_max()
                .unwrap_or(rpc_core::CALLS_PER_CONNECTION_MAX)
                .max(1) as usize,
        };
        let store = if settings.is_plain() {
            Store::One(ArcSwapOption::empty())
        } else {
            Store::Many(Mutex::new(Shelf::new(limits)))
        };
        let dialing = Dialing::new(dialer.backoff(dialing::BACKOFF));
        Arc::new(Self {
            dialer,
            settings,
            store,
            stage: watch::Sender::new(Stage::Idle),
            dialing: Mutex::new(dialing),
            listener,
        })
    }

    pub(super) const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// True while there is a connection that takes calls.
    pub(super) fn is_connected(&self) -> bool {
        match &self.store {
            Store::One(only) => only.load().as_ref().is_some_and(|one| one.accepts_calls()),
            Store::Many(shelf) => !lock(shelf).is_empty(),
        }
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        match &self.store {
            Store::One(only) => ConnectionStats::of_one(only.load().as_deref()),
            Store::Many(shelf) => {
                let counts = lock(shelf).counts();
                ConnectionStats {
                    open: counts.open,
                    idle: counts.open - counts.in_use,
                    in_use: counts.in_use,
                    waiting: counts.waiting,
                }
            }
        }
    }

    /// A call found the connection closed, or was on it when it broke.
    pub(super) fn note_lost(self: &Arc<Self>, connection: &Arc<Connection>, unsent: bool) {
        if let Some(lost) = self.give_up(connection) {
            self.note_given_up(connection, &lost, !unsent);
        }
    }

    /// Makes no more calls on a connection; `None` if somebody else was quicker.
    fn give_up(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<GivenUp> {
        match &self.store {
            Store::One(only) => {
                let previous = only.compare_and_swap(connection, None);
                let previous = previous.as_ref();
                let is_it = previous.is_some_and(|previous| Arc::ptr_eq(previous, connection));
                is_it.then_some(GivenUp {
                    was_last: true,
                    was_needed: false,
                })
            }
            Store::Many(shelf) => {
                let member = lock(shelf).find(|one| Arc::ptr_eq(one, connection))?;
                Some(self.take_off(shelf, member)?.1)
            }
        }
    }

    /// One of many takes no more calls.
    fn note_closed(self: &Arc<Self>, member: MemberId) {
        if let Store::Many(shelf) = &self.store
            && let Some((connection, lost)) = self.take_off(shelf, member)
        {
            self.note_given_up(&connection, &lost, false);
        }
    }

    fn take_off(
        self: &Arc<Self>,
        shelf: &Mutex<Shelf<Arc<Connection>>>,
        member: MemberId,
    ) -> Option<(Arc<Connection>, GivenUp)> {
        let (removed, woken) = lock(shelf).remove(member)?;
        woken.into_iter().for_each(Waker::wake);
        if !removed.was_last {
            self.open_more();
        }
        let given_up = GivenUp {
            was_last: removed.was_last,
            was_needed: removed.was_needed || self.settings.min_connections() > 0,
        };
        Some((removed.connection, given_up))
    }

    fn note_given_up(self: &Arc<Self>, connection: &Connection, lost: &GivenUp, broke: bool) {
        if lost.was_last {
            self.note_none_left(connection, broke || lost.was_needed);
        }
    }

    /// Whoever waits for a connection waits no longer; a closed pool has none, and gets none. Gives
    /// those that there were: to be dropped when [all of the channel](Dialer::close) are closed, as one
    /// that nobody holds still writes what waits.
    pub(super) fn close(&self) -> Vec<Arc<Connection>> {
        self.stage.send_replace(Stage::Closed);
        match &self.store {
            Store::One(only) => only.swap(None).into_iter().collect(),
            Store::Many(shelf) => lock(shelf).close(),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Closed)
    }

    /// The time, if it is of any use to know since when a connection has no calls.
    #[inline]
    fn idle_clock(&self) -> Option<Instant> {
        self.settings.idle_timeout().map(|_| clock::now())
    }
}

fn lock<C>(shelf: &Mutex<Shelf<C>>) -> MutexGuard<'_, Shelf<C>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NotReached {
    /// For who sets up a channel.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Failed(error, _) => error.again(),
            other => Error::new(Kind::Connect, other.status().message()),
        }
    }

    /// For a call that does not wait for a server.
    pub(super) fn status(&self) -> Status {
        let text = match self {
            Self::Slow | Self::Overtaken => "connecting takes long".to_owned(),
            Self::Full => "no connection has room".to_owned(),
            Self::Failed(error, next) => {
                let wait = next.saturating_duration_since(clock::now());
                format!("{error}; next attempt in {} ms", wait.as_millis())
            }
            Self::Stopped => "cannot connect: the runtime of the call has ended".to_owned(),
            Self::Closed => return closed_by_user().with_not_processed(),
        };
        Status::unavailable(text).with_not_processed()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("dialer", &self.dialer)
            .field("settings", &self.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
