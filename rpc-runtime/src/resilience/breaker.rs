//! Fails calls at once that would most likely fail: adaptive throttling in the client.
//!
//! Why not a breaker with states, open and closed? It either rejects what would succeed or lets
//! through what fails, and jumps between both. This one rejects in proportion to what fails, and the
//! few calls that it lets through notice when things get better.
//!
//! Source: Beyer et al., "Site Reliability Engineering", chapter 21; the window is that of Kratos
//! (aegis), the cap on rejections that of Finagle's NackAdmissionFilter, but higher.

use std::time::Duration;

use super::window::Window;

/// When a [`CircuitBreaker`] rejects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    multiplier: f64,
    calls_min: u32,
    window: Duration,
    rejected_share_max: f64,
}

impl Default for BreakerPolicy {
    /// Rejects when less than half of 20 calls or more succeeded in the last three seconds, up to
    /// nine of ten.
    fn default() -> Self {
        Self {
            multiplier: 2.0,
            calls_min: 20,
            window: Duration::from_secs(3),
            rejected_share_max: 0.9,
        }
    }
}

impl BreakerPolicy {
    /// How many calls there may be for each that succeeds: 2.0, that is half of them may fail. At
    /// least 1.0; the lower, the sooner it rejects.
    #[must_use]
    pub const fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier.max(1.0);
        self
    }

    /// Below this many calls in a window nothing is rejected.
    #[must_use]
    pub const fn with_calls_min(mut self, calls: u32) -> Self {
        self.calls_min = calls;
        self
    }

    /// Over how long calls are counted.
    #[must_use]
    pub const fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// What is rejected at most, of all calls: the rest finds out whether things got better.
    #[must_use]
    pub const fn with_rejected_share_max(mut self, share: f64) -> Self {
        self.rejected_share_max = share.clamp(0.0, 1.0);
        self
    }
}

/// Counts calls and successes, and rejects calls when too few succeed.
#[derive(Debug)]
pub struct CircuitBreaker {
    policy: BreakerPolicy,
    calls: Window,
    accepted: Window,
}

impl CircuitBreaker {
    /// A breaker that has seen nothing.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            calls: Window::new(policy.window),
            accepted: Window::new(policy.window),
        }
    }

    /// May a call be made? `random` is from 0.0 to 1.0. Counts the call, rejected or not.
    #[must_use]
    #[inline]
    pub fn allow(&self, now: Duration, random: f64) -> bool {
        let share = self.rejected_share(now);
        self.calls.add(now, 1);
        random >= share
    }

    /// A call that was allowed ended, with a reply or a failure that does not
    /// [blame the server](super::blames_server).
    #[inline]
    pub fn note_accepted(&self, now: Duration) {
        self.accepted.add(now, 1);
    }

    /// A call that was noted as accepted has failed after all: a stream, behind some of its items.
    pub fn take_back(&self, now: Duration) {
        self.accepted.add(now, -1);
    }

    /// The share of calls that is rejected now.
    #[must_use]
    #[inline]
    pub fn rejected_share(&self, now: Duration) -> f64 {
        let calls = self.calls.sum(now) as f64;
        if calls < f64::from(self.policy.calls_min) {
            return 0.0;
        }
        let accepted = self.accepted.sum(now) as f64;
        let share = (calls - self.policy.multiplier * accepted) / (calls + 1.0);
        share.max(0.0).min(self.policy.rejected_share_max)
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(BreakerPolicy::default())
    }
}
