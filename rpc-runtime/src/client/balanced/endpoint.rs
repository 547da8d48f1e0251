//! One place of a list, and the connection to it.
//!
//! Who connects? A task of the endpoint, and never a call: a call that is given up leaves the attempt
//! to the others, and a place that cannot be reached costs no call anything once that is known. After
//! a failure the task tries again, at the pace of the backoff, for as long as the place is listed.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rpc_core::Status;

use super::super::connection::Connection;
use super::super::dialer::Dialer;
use super::super::remote::closed_by_user;
use crate::balance::Backend;
use crate::clock;
use crate::error::{Error, Kind};
use crate::resilience::Health;
use crate::resilience::backoff::{Backoff, BackoffPolicy};
use crate::watch;

/// How long a call waits for a place to be connected to before it looks for another one. That of
/// "happy eyeballs" (RFC 8305).
const PATIENCE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect: what a place that is back waits at most to be
/// called.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A gate that the task of the endpoint opens, and nobody else.
const UNTIL_CONNECTED: Duration = Duration::MAX;

/// One place of a list, and the connection to it.
pub(in crate::client) struct Endpoint {
    /// What is known about the place, when it was listed for the first time. How it fares is shared
    /// with every later list.
    pub(super) backend: Arc<Backend>,
    /// Where its calls are counted, if outliers are looked for.
    pub(super) health: Option<Arc<Health>>,
    pub(super) calls: AtomicU64,
    dialer: Dialer,
    current: ArcSwapOption<Connection>,
    stage: watch::Sender<Stage>,
    dialing: Mutex<Dialing>,
    /// Told when something became better.
    news: watch::Sender<()>,
}

/// What is done to have a connection.
#[derive(Clone)]
enum Stage {
    /// Nothing: there is one, or nobody has asked.
    Idle,
    /// The first attempt is under way.
    Dialing,
    /// It is, for longer than callers wait.
    Slow,
    /// The last attempt failed; the next is made at the time, or is under way.
    Failed(Arc<Error>, Instant),
    /// The channel is closed.
    Closed,
}

struct Dialing {
    backoff: Backoff,
    /// The last connection was accepted and of no use.
    was_sent_away: bool,
}

impl Default for Dialing {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(BackoffPolicy::default().with_cap(PAUSE_MAX)),
            was_sent_away: false,
        }
    }
}

/// Why there is no connection.
pub(super) enum NotReached {
    /// There may be one yet, but it takes long.
    Slow,
    Failed(Arc<Error>, Instant),
    Closed,
}

impl Endpoint {
    pub(super) fn new(
        backend: Arc<Backend>,
        health: Option<Arc<Health>>,
        dialer: Dialer,
        news: watch::Sender<()>,
    ) -> Self {
        Self {
            backend,
            health,
            calls: AtomicU64::new(0),
            dialer,
            current: ArcSwapOption::empty(),
            stage: watch::Sender::new(Stage::Idle),
            dialing: Mutex::default(),
            news,
        }
    }

