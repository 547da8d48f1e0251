//! How the connections of a pool are made: the first, the others, and what follows from a loss.

use std::sync::{Arc, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::shelf::MemberId;
use super::{Pool, Store, lock};
use crate::boxed::boxed;
use crate::client::connection::Connection;
use crate::clock;
use crate::error::{Error, Kind};
use crate::log;
use crate::resilience::backoff::{Backoff, BackoffPolicy};

/// How long a call waits for a place to be connected to before it looks for another one. That of
/// "happy eyeballs" (RFC 8305).
const PATIENCE: Duration = Duration::from_millis(250);

/// The pauses between two attempts to connect. The longest is what a place that is back waits at
/// most to be called. Half of each is sure, so that they grow with the time for which the place is
/// away, and it is called again soon after it is back: within 0.1 s and 1.2 times as long as it was
/// away.
pub(super) const BACKOFF: BackoffPolicy = BackoffPolicy::SHIPPED
    .with_cap(Duration::from_secs(4))
    .with_jitter(0.5);

/// What is done to have a first connection.
#[derive(Clone)]
pub(super) enum Stage {
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

pub(super) struct Dialing {
    backoff: Backoff,
    /// The last connection was accepted and of no use.
    was_sent_away: bool,
}

impl Dialing {
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            was_sent_away: false,
        }
    }
}

impl Pool {
    /// Begins to connect, unless that is under way or done.
    pub(in crate::client) fn dial(self: &Arc<Self>) {
        let begins = self.stage.send_if_modified(|stage| {
            let begins = matches!(stage, Stage::Idle) && !self.has_any();
            if begins {
                *stage = Stage::Dialing;
            }
            begins
        });
        if begins {
            self.keep_dialing(None);
        }
    }

    /// The same for a caller who waits for it; false if its runtime has ended, which drops what is spawned.
    pub(super) fn dial_here(self: &Arc<Self>) -> bool {
        self.dial();
        !matches!(*self.stage.borrow(), Stage::Idle) || self.has_any()
    }

    /// Begins to connect at that time, unless an attempt is under way that does as well.
    fn keep_dialing(self: &Arc<Self>, next: Option<Instant>) {
        let is_kept = match &self.store {
            Store::One(_) => Some(false),
            Store::Many(shelf) => lock(shelf).begin_first(),
        };
        if let Some(is_kept) = is_kept {
            tokio::spawn(boxed(dial_until_connected(
                Opening::new(self, is_kept),
                next,
            )));
        }
    }

    pub(super) fn has_any(&self) -> bool {
        match &self.store {
            Store::One(only) => only.load().is_some(),
            Store::Many(shelf) => !lock(shelf).is_empty(),
        }
    }

    /// Begins to make as many more connections as are of use.
    pub(super) fn open_more(self: &Arc<Self>) {
        let Store::Many(shelf) = &self.store else {
            return;
        };
        // Not one after the other: a runtime that ends drops what is spawned, and each would be of use.
        let begun = lock(shelf).begin_openings();
        for is_kept in begun {
            tokio::spawn(boxed(dial_until_connected(
                Opening::new(self, is_kept),
                None,
            )));
        }
    }

    /// Makes the connections that are kept, and one at least, and waits until they are accepted.
    pub(in crate::client) async fn connect(self: &Arc<Self>) -> Result<(), Error> {
        let all = self.settings.min_connections().max(1);
        let begin = |_| match &self.store {
            Store::One(_) => Opening::new(self, false),
            Store::Many(shelf) => Opening::new(self, lock(shelf).open_one()),
        };
        // All of them count from now on, so that no task makes them as well.
        let openings: Vec<_> = (0..all).map(begin).collect();
        for opening in openings {
            let dialer = self.dialer.keeping(opening.is_kept);
            self.note_connected(dialer.open_accepted().await?, opening);
        }
        Ok(())
    }

    /// No answers come on it: by the fault of the server, or of the way there? If it is the way, nobody
    /// can connect, and whoever can again will know that all may be well.
    pub(in crate::client) fn doubt(self: &Arc<Self>, connection: &Arc<Connection>) {
        // The calls on it hold it until they end.
        if self
            .give_up(connection)
            .is_some_and(|given_up| given_up.was_last)
        {
            self.dial();
        }
    }

