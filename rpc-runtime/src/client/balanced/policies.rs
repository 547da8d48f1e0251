//! What applies to the calls of a channel that balances, and to those of a method.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::MethodId;

use crate::resilience::{BreakerPolicy, CircuitBreaker, HedgePolicy, Hedging, RetryPolicy};

/// What a channel does for a call that fails or is slow; see [`resilience`](crate::resilience).
///
/// For all calls of a channel, or for those of a method: then the method has a breaker and a measure
/// of latency of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resilience {
    retry: RetryPolicy,
    hedging: Option<HedgePolicy>,
    breaker: Option<BreakerPolicy>,
}

impl Resilience {
    /// Calls fail over; there are no hedges and no breaker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when a call is tried again, and where.
    #[must_use]
    pub const fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sends a second attempt, to another server, when the first is late. Only for methods that are
    /// idempotent; never for calls with a stream among their arguments.
    #[must_use]
    pub const fn with_hedging(mut self, policy: HedgePolicy) -> Self {
        self.hedging = Some(policy);
        self
    }

    /// Fails calls at once that would most likely fail.
    #[must_use]
    pub const fn with_breaker(mut self, policy: BreakerPolicy) -> Self {
        self.breaker = Some(policy);
        self
    }
}

/// A [`Resilience`] at work.
#[derive(Debug)]
pub(super) struct Policies {
    pub(super) retry: RetryPolicy,
    pub(super) hedging: Option<Hedging>,
    pub(super) breaker: Option<Arc<CircuitBreaker>>,
}

impl From<&Resilience> for Policies {
    fn from(resilience: &Resilience) -> Self {
        let hedging = resilience.hedging;
        Self {
            retry: resilience.retry.clone(),
            hedging: hedging.map(|policy| Hedging::new(policy, Duration::ZERO)),
            breaker: resilience.breaker.map(CircuitBreaker::new).map(Arc::new),
        }
    }
}

/// The policies of all methods.
#[derive(Debug)]
pub(super) struct Table {
    others: Policies,
    methods: HashMap<MethodId, Policies>,
}

impl Table {
    pub(super) fn new(others: &Resilience, methods: &HashMap<MethodId, Resilience>) -> Self {
        let methods = methods.iter().map(|(id, of)| (*id, of.into()));
        Self {
            others: others.into(),
            methods: methods.collect(),
        }
    }

    #[inline]
    pub(super) fn of(&self, method: MethodId) -> &Policies {
        if self.methods.is_empty() {
            return &self.others;
        }
        self.methods.get(&method).unwrap_or(&self.others)
    }
}