    /// The connection, if there is one. It may be found closed when it is used.
    #[inline]
    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        self.current.load_full()
    }

    /// True while there is a connection that takes calls.
    pub(in crate::client) fn is_connected(&self) -> bool {
        let current = self.current.load();
        current.as_ref().is_some_and(|open| open.accepts_calls())
    }

    /// The connection, made if there is none. Unless it is waited for `patiently`, an attempt that
    /// takes long is left to itself.
    pub(super) async fn connection(
        self: &Arc<Self>,
        patiently: bool,
    ) -> Result<Arc<Connection>, NotReached> {
        let mut stages = self.stage.subscribe();
        loop {
            if let Some(current) = self.current() {
                return Ok(current);
            }
            let stage = stages.borrow_and_update().clone();
            match stage {
                Stage::Idle => self.dial(),
                Stage::Slow if !patiently => return Err(NotReached::Slow),
                Stage::Failed(error, next) => return Err(NotReached::Failed(error, next)),
                Stage::Closed => return Err(NotReached::Closed),
                Stage::Dialing | Stage::Slow => {
                    stages.changed().await;
                }
            }
        }
    }

    /// Begins to connect, unless that is under way or done.
    pub(super) fn dial(self: &Arc<Self>) {
        let begins = self.stage.send_if_modified(|stage| {
            let begins = matches!(stage, Stage::Idle) && self.current.load().is_none();
            if begins {
                *stage = Stage::Dialing;
            }
            begins
        });
        if begins {
            tokio::spawn(dial_until_connected(Arc::downgrade(self), None));
        }
    }

    /// No answers come: by the fault of the server, or of the way there? If it is the way, nobody can
    /// connect, and whoever can again will know that all may be well.
    pub(super) fn doubt(self: &Arc<Self>, connection: &Arc<Connection>) {
        // The calls on it hold it until they end.
        if self.give_up(connection) {
            self.dial();
        }
    }

    /// Makes no more calls on a connection; false if somebody else was quicker.
    fn give_up(&self, connection: &Arc<Connection>) -> bool {
        let previous = self.current.compare_and_swap(connection, None);
        previous
            .as_ref()
            .is_some_and(|previous| Arc::ptr_eq(previous, connection))
    }

    /// A call found the connection closed, or was on it when it broke.
    pub(super) fn note_lost(self: &Arc<Self>, connection: &Arc<Connection>, unsent: bool) {
        if !self.give_up(connection) {
            return;
        }
        if let Some(wait) = self.judge(connection) {
            let error = Error::new(Kind::Connect, connection.why_closed());
            let next = clock::now() + wait;
            self.note_failure(error, next);
            tokio::spawn(dial_until_connected(Arc::downgrade(self), Some(next)));
        } else if !unsent {
            // It broke: calls go elsewhere while it is connected to anew.
            self.backend.set_unreachable(UNTIL_CONNECTED);
            self.dial();
        }
    }

    /// A server may go at any time, so once is no failure. Who accepts again and again only to send
    /// everybody away is as good as one that does not listen: gives how long to leave it alone.
    fn judge(&self, connection: &Connection) -> Option<Duration> {
        let mut dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.was_of_use() {
            dialing.was_sent_away = false;
            dialing.backoff.note_success();
            return None;
        }
        if !dialing.was_sent_away {
            dialing.was_sent_away = true;
            return None;
        }
        let now = clock::now();
        dialing.backoff.note_failure(now, jitter());
        dialing.backoff.wait(now)
    }

    fn note_slow(&self) {
        self.backend.set_unreachable(UNTIL_CONNECTED);
        self.stage.send_if_modified(|stage| {
            let is_first = matches!(stage, Stage::Dialing);
            if is_first {
                *stage = Stage::Slow;
            }
            is_first
        });
    }

    fn note_failure(&self, error: Error, next: Instant) {
        self.backend.set_unreachable(UNTIL_CONNECTED);
        self.stage.send_if_modified(|stage| {
            let goes_on = !matches!(stage, Stage::Closed);
            if goes_on {
                *stage = Stage::Failed(Arc::new(error), next);
            }
            goes_on
        });
    }

    fn note_connected(&self, connection: Connection) {
        self.current.store(Some(Arc::new(connection)));
        self.backend.set_reachable();
        self.stage.send_if_modified(|stage| {
            let goes_on = !matches!(stage, Stage::Closed);
            if goes_on {
                *stage = Stage::Idle;
            }
            goes_on
        });
        if matches!(*self.stage.borrow(), Stage::Closed) {
            // Closed by another thread, which may not have found this one.
            self.close();
        }
        self.news.send_replace(());
    }

    /// Ends the connection, its calls, and every later attempt to connect.
    pub(super) fn close(&self) {
        self.stage.send_replace(Stage::Closed);
        if let Some(current) = self.current.swap(None) {
            current.close(&closed_by_user());
        }
    }

    /// After one more failure: when to try again.
    fn next_attempt(&self) -> Instant {
        let now = clock::now();
        let mut dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        dialing.backoff.note_failure(now, jitter());
        now + dialing.backoff.wait(now).unwrap_or_default()
    }
}

/// From a half to the whole of the bound, not from nothing: the bound grows with the time that the
/// place is away, so that it is called again soon after it is back: at most 0.1 s and 1.2 times as
/// long as it was away, and 4 s at the most.
fn jitter() -> f64 {
    0.5 + 0.5 * fastrand::f64()
}

/// Connects, however often that takes, while the endpoint is listed or a call waits for it.
async fn dial_until_connected(endpoint: Weak<Endpoint>, mut next: Option<Instant>) {
    loop {
        if let Some(next) = next {
            tokio::time::sleep_until(next.into()).await;
        }
        let Some(dialer) = endpoint.upgrade().map(|endpoint| endpoint.dialer.clone()) else {
            return;
        };
        let mut opening = std::pin::pin!(dialer.open_accepted());
        let opened = match tokio::time::timeout(PATIENCE, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                let Some(endpoint) = endpoint.upgrade() else {
                    return;
                };
                endpoint.note_slow();
                drop(endpoint);
                opening.await
            }
        };
        let Some(endpoint) = endpoint.upgrade() else {
            return;
        };
        match opened {
            Ok(connection) => return endpoint.note_connected(connection),
            Err(error) => {
                tracing::debug!(%error, "an endpoint cannot be reached");
                let at = endpoint.next_attempt();
                endpoint.note_failure(error, at);
                next = Some(at);
            }
        }
        if matches!(*endpoint.stage.borrow(), Stage::Closed) {
            return;
        }
    }
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
            Self::Slow => "connecting takes long".to_owned(),
            Self::Failed(error, next) => {
                let wait = next.saturating_duration_since(clock::now());
                format!("{error}; next attempt in {} ms", wait.as_millis())
            }
            Self::Closed => return closed_by_user().with_not_processed(),
        };
        Status::unavailable(text).with_not_processed()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.backend.address())
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}
