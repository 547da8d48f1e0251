//! Takes backends out that fail more than the others, and lets them come back.
//!
//! How does one come back? When its time is over, it is given one call, the probe. If that succeeds,
//! it is readmitted; if not, it is out for longer. An ejection that follows another soon is longer,
//! too.
//!
//! Source: gRPC A50, whose times, success rate and failure percentage these are, but each time is
//! twice the one before; the count of failures in a row is Envoy's. The probe instead of a mere end is Finagle's
//! (failure accrual): a backend that is still down costs one call, not as many as it takes to eject
//! it again.

mod health;
mod policy;

pub use health::Health;
pub use policy::{FailurePercentage, OutlierPolicy, SuccessRate};

use std::sync::Arc;
use std::time::Duration;

/// What is to be done with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Give it no calls until then, and one after that.
    Eject {
        /// When the probe may be sent.
        until: Duration,
    },
    /// Give it calls again.
    Readmit,
}

/// Judges the backends of a channel by their calls. `H` is what the caller knows a backend by.
///
/// Calls are counted in the [`Health`] of their backend, without a lock. Whoever holds the detector,
/// under a lock, is asked when a count says so ([`judge`](Self::judge)), and in intervals
/// ([`handle_timeout`](Self::handle_timeout)).
#[derive(Debug)]
pub struct OutlierDetector<H> {
    policy: OutlierPolicy,
    hosts: Vec<Host<H>>,
    sweep_at: Duration,
}

#[derive(Debug)]
struct Host<H> {
    handle: H,
    health: Arc<Health>,
    /// Ejections, less one for each interval without.
    ejections: u32,
    ejected_until: Option<Duration>,
}

impl<H: Clone> OutlierDetector<H> {
    /// A detector without backends.
    #[must_use]
    pub fn new(policy: OutlierPolicy, now: Duration) -> Self {
        Self {
            sweep_at: now.saturating_add(policy.interval),
            policy,
            hosts: Vec::new(),
        }
    }

    /// A backend joins; its calls are to be counted in what this gives.
    pub fn add(&mut self, handle: H) -> Arc<Health> {
        let health = Arc::new(Health::new(self.policy.consecutive_failures));
        self.hosts.push(Host {
            handle,
            health: health.clone(),
            ejections: 0,
            ejected_until: None,
        });
        health
    }

    /// Backends leave: those for which `stays` is false.
    pub fn retain(&mut self, mut stays: impl FnMut(&H) -> bool) {
        self.hosts.retain(|host| stays(&host.handle));
    }

    /// How many are ejected.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.hosts
            .iter()
            .filter(|host| host.ejected_until.is_some())
            .count()
    }

    /// Judges a backend after a call of which [`Health::record`] said that it matters.
    pub fn judge(
        &mut self,
        now: Duration,
        health: &Arc<Health>,
        began: Duration,
        failed: bool,
    ) -> Option<Verdict> {
        let index = self
            .hosts
            .iter()
            .position(|host| Arc::ptr_eq(&host.health, health))?;
        let host = &mut self.hosts[index];
        match (host.ejected_until, failed) {
            (None, false) => None,
            (None, true) => {
                if !host.health.begin_again() {
                    return None;
                }
                self.eject(index, now)
            }
            (Some(_), false) => {
                host.ejected_until = None;
                host.health.set_ejected_at(None);
                Some(Verdict::Readmit)
            }
            // It failed while it was to be left alone: sent for want of a better one.
            (Some(until), true) if began < until => None,
            (Some(_), true) => Some(self.eject_for_longer(index, now)),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Duration {
        self.sweep_at
    }

    /// Compares the backends over the interval that is over, if one is; gives whom to eject.
    pub fn handle_timeout(&mut self, now: Duration) -> Vec<(H, Verdict)> {
        if now < self.sweep_at {
            return Vec::new();
        }
        self.sweep_at = now.saturating_add(self.policy.interval);
        let counts: Vec<_> = self.hosts.iter().map(|host| host.health.take()).collect();
        let floor = self
            .policy
            .success_rate
            .and_then(|rule| rule.floor(&counts));
        let failing = self
            .policy
            .failure_percentage
            .and_then(|rule| rule.among(&counts));
        let mut verdicts = Vec::new();
        for (index, count) in counts.iter().enumerate() {
            if self.hosts[index].ejected_until.is_some() {
                continue;
            }
            let is_low = floor.is_some_and(|(rule, floor)| rule.is_below(count, floor));
            let is_failing = failing.is_some_and(|rule| rule.is_above(count));
            if (is_low || is_failing)
                && let Some(verdict) = self.eject(index, now)
            {
                verdicts.push((self.hosts[index].handle.clone(), verdict));
                continue;
            }
            let host = &mut self.hosts[index];
            host.ejections = host.ejections.saturating_sub(1);
        }
        verdicts
    }

    /// Unless as many are ejected as may be.
    fn eject(&mut self, index: usize, now: Duration) -> Option<Verdict> {
        let share = self.hosts.len() as f64 * self.policy.ejected_share_max;
        // One at least, but never the only one.
        let max = (share as usize).max(1).min(self.hosts.len() - 1);
        (self.ejected() < max).then(|| self.eject_for_longer(index, now))
    }

    fn eject_for_longer(&mut self, index: usize, now: Duration) -> Verdict {
        let host = &mut self.hosts[index];
        host.ejections = host.ejections.saturating_add(1);
        let until = now.saturating_add(self.policy.ejection_time(host.ejections));
        host.ejected_until = Some(until);
        host.health.set_ejected_at(Some(now));
        Verdict::Eject { until }
    }
}
