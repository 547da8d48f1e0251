//! Oneway handlers whose connection is gone: they run to their end, see `[call.oneway]` in
//! `docs/protocol.md`.
//!
//! How many can there be? As many as the server runs calls: they keep their places.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

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
    watches: Vec<JoinHandle<()>>,
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
        let family = Family(orphans);
        let mut watched = self.lock();
        // A runtime that is shutting down ends them anyway.
        if let Ok(runtime) = Handle::try_current()
            && !watched.stopped
        {
            let watches = &mut watched.watches;
            if watches.len() == watches.capacity() {
                watches.retain(|watch| !watch.is_finished());
            }
            watches.push(runtime.spawn(boxed(family.watch())));
        }
    }

    /// Stops all that there are, and all that come.
    pub(super) fn stop(&self) {
        let mut watched = self.lock();
        watched.stopped = true;
        watched.watches.iter().for_each(JoinHandle::abort);
    }

    pub(super) async fn wait_until_none(&self) {
        poll_fn(|cx| {
            let mut watched = self.lock();
            while let Some(watch) = watched.watches.last_mut() {
                // None panics: what the handlers do is contained.
                let _ended = ready!(Pin::new(watch).poll(cx));
                watched.watches.pop();
            }
            Poll::Ready(())
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Orphans of one connection. Dropping it stops them.
struct Family(Vec<Orphan>);

impl Family {
    /// Which one's deadline is nearest.
    fn next(&self) -> Option<usize> {
        let deadline = |index: &usize| self.0[*index].deadline;
        (0..self.0.len()).min_by_key(|index| (deadline(index).is_none(), deadline(index)))
    }

    /// Waits for each, until its deadline.
    async fn watch(mut self) {
        // Nobody's deadline passes unseen: all others are later than the one that is waited for.
        while let Some(next) = self.next() {
            let Orphan { task, deadline } = &mut self.0[next];
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
            self.0.swap_remove(next);
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.0.iter().for_each(|orphan| orphan.task.abort());
    }
}
