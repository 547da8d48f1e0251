//! Keeps one entry true while a server runs.
//!
//! What if the directory is down when the server starts, or loses its memory? The task goes on until
//! it is told to stop: there is no failure after which it gives up.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc_core::{Code, Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Entry, Registration, Registry};
use crate::boxed::boxed;
use crate::clock;
use crate::contain::{catch, contain};
use crate::log;
use crate::resilience::backoff::{Backoff, BackoffPolicy};

/// Between two attempts that fail: up to this at first, growing by 1.6.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: what a directory that comes back waits at most for its servers.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server that shuts down waits until it is taken out.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The task that enters a server, renews the entry, and takes it out.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: watch::Sender<bool>,
    registered: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn start(registry: Arc<dyn Registry>, entry: Entry) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (sender, registered) = watch::channel(false);
        let pauses = BackoffPolicy::default().with_base(PAUSE);
        let keeping = Keeping {
            registry,
            entry,
            registration: None,
            renewed: clock::now(),
            backoff: Backoff::new(pauses.with_cap(PAUSE_MAX)),
            failure: None,
            registered: sender,
        };
        Self {
            stop,
            registered,
            task: tokio::spawn(boxed(keeping.run(stopped))),
        }
    }

    /// True while the directory has the entry, as far as is known.
    pub(crate) fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Ready while the directory has the entry.
    pub(crate) async fn registered(&self) {
        // An error means that the task is over, which only this keeper can bring about.
        let _ = self.registered.clone().wait_for(|is| *is).await;
    }

    /// Asks for the entry to be taken out.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ready when the entry was taken out, or 2 s later.
    pub(crate) async fn stopped(mut self) {
        let stopped = tokio::time::timeout(LEAVE_TIMEOUT, &mut self.task).await;
        if stopped.is_err() {
            log::warn!("the directory does not answer; the entry is left to run out");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of the task.
struct Keeping {
    registry: Arc<dyn Registry>,
    entry: Entry,
    registration: Option<Box<dyn Registration>>,
    /// When the time of the entry was last started.
    renewed: Instant,
    backoff: Backoff,
    /// What was last complained about.
    failure: Option<String>,
    registered: watch::Sender<bool>,
}

impl Keeping {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            // An attempt is never interrupted: nobody would know what it left behind.
            let attempt = match &mut self.registration {
                Some(registration) => within(async { registration.renew().await }).await,
                None => self.register().await,
            };
            let pause = match attempt {
                Ok(()) => self.note_success(),
                Err(status) => self.note_failure(&status),
            };
            let stopped = stopped.wait_for(|is| *is);
            if tokio::time::timeout(pause, stopped).await.is_ok() {
                break;
            }
        }
        let _ = self.registered.send_replace(false);
        let Some(mut registration) = self.registration else {
            return;
        };
        if let Err(status) = within(async { registration.deregister().await }).await {
            log::warn!(name = self.entry.name, %status, "the entry is left to run out");
        }
    }

    async fn register(&mut self) -> Result<(), Status> {
        let registration = within(async { self.registry.register(&self.entry).await }).await?;
        self.registration = Some(registration);
        Ok(())
    }

    /// How long to wait until the entry is to be renewed: a third of its time, or a little less, so
    /// that servers started together do not renew together.
    fn note_success(&mut self) -> Duration {
        self.backoff.note_success();
        self.renewed = clock::now();
        let was_registered = self.registered.send_replace(true);
        if self.failure.take().is_some() || !was_registered {
            let (name, endpoint) = (&self.entry.name, self.entry.endpoint.address());
            log::info!(name, endpoint, "registered");
        }
        (self.entry.ttl / 3).mul_f64(1.0 - 0.1 * fastrand::f64())
    }

    /// How long to wait until the next attempt.
    fn note_failure(&mut self, status: &Status) -> Duration {
        let now = clock::now();
        let is_over = now.saturating_duration_since(self.renewed) >= self.entry.ttl;
        let is_gone = status.code() == Code::NotFound && self.registration.is_some();
        if is_gone || is_over {
            let registration = self.registration.take();
            // It is of the user's as well.
            if let Err(panic) = catch(|| drop(registration)) {
                log::error!(
                    name = self.entry.name,
                    panic,
                    "an entry panicked when it was dropped"
                );
            }
            self.registered.send_replace(false);
        }
        let text = status.to_string();
        if self.failure.as_deref() != Some(&*text) {
            log::warn!(name = self.entry.name, %status, "the entry is not renewed");
            self.failure = Some(text);
        }
        self.backoff.note_failure(now, 0.5 + 0.5 * fastrand::f64());
        if is_gone {
            // The directory answers, and has forgotten the entry.
            return Duration::ZERO;
        }
        self.backoff.wait(now).unwrap_or_default()
    }
}

/// Code of the user's own, that may hang or panic; also in its call, if that is part of the attempt.
async fn within<T>(attempt: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(ATTEMPT_TIMEOUT, contain(attempt)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let text = format!("the directory's code panicked: {panic}");
            Err(Status::internal(text))
        }
        Err(_) => {
            let text = format!("no answer from the directory within {ATTEMPT_TIMEOUT:?}");
            Err(Status::deadline_exceeded(text))
        }
    }
}
