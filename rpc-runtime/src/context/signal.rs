//! Something that happens once, and those who wait for it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Given once, and not taken back.
#[derive(Debug, Default)]
pub(super) struct Signal {
    given: AtomicBool,
    waiting: Notify,
}

impl Signal {
    pub(super) fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    pub(super) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    pub(super) async fn wait(&self) {
        loop {
            // Created before looking: a notification in between is not lost.
            let waiting = self.waiting.notified();
            if self.is_given() {
                return;
            }
            waiting.await;
        }
    }
}
