//! Resilience: every policy with the figures it must reach, in virtual time and with fixed seeds, but
//! for the property tests.

mod backoff;
mod blame;
mod breaker;
mod budget;
mod chain;
mod ejection;
mod extremes;
mod hedge;
mod outlier;
mod retry;

use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
