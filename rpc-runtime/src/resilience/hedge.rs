//! A second attempt when the first is unusually late.
//!
//! Which answer counts? The first success. An attempt that fails by the fault of its server leaves
//! the other one to be awaited; any other failure is an answer too. The slower attempt is cancelled.
//!
//! Source: Finagle (BackupRequestFilter); Dean, Barroso, "The tail at scale", CACM 2013.

use std::time::Duration;

use rpc_core::Status;

use super::quantile::Quantile;
use super::{BudgetPolicy, RetryBudget, blames_server};

/// When to send a second attempt. Only for calls that are idempotent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgePolicy {
    delay: Delay,
    share_max: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Delay {
    Fixed(Duration),
    /// What this share of the calls does not exceed.
    Quantile(f64),
}

impl HedgePolicy {
    /// No hedge is sent sooner than this.
    pub const DELAY_MIN: Duration = Duration::from_millis(1);

    /// After a fixed time; for at most 5 % of the calls.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self {
            delay: Delay::Fixed(delay),
            share_max: 0.05,
        }
    }

    /// After the latency that all but this share of the calls do not exceed, as measured; hence for
    /// about this share of the calls, and at most for so many. Up to 0.5.
    #[must_use]
    pub const fn for_slowest(share: f64) -> Self {
        let share = share.clamp(0.0, 0.5);
        Self {
            delay: Delay::Quantile(1.0 - share),
            share_max: share,
        }
    }

    /// For at most this share of the calls, up to 0.5.
    #[must_use]
    pub const fn with_share_max(mut self, share: f64) -> Self {
        self.share_max = share.clamp(0.0, 0.5);
        self
    }
}

/// Measures latency, and says when to hedge.
#[derive(Debug)]
pub struct Hedging {
    policy: HedgePolicy,
    /// `None` if the delay is fixed.
    latency: Option<Quantile>,
    budget: RetryBudget,
}

impl Hedging {
    /// Besides its share: enough to begin with.
    const RESERVE_PER_SECOND: f64 = 0.1;

    /// Knows nothing about latency yet.
    #[must_use]
    pub fn new(policy: HedgePolicy, now: Duration) -> Self {
        let latency = match policy.delay {
            Delay::Fixed(_) => None,
            Delay::Quantile(share) => Some(Quantile::new(share, now)),
        };
        let budget = BudgetPolicy::default()
            .with_share(policy.share_max)
            .with_reserve_per_second(Self::RESERVE_PER_SECOND);
        Self {
            policy,
            latency,
            budget: RetryBudget::new(budget),
        }
    }

    /// A call begins. Gives how long to wait before a second attempt; `None` for no second attempt:
    /// too little is known about latency, or it is a minute or more.
    pub fn begin(&self, now: Duration) -> Option<Duration> {
        self.budget.note_call(now);
        let delay = match self.policy.delay {
            Delay::Fixed(delay) => delay,
            Delay::Quantile(_) => self.latency.as_ref()?.value(now)?,
        };
        Some(delay.max(HedgePolicy::DELAY_MIN))
    }

    /// The wait is over, and the call is not: may a second attempt be sent? Taken out of the share
    /// of hedges, and out of the budget of all extra attempts.
    #[must_use]
    pub fn permit(&self, now: Duration, shared: &RetryBudget) -> bool {
        // Asked first, taken last: what the other refuses must not be lost here.
        self.budget.available(now) > 0 && shared.withdraw(now) && self.budget.withdraw(now)
    }

    /// Notes how long an attempt took that succeeded, or how long it had taken when its time was up
    /// or the other one won.
    pub fn record(&self, latency: Duration) {
        if let Some(quantile) = &self.latency {
            quantile.record(latency);
        }
    }

    /// True if a failed attempt decides the call, even while the other one runs.
    #[must_use]
    pub fn is_final(status: &Status) -> bool {
        !blames_server(status.code())
    }
}