    /// There is no connection left; another one is made at once if that was `needed`.
    pub(super) fn note_none_left(self: &Arc<Self>, connection: &Connection, needed: bool) {
        if let Some(wait) = self.judge(connection) {
            let error = Error::new(Kind::Connect, connection.why_closed());
            let next = clock::now() + wait;
            self.note_failure(error, next);
            self.keep_dialing(Some(next));
        } else if needed && !self.is_closed() {
            // It broke: calls go elsewhere while it is connected to anew.
            self.listener.unreachable();
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
        dialing.backoff.note_failure(now, fastrand::f64());
        dialing.backoff.wait(now)
    }

    fn note_slow(&self) {
        self.note_unreachable(|stage| {
            let is_first = matches!(stage, Stage::Dialing);
            if is_first {
                *stage = Stage::Slow;
            }
            is_first
        });
    }

    fn note_failure(&self, error: Error, next: Instant) {
        self.note_unreachable(|stage| {
            let goes_on = !matches!(stage, Stage::Closed);
            if goes_on {
                *stage = Stage::Failed(Arc::new(error), next);
            }
            goes_on
        });
    }

    /// There is no connection: `modify` says so in the stage. Another attempt may have made one
    /// meanwhile; what was said after that would stay.
    fn note_unreachable(&self, modify: impl FnOnce(&mut Stage) -> bool) {
        self.listener.unreachable();
        self.stage
            .send_if_modified(|stage| !self.has_any() && modify(stage));
        if self.has_any() {
            self.listener.connected();
        }
    }

    /// An attempt was dropped: the runtime it was made on has ended. If it was the last, whoever waits
    /// begins another.
    fn note_dropped(&self, opening: &Opening) {
        if let Store::Many(shelf) = &self.store {
            let mut shelf = lock(shelf);
            shelf.forget(opening.is_kept);
            if shelf.is_opening() {
                return;
            }
        }
        self.stage.send_if_modified(|stage| {
            let is_begun = !matches!(stage, Stage::Idle | Stage::Closed);
            if is_begun {
                *stage = Stage::Idle;
            }
            is_begun
        });
    }

    fn note_connected(self: &Arc<Self>, connection: Connection, mut opening: Opening) {
        let connection = Arc::new(connection);
        opening.is_over = true;
        match &self.store {
            Store::One(only) => only.store(Some(connection)),
            Store::Many(shelf) => {
                let limit = self.settings.calls_per_connection_max();
                let calls_max = connection.calls_max().min(limit.unwrap_or(u32::MAX));
                let (is_kept, now) = (opening.is_kept, self.idle_clock());
                let added = lock(shelf).add(connection.clone(), calls_max, is_kept, now);
                // A pool that was closed meanwhile drops it.
                if let Some((member, woken)) = added {
                    let pool = Arc::downgrade(self);
                    connection.when_closed(Waker::from(Arc::new(Loss { pool, member })));
                    woken.into_iter().for_each(Waker::wake);
                }
            }
        }
        self.listener.connected();
        self.stage.send_if_modified(|stage| {
            let goes_on = !matches!(stage, Stage::Closed);
            if goes_on {
                *stage = Stage::Idle;
            }
            goes_on
        });
        if self.is_closed() {
            // Closed by another thread, which may not have found this one.
            self.close();
        }
        self.open_more();
    }

    /// After one more failure: when to try again.
    fn next_attempt(&self) -> Instant {
        let now = clock::now();
        let mut dialing = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        dialing.backoff.note_failure(now, fastrand::f64());
        now + dialing.backoff.wait(now).unwrap_or_default()
    }
}

/// An attempt to connect, which counts among the connections of a pool of many until it is over.
struct Opening {
    pool: Weak<Pool>,
    is_kept: bool,
    is_over: bool,
}

impl Opening {
    fn new(pool: &Arc<Pool>, is_kept: bool) -> Self {
        Self {
            pool: Arc::downgrade(pool),
            is_kept,
            is_over: false,
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && !self.is_over
        {
            pool.note_dropped(self);
        }
    }
}

/// Connects, however often that takes, while the pool is there and one more is of use.
async fn dial_until_connected(opening: Opening, mut next: Option<Instant>) {
    let mut opening = opening;
    loop {
        if let Some(next) = next {
            tokio::time::sleep_until(next.into()).await;
        }
        let Some(pool) = opening.pool.upgrade() else {
            return;
        };
        let dialer = pool.dialer.keeping(opening.is_kept);
        drop(pool);
        let mut attempt = std::pin::pin!(dialer.open_accepted());
        let opened = match tokio::time::timeout(PATIENCE, &mut attempt).await {
            Ok(opened) => opened,
            Err(_) => {
                let Some(pool) = opening.pool.upgrade() else {
                    return;
                };
                if !pool.has_any() {
                    pool.note_slow();
                }
                drop(pool);
                attempt.await
            }
        };
        let Some(pool) = opening.pool.upgrade() else {
            return;
        };
        match opened {
            Ok(connection) => return pool.note_connected(connection, opening),
            Err(error) => {
                log::debug!(%error, "an endpoint cannot be reached");
                let at = pool.next_attempt();
                if !pool.has_any() {
                    pool.note_failure(error, at);
                }
                next = Some(at);
            }
        }
        if let Store::Many(shelf) = &pool.store
            && lock(shelf).forget_if_useless(opening.is_kept)
        {
            opening.is_over = true;
        }
        if opening.is_over || pool.is_closed() {
            return;
        }
    }
}

/// Tells the pool that a connection takes no more calls.
struct Loss {
    pool: Weak<Pool>,
    member: MemberId,
}

impl Wake for Loss {
    fn wake(self: Arc<Self>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.note_closed(self.member);
        }
    }
}

#[cfg(test)]
mod tests;
