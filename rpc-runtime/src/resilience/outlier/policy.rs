//! Who is an outlier, and for how long it is taken out.

use std::time::Duration;

use super::health::Count;

/// Whom an [`OutlierDetector`](super::OutlierDetector) ejects, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierPolicy {
    pub(super) interval: Duration,
    ejection_time: Duration,
    ejection_time_max: Duration,
    pub(super) ejected_share_max: f64,
    pub(super) consecutive_failures: u32,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) failure_percentage: Option<FailurePercentage>,
}

impl Default for OutlierPolicy {
    /// After 5 failures in a row, or with a success rate far below that of the others every 10 s;
    /// for 30 s, growing to 5 minutes; no more than half of all.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            ejection_time: Duration::from_secs(30),
            ejection_time_max: Duration::from_secs(300),
            ejected_share_max: 0.5,
            consecutive_failures: 5,
            success_rate: Some(SuccessRate::default()),
            failure_percentage: None,
        }
    }
}

impl OutlierPolicy {
    /// How often backends are compared: every millisecond at most.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = if interval.as_millis() == 0 {
            Duration::from_millis(1)
        } else {
            interval
        };
        self
    }

    /// How long the first ejection lasts, and the longest one.
    #[must_use]
    pub const fn with_ejection_time(mut self, first: Duration, max: Duration) -> Self {
        self.ejection_time = first;
        self.ejection_time_max = max;
        self
    }

    /// How many may be ejected at a time, as a share of all. One always may, if it is not the only
    /// one.
    #[must_use]
    pub const fn with_ejected_share_max(mut self, share: f64) -> Self {
        self.ejected_share_max = share.clamp(0.0, 1.0);
        self
    }

    /// After how many failures in a row a backend is ejected at once; 0 for never.
    #[must_use]
    pub const fn with_consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// Sets the rule on success rates.
    #[must_use]
    pub const fn with_success_rate(mut self, rule: Option<SuccessRate>) -> Self {
        self.success_rate = rule;
        self
    }

    /// Sets the rule on failures of a single backend; none unless it is said.
    #[must_use]
    pub const fn with_failure_percentage(mut self, rule: Option<FailurePercentage>) -> Self {
        self.failure_percentage = rule;
        self
    }

    /// How long the ejection with this number lasts: twice as long as the one before.
    pub(super) fn ejection_time(&self, number: u32) -> Duration {
        let max = self.ejection_time.max(self.ejection_time_max);
        let factor = 1 << number.saturating_sub(1).min(30);
        self.ejection_time.saturating_mul(factor).min(max)
    }
}

/// Ejects a backend whose success rate is far below the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SuccessRate {
    /// How many standard deviations below.
    pub deviations: f64,
    /// How many backends have to have enough calls, for a mean to mean anything.
    pub hosts_min: usize,
    /// How many calls in an interval are enough.
    pub calls_min: u64,
}

impl Default for SuccessRate {
    /// gRPC's: 1.9 standard deviations, 5 backends, 100 calls.
    fn default() -> Self {
        Self {
            deviations: 1.9,
            hosts_min: 5,
            calls_min: 100,
        }
    }
}

impl SuccessRate {
    /// The rate below which a backend is an outlier, with this rule.
    pub(super) fn floor(self, counts: &[Count]) -> Option<(Self, f64)> {
        let counted = counts.iter().filter(|count| self.has_enough(count));
        let rates: Vec<f64> = counted.map(Count::success_rate).collect();
        if rates.len() < self.hosts_min.max(1) {
            return None;
        }
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>();
        let deviation = (variance / rates.len() as f64).sqrt();
        Some((self, mean - self.deviations * deviation))
    }

    pub(super) fn is_below(self, count: &Count, floor: f64) -> bool {
        self.has_enough(count) && count.success_rate() < floor
    }

    fn has_enough(self, count: &Count) -> bool {
        count.calls() >= self.calls_min.max(1)
    }
}

/// Ejects a backend more of whose calls fail than this, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FailurePercentage {
    /// How many of a hundred calls.
    pub threshold: f64,
    /// How many backends have to have enough calls.
    pub hosts_min: usize,
    /// How many calls in an interval are enough.
    pub calls_min: u64,
}

impl Default for FailurePercentage {
    /// gRPC's: 85 %, 5 backends, 50 calls.
    fn default() -> Self {
        Self {
            threshold: 85.0,
            hosts_min: 5,
            calls_min: 50,
        }
    }
}

impl FailurePercentage {
    /// This rule, if enough backends have enough calls.
    pub(super) fn among(self, counts: &[Count]) -> Option<Self> {
        let counted = counts.iter().filter(|count| self.has_enough(count));
        (counted.count() >= self.hosts_min).then_some(self)
    }

    pub(super) fn is_above(self, count: &Count) -> bool {
        self.has_enough(count) && (1.0 - count.success_rate()) * 100.0 > self.threshold
    }

    fn has_enough(self, count: &Count) -> bool {
        count.calls() >= self.calls_min.max(1)
    }
}
