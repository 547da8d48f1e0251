//! An attempt to connect: by the callers who wait for it, and without them once they have gone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::connection::{Connection, Opened};
use crate::boxed::Boxed;
use crate::error::{Error, Kind};

/// Makes a connection.
pub(super) type Opening = Boxed<'static, Result<(Connection, Opened), Error>>;

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
pub(super) struct Task(JoinHandle<Result<(Connection, Opened), Error>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A caller's wait for an attempt, which goes on without it.
pub(super) struct Driving<'a>(pub(super) &'a mut Attempted);

impl Future for Driving<'_> {
    type Output = Result<(Connection, Opened), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = match &mut *self.0 {
            Attempted::Driven(opening) => ready!(opening.as_mut().poll(cx)),
            Attempted::Alone(task) => ready!(Pin::new(&mut task.0).poll(cx)).unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Connect,
                    String::from("the runtime that connected has ended"),
                ))
            }),
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
                Attempted::Alone(Task(runtime.spawn(opening)))
            }
            (attempt, _) => attempt,
        };
    }
}
