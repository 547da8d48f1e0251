//! How many extra attempts all calls together may make.
//!
//! Why is a limit for each call not enough? When every call fails, three attempts each are three
//! times the load, on servers that are down already. The budget makes retries a share of the calls.

use std::time::Duration;

use super::window::Window;

/// How much a [`RetryBudget`] gives.
///
/// Source: Finagle (service/RetryBudget.scala), with a smaller share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetPolicy {
    share: f64,
    reserve_per_second: f64,
}

impl BudgetPolicy {
    /// Over how long the budget is reckoned.
    pub const WINDOW: Duration = Duration::from_secs(10);

    /// Extra attempts are at most this share of the calls: 0.1 unless it is said.
    #[must_use]
    pub const fn with_share(mut self, share: f64) -> Self {
        self.share = share.clamp(0.0, 1.0);
        self
    }

    /// So many attempts a second are allowed besides, for clients that call rarely: 10 unless it is
    /// said.
    #[must_use]
    pub const fn with_reserve_per_second(mut self, attempts: f64) -> Self {
        self.reserve_per_second = attempts.max(0.0);
        self
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            share: 0.1,
            reserve_per_second: 10.0,
        }
    }
}

/// Counts calls and extra attempts, and says whether there may be one more.
#[derive(Debug)]
pub struct RetryBudget {
    policy: BudgetPolicy,
    calls: Window,
    spent: Window,
}

impl RetryBudget {
    /// A budget that nobody has used yet.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self {
            policy,
            calls: Window::new(BudgetPolicy::WINDOW),
            spent: Window::new(BudgetPolicy::WINDOW),
        }
    }

    /// A call begins: counts once, however many attempts it takes.
    #[inline]
    pub fn note_call(&self, now: Duration) {
        self.calls.add(now, 1);
    }

    /// How many extra attempts there may be now.
    #[must_use]
    pub fn available(&self, now: Duration) -> u64 {
        let earned = self.policy.share * self.calls.sum(now) as f64;
        let reserve = self.policy.reserve_per_second * BudgetPolicy::WINDOW.as_secs_f64();
        ((earned + reserve) as u64).saturating_sub(self.spent.sum(now))
    }

    /// Takes one attempt out of the budget, if there is one.
    ///
    /// Threads that ask at the same moment may both get the last one.
    #[must_use]
    pub fn withdraw(&self, now: Duration) -> bool {
        let allowed = self.available(now) > 0;
        if allowed {
            self.spent.add(now, 1);
        }
        allowed
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(BudgetPolicy::default())
    }
}
