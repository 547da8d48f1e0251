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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_the_task_that_drives_the_connection_now() {
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = tasks.clone().map(Waker::from);
        let (now, mut timer) = (clock::now(), Timer::default());
        let due = now + Duration::from_millis(100);
        assert!(!timer.is_ahead(due, now), "nobody has asked");
        let ask = |timer: &mut Timer, task: usize, due| {
            timer
                .poll_until(due, &mut Context::from_waker(&wakers[task]))
                .is_ready()
        };
        assert!(!ask(&mut timer, 0, due));
        assert!(timer.is_ahead(due, now));
        assert!(!timer.is_ahead(due, due), "the moment has come");
        let sooner = now + Duration::from_millis(50);
        assert!(
            !timer.is_ahead(sooner, now),
            "it was asked for another moment"
        );
        timer.forget_task();
        assert!(!timer.is_ahead(due, now), "another task has not asked");
        assert!(!ask(&mut timer, 1, sooner));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(tasks.map(|task| task.0.load(Relaxed)), [0, 1]);
        assert!(ask(&mut timer, 1, sooner));
        timer.stop();
        assert!(!timer.is_ahead(sooner, now));
    }
}
