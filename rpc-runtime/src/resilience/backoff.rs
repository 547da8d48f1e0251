//! How long to wait before connecting again.
//!
//! Exponential with full jitter: each wait is drawn from zero to a bound that grows from failure to
//! failure, so that the clients of a server that comes back do not come back together. The numbers
//! are gRPC's (doc/connection-backoff.md) with a shorter start; full jitter is from Brooker,
//! "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

use std::time::{Duration, Instant};

/// The bounds of the waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackoffPolicy {
    pub(crate) base: Duration,
    pub(crate) factor: f64,
    pub(crate) cap: Duration,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            factor: 1.6,
            cap: Duration::from_secs(10),
        }
    }
}

/// Failures in a row, and when the next attempt may be made.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// An attempt failed; `random` is from 0.0 to 1.0.
    pub(crate) fn note_failure(&mut self, now: Instant, random: f64) {
        let wait = self.bound().mul_f64(random.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + wait);
    }

    /// An attempt succeeded: the next failure starts from the beginning.
    pub(crate) fn note_success(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// How long to wait before the next attempt.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.not_before?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// The longest wait after one more failure.
    fn bound(&self) -> Duration {
        let policy = &self.policy;
        let grown = policy.base.as_secs_f64() * policy.factor.powi(self.failures.min(64) as i32);
        Duration::from_secs_f64(grown.min(policy.cap.as_secs_f64()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_to_the_cap_and_starts_again_after_success() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(now), None);
        let mut waits = Vec::new();
        for _ in 0..100 {
            backoff.note_failure(now, 1.0);
            waits.push(backoff.wait(now).unwrap().as_millis());
        }
        assert_eq!(waits[..4], [100, 160, 256, 409]);
        assert_eq!(waits[99], 10_000);
        backoff.note_success();
        assert_eq!(backoff.wait(now), None);
        backoff.note_failure(now, 0.5);
        assert_eq!(backoff.wait(now), Some(Duration::from_millis(50)));
    }
}
