//! Changes that come one close behind the other: one list, where each would be a list of its own.
//!
//! A fleet that enters itself at once is told of as thousands of changes. Lists are spaced, and whoever makes
//! one of each change is behind for minutes.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::clock;

/// The changes behind a first one.
pub(super) struct Burst {
    until: Instant,
}

impl Burst {
    /// Changes that are not further apart belong together,
    const PAUSE: Duration = Duration::from_millis(2);
    /// unless they go on for longer.
    const TIME_MAX: Duration = Duration::from_millis(50);

    pub(super) fn begin() -> Self {
        Self {
            until: clock::now() + Self::TIME_MAX,
        }
    }

    /// What comes next, if it belongs to this. Nothing may be lost when `next` is dropped.
    pub(super) async fn more<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        if clock::now() >= self.until {
            return None;
        }
        tokio::time::timeout(Self::PAUSE, next).await.ok()
    }
}
