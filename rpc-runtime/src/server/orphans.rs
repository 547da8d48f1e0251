//! Oneway handlers whose connection is gone: they run to their end, see `[call.oneway]` in
//! `docs/protocol.md`.
//!
//! How many can there be? As many as the server runs calls: they keep their places.

use std::cmp::Reverse;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use super::parked::Parked;
use crate::boxed::boxed;

/// The orphans of a server, so that they end with it.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// One for each connection that left some.
    watches: JoinSet<()>,
    /// The server is gone.
    stopped: bool,
}

/// A handler that runs on.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) task: JoinHandle<()>,
    pub(super) deadline: Option<Instant>,
}

impl Orphans {
    /// Takes over the calls of a connection that has ended: stops those that somebody waited for.
    pub(super) fn take_over(&self, calls: Vec<Parked>) {
        let orphans: Vec<_> = calls.into_iter().filter_map(Parked::leave).collect();
        if orphans.is_empty() {
            return;
        }
        let family = Family::new(orphans);
        let mut watched = self.lock();
        // A runtime that is shutting down ends them anyway.
        if let Ok(runtime) = Handle::try_current()
            && !watched.stopped
        {
            while watched.watches.try_join_next().is_some() {}
            watched.watches.spawn_on(boxed(family.watch()), &runtime);
        }
    }

    /// Stops all that there are, and all that come.
    pub(super) fn stop(&self) {
        let mut watched = self.lock();
        watched.stopped = true;
        watched.watches.abort_all();
    }

    pub(super) async fn wait_until_none(&self) {
        poll_fn(|cx| {
            let mut watched = self.lock();
            while let Some(_ended) = std::task::ready!(watched.watches.poll_join_next(cx)) {}
            Poll::Ready(())
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Orphans of one connection, the one whose deadline is nearest last. Dropping it stops them.
struct Family(Vec<Orphan>);

impl Family {
    fn new(mut orphans: Vec<Orphan>) -> Self {
        orphans
            .sort_unstable_by_key(|orphan| Reverse((orphan.deadline.is_none(), orphan.deadline)));
        Self(orphans)
    }

    /// Waits for each, until its deadline.
    async fn watch(mut self) {
        // Nobody's deadline passes unseen: all others are later than the one that is waited for.
        while let Some(Orphan { task, deadline }) = self.0.last_mut() {
            match *deadline {
                Some(deadline) => {
                    let ended = tokio::time::timeout_at(deadline.into(), &mut *task).await;
                    if ended.is_err() {
                        task.abort();
                    }
                }
                // A handler's panic was contained, and answered, by its own task.
                None => drop(task.await),
            }
            self.0.pop();
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.0.iter().for_each(|orphan| orphan.task.abort());
    }
}
