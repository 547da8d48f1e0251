//! What callers count.

use std::error::Error;
use std::time::Duration;

use super::Outcome;
use crate::{Result, Usage};

/// The count of one caller, or of all.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) seconds: f64,
    failed: u64,
    failure: Option<String>,
    /// All of them: exact quantiles need no buckets. A few hundred thousand at most.
    latencies_ns: Vec<u64>,
}

impl Tally {
    pub(super) fn note_latency(&mut self, latency: Duration) {
        self.latencies_ns.push(latency.as_nanos() as u64);
    }

    pub(super) fn note_failure(&mut self, error: Box<dyn Error + Send + Sync>) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        self.latencies_ns.extend(other.latencies_ns);
    }

    pub(super) fn first_failure(self) -> Result<()> {
        self.failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    pub(super) fn into_outcome(mut self, usage: Usage) -> Outcome {
        self.latencies_ns.sort_unstable();
        let at = |quantile: f64| quantile_us(&self.latencies_ns, quantile);
        Outcome {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            calls: self.calls,
            failed: self.failed,
            failure: self.failure,
            seconds: self.seconds,
            usage,
        }
    }
}

/// The smallest value that this share of all does not exceed; 0 of none.
fn quantile_us(sorted_ns: &[u64], quantile: f64) -> f64 {
    let rank = (quantile * sorted_ns.len() as f64).ceil() as usize;
    let nanos = sorted_ns.get(rank.saturating_sub(1)).copied().unwrap_or(0);
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::quantile_us;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let sorted: Vec<u64> = (1..=1000).map(|value| value * 1000).collect();
        let found = [0.5, 0.99, 0.999, 1.0].map(|quantile| quantile_us(&sorted, quantile));
        assert_eq!(found, [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(quantile_us(&[], 0.5), 0.0);
    }
}
