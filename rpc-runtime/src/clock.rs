//! The one place that asks what time it is.
//!
//! Tokio's clock rather than the system's: a test can stop it, and a simulation can run it.

use std::time::Instant;

/// The current time.
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
