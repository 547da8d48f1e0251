//! One name, watched: the newest good list, whatever its source does.
//!
//! Why a task? Somebody has to listen to the source while no call is made, and however many clones
//! and channels watch, the source is to be asked once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{ENDPOINTS_MAX, Endpoint, Name, Snapshot, Source};
use crate::boxed::boxed;
use crate::clock;
use crate::contain::contain;
use crate::error::{Error, Kind};
use crate::log;
use crate::resilience::backoff::{Backoff, BackoffPolicy};

/// Between two questions to a source that fails: up to this at first, growing by 1.6.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: what a source that comes back waits at most until all its clients have a fresh
/// list.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Between a list and the next question: a source that never waits does not occupy a thread.
const SPACING: Duration = Duration::from_millis(10);

/// The endpoints of one name, kept up to date. Clones see the same; the source is let go with the
/// last of them.
///
/// A slow reader misses what came in between and sees the newest list. While the source is down,
/// lists nobody, or tells nonsense, the last good list stays.
#[derive(Clone)]
pub struct Watch {
    name: Name,
    state: watch::Receiver<State>,
    /// The number of the last snapshot that [`changed`](Self::changed) gave.
    seen: u64,
    _task: Arc<Task>,
}

/// What is known.
#[derive(Default)]
struct State {
    snapshot: Snapshot,
    /// How many snapshots there were; 0 until the first.
    number: u64,
    /// Why the source is not believed at the moment.
    failure: Option<Arc<str>>,
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    pub(super) fn start(name: Name, source: Box<dyn Source>) -> Self {
        let (sender, state) = watch::channel(State::default());
        let pauses = BackoffPolicy::default().with_base(PAUSE);
        let listener = Listener {
            name: name.clone(),
            is_empty_believed: source.is_empty_believed(),
            source,
            state: sender,
            backoff: Backoff::new(pauses.with_cap(PAUSE_MAX)),
        };
        Self {
            name,
            state,
            seen: 0,
            _task: Arc::new(Task(tokio::spawn(boxed(listener.run())))),
        }
    }

    /// What is watched.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The newest good list; `None` until there is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.state.borrow();
        (state.number > 0).then(|| state.snapshot.clone())
    }

    /// Why the source is not believed at the moment, in words; `None` while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.state.borrow().failure.clone()
    }

    /// Waits for the first good list. Dropping the future changes nothing.
    ///
    /// # Errors
    /// The source was asked and did not answer. It is asked again: call again to wait for that.
    pub async fn ready(&mut self) -> Result<Snapshot, Error> {
        let known = |state: &State| state.number > 0 || state.failure.is_some();
        let Ok(state) = self.state.wait_for(known).await else {
            return Err(self.unresolved("the runtime is shutting down"));
        };
        if state.number > 0 {
            return Ok(state.snapshot.clone());
        }
        let why = state.failure.clone().unwrap_or_default();
        drop(state);
        Err(self.unresolved(&why))
    }

    /// Waits for a list that this handle has not given yet, and gives the newest one. Dropping the
    /// future loses nothing.
    pub async fn changed(&mut self) -> Snapshot {
        let seen = self.seen;
        if let Ok(state) = self.state.wait_for(|state| state.number > seen).await {
            let snapshot = state.snapshot.clone();
            self.seen = state.number;
            return snapshot;
        }
        // The runtime is shutting down: there is nothing more to come.
        std::future::pending().await
    }

    fn unresolved(&self, why: &str) -> Error {
        let attempt = format!("cannot resolve {}: {why}", self.name);
        Error::new(Kind::Resolve, attempt)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("name", &self.name)
            .field("snapshot", &self.snapshot())
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

/// The task: asks the source, and keeps what deserves it.
struct Listener {
    name: Name,
    source: Box<dyn Source>,
    is_empty_believed: bool,
    state: watch::Sender<State>,
    backoff: Backoff,
}

impl Listener {
    async fn run(mut self) {
        loop {
            // Whether it panics in its future, before there is one, or in its error.
            let heard = contain(async {
                let heard = self.source.next().await;
                heard.map_err(|error| error.to_string())
            });
            let heard = heard.await;
            let heard = heard.unwrap_or_else(|panic| Err(format!("it panicked: {panic}")));
            match heard {
                Ok(list) if list.len() <= ENDPOINTS_MAX => {
                    self.note(list);
                    tokio::time::sleep(SPACING).await;
                }
                Ok(list) => {
                    let count = list.len();
                    self.fail(&format!("a list of {count} endpoints is garbage"));
                    self.pause().await;
                }
                Err(why) => {
                    self.fail(&why);
                    self.pause().await;
                }
            }
        }
    }

    fn note(&mut self, list: Vec<Endpoint>) {
        self.backoff.note_success();
        let snapshot = Snapshot::new(list);
        let last = self.state.borrow().snapshot.len();
        if snapshot.is_empty() && last > 0 && !self.is_empty_believed {
            let why = format!("it lists nobody; the last {last} endpoints stay");
            return self.fail(&why);
        }
        self.state.send_if_modified(|state| {
            state.failure = None;
            let is_new = state.number == 0 || state.snapshot != snapshot;
            if is_new {
                log::debug!(name = %self.name, endpoints = snapshot.len(), "new endpoints");
                state.number += 1;
                state.snapshot = snapshot;
            }
            is_new
        });
    }

    fn fail(&self, why: &str) {
        self.state.send_if_modified(|state| {
            if state.failure.as_deref() == Some(why) {
                return false;
            }
            log::warn!(name = %self.name, why, "endpoints are not refreshed");
            state.failure = Some(why.into());
            // Only who waits for the first list is interested.
            state.number == 0
        });
    }

    async fn pause(&mut self) {
        // From a half to the whole: a source that recovers is not met by all its clients at once,
        // nor by one of them again and again.
        let random = 0.5 + 0.5 * fastrand::f64();
        self.backoff.note_failure(clock::now(), random);
        let pause = self.backoff.wait(clock::now()).unwrap_or_default();
        tokio::time::sleep(pause).await;
    }
}
