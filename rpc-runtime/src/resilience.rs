//! What a client does when something fails, is slow, or has had enough.
//!
//! Each policy is told the time and the randomness, so that a simulation can run hours in a second.
//! A time is a [`Duration`](std::time::Duration) since a moment that the caller chooses, once for
//! all. What calls touch is atomic; nothing here takes a lock or waits.
//!
//! Which is for what?
//!
//! | | what it sees | what it does |
//! |---|---|---|
//! | [`RetryPolicy`] | one call that failed | says whether to try again, where, and after which pause |
//! | [`RetryBudget`] | all calls | keeps retries and hedges a small share of them |
//! | [`Hedging`] | how long calls take | sends a second attempt when the first is unusually late |
//! | [`OutlierDetector`] | each backend | takes those that fail more than others out for a while |
//! | [`CircuitBreaker`] | all backends together | fails calls at once that would most likely fail |

pub(crate) mod backoff;
#[cfg(feature = "fleet")]
mod blame;
#[cfg(feature = "fleet")]
mod breaker;
mod budget;
#[cfg(feature = "fleet")]
mod hedge;
#[cfg(feature = "fleet")]
mod outlier;
#[cfg(feature = "fleet")]
mod quantile;
mod retry;
mod window;

pub use backoff::BackoffPolicy;
#[cfg(feature = "fleet")]
pub use blame::blames_server;
#[cfg(feature = "fleet")]
pub use breaker::{BreakerPolicy, CircuitBreaker};
pub use budget::{BudgetPolicy, RetryBudget};
#[cfg(feature = "fleet")]
pub use hedge::{HedgePolicy, Hedging};
#[cfg(feature = "fleet")]
pub use outlier::{
    FailurePercentage, Health, OutlierDetector, OutlierPolicy, SuccessRate, Verdict,
};
pub use retry::{Attempted, GiveUp, Pushback, RetryPolicy};
