//! How long to wait before trying again.
//!
//! Exponential with full jitter: each wait is drawn from zero to a bound that grows from failure to
//! failure, so that the clients of a server that comes back do not come back together. The numbers
//! are gRPC's (doc/connection-backoff.md) with a shorter start; full jitter is from Brooker,
//! "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

use std::time::{Duration, Instant};

/// The bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffPolicy {
    base: Duration,
    factor: f64,
    cap: Duration,
    jitter: f64,
}

impl Default for BackoffPolicy {
    /// Up to 100 ms at first, growing by 1.6 to 10 s, and all of it left to chance.
    fn default() -> Self {
        Self::SHIPPED
    }
}

impl BackoffPolicy {
    pub(crate) const SHIPPED: Self = Self {
        base: Duration::from_millis(100),
        factor: 1.6,
        cap: Duration::from_secs(10),
        jitter: 1.0,
    };

    /// Sets the longest pause after the first failure.
    #[must_use]
    pub const fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets what the bound grows by with each failure; at least 1.0.
    #[must_use]
    pub const fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets the longest pause of all.
    #[must_use]
    pub const fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the share of the bound that is left to chance, from 0.0 to 1.0; the rest is waited in
    /// any case. With less, there are fewer attempts, and clients that failed together come back
    /// closer together.
    #[must_use]
    pub const fn with_jitter(mut self, share: f64) -> Self {
        self.jitter = share.max(0.0).min(1.0);
        self
    }

    /// The pause after one more failure than `failures`; `random` is from 0.0 to 1.0: the share of
    /// what is left to chance.
    #[must_use]
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let grown = self.base.as_secs_f64() * self.factor.powi(failures.min(64) as i32);
        let share = 1.0 - self.jitter * (1.0 - random.clamp(0.0, 1.0));
        let pause = grown.min(self.cap.as_secs_f64()) * share;
        // Fails for a cap of more seconds than a float can tell apart.
        Duration::try_from_secs_f64(pause).unwrap_or(self.cap)
    }
}

/// Failures in a row, and when the next attempt may be made.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// No wait is longer, or there would be no time at which it is over.
    const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

    /// No failures yet.
    pub(crate) const fn new(policy: BackoffPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            not_before: None,
        }
    }

    /// An attempt failed; `random` is from 0.0 to 1.0.
    pub(crate) fn note_failure(&mut self, now: Instant, random: f64) {
        let wait = self.policy.pause(self.failures, random).min(Self::WAIT_MAX);
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
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_to_the_cap_and_starts_again_after_success() {
        let now = Instant::now();
        let mut backoff = Backoff::new(BackoffPolicy::default());
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
