//! The timer of a driver, which is asked only when the answer may be another.
//!
//! A timer wakes whoever asked it last, and not before its moment. So it is enough to ask once for each
//! moment that it is set to. A turn that looked at the time, and found that it has not come, need not see
//! whether it has gone off: to ask is a hundred instructions, to see a line of the cache that nothing else
//! wants, in each turn of a connection that carries one call after the other.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::Sleep;

#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The moment for which it was asked by the task that drives the connection.
    asked: Option<Instant>,
}

impl Timer {
    /// Another task drives the connection.
    pub(super) const fn forget_task(&mut self) {
        self.asked = None;
    }

    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// True if it was asked for that moment, which is still to come: the task is woken then. `seen` is a
    /// time that was not there yet when this task was woken last.
    #[inline]
    pub(super) fn is_ahead(&self, due: Instant, seen: Instant) -> bool {
        self.asked == Some(due) && seen < due
    }

    /// Ready when that moment has come; else the task is woken then.
    pub(super) fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let until = tokio::time::Instant::from_std(due);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if self.asked == Some(due) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        if !has_budget_remaining() {
            // The task is told to come back, and has not seen yet all that arrived before the moment.
            self.asked = None;
            return Poll::Pending;
        }
        // Asked, and not told to come back before it was.
        let asked = pin!(unconstrained(sleep.as_mut())).poll(cx);
        self.asked = asked.is_pending().then_some(due);
        asked
    }
}
