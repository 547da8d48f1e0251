//! The timer of a driver, which is asked only when the answer may be another.
//!
//! A timer wakes whoever asked it last. So it is enough to ask once for each moment that it is set to,
//! and otherwise to see that it has not gone off: that is a load, where asking is a hundred instructions
//! in each turn of a connection that carries one call after the other.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::Sleep;

#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// It was asked by the task that drives the connection, since it was set.
    is_asked: bool,
}

impl Timer {
    /// Another task drives the connection.
    pub(super) const fn forget_task(&mut self) {
        self.is_asked = false;
    }

    pub(super) fn stop(&mut self) {
        self.sleep = None;
    }

    /// Ready when that moment has come; else the task is woken then.
    #[inline]
    pub(super) fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let due = tokio::time::Instant::from_std(due);
        match &self.sleep {
            Some(sleep) if self.is_asked && sleep.deadline() == due && !sleep.is_elapsed() => {
                Poll::Pending
            }
            _ => self.ask(due, cx),
        }
    }

    fn ask(&mut self, due: tokio::time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        if !has_budget_remaining() {
            // The task is told to come back, and has not seen yet all that arrived before the moment.
            self.is_asked = false;
            return Poll::Pending;
        }
        // Asked, and not told to come back before it was.
        let asked = pin!(unconstrained(sleep.as_mut())).poll(cx);
        self.is_asked = asked.is_pending();
        asked
    }
}
