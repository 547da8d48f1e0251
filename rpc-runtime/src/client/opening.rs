//! An attempt to connect: by the callers who wait for it, and without them once they have gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::connection::{Connection, Opened};
use crate::boxed::{Boxed, boxed};
use crate::error::{Error, Kind};

/// A connection that was made, if it could be.
type Made = Result<(Connection, Opened), Error>;

/// Makes a connection.
pub(super) type Opening = Boxed<'static, Made>;

/// An attempt to connect. Dropping it ends it.
pub(super) enum Attempted {
    /// By the caller who waits for it: its call leaves together with the hello.
    Driven(Opening),
    /// In a task of its own, since no caller waited for it any more: the next would find a stream
    /// that the server has given up meanwhile.
    Alone(Task),
    Over,
}

/// Ends with whoever waits for it.
pub(super) struct Task {
    handle: JoinHandle<()>,
    /// There once it is over. Not its output: tasks of another type are more to compile.
    made: Arc<Mutex<Option<Made>>>,
}

impl Task {
    fn spawn(opening: Opening, runtime: &Handle) -> Self {
        let made = Arc::new(Mutex::new(None));
        let place = made.clone();
        let task = async move {
            let opened = opening.await;
            *lock(&place) = Some(opened);
        };
        Self {
            handle: runtime.spawn(boxed(task)),
            made,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Made> {
        let _ended = ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(lock(&self.made).take().unwrap_or_else(|| {
            let text = "the runtime that connected has ended";
            Err(Error::new(Kind::Connect, text))
        }))
    }
}

fn lock(made: &Mutex<Option<Made>>) -> MutexGuard<'_, Option<Made>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// A caller's wait for an attempt, which goes on without it.
pub(super) struct Driving<'a>(pub(super) &'a mut Attempted);

impl Future for Driving<'_> {
    type Output = Made;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = match &mut *self.0 {
            Attempted::Driven(opening) => ready!(opening.as_mut().poll(cx)),
            Attempted::Alone(task) => ready!(task.poll(cx)),
            Attempted::Over => return Poll::Pending,
        };
        *self.0 = Attempted::Over;
        Poll::Ready(opened)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let attempt = std::mem::replace(self.0, Attempted::Over);
        *self.0 = match (attempt, Handle::try_current()) {
            (Attempted::Driven(opening), Ok(runtime)) => {
                Attempted::Alone(Task::spawn(opening, &runtime))
            }
            (attempt, _) => attempt,
        };
    }
}
