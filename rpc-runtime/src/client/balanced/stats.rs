//! What a channel that balances has done so far.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::stats::ConnectionStats;
use super::fleet::Fleet;

/// What a channel has done so far; see [`Channel::stats`](crate::Channel::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Attempts after the first one of a call.
    pub retries: u64,
    /// Calls that were not tried again because all calls together had used up the budget.
    pub over_budget: u64,
    /// Second attempts of calls that were late.
    pub hedges: u64,
    /// Of those, how many came first.
    pub hedges_won: u64,
    /// Calls that the breaker failed.
    pub rejected: u64,
    /// How often a server was taken out because its calls failed.
    pub ejections: u64,
    /// The servers that are listed.
    pub endpoints: Vec<EndpointStats>,
    /// The connections to all of them, also of a channel that does not balance.
    pub connections: ConnectionStats,
}

/// How one server fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Where it is.
    pub address: String,
    /// Attempts that were sent there since it is listed.
    pub calls: u64,
    /// Attempts that have not ended; one that is answered by a stream lasts as long as that.
    pub in_flight: u32,
    /// The moving average of its latency; zero if nothing is known.
    pub latency: Duration,
    /// There is a connection that takes calls.
    pub is_connected: bool,
    /// The connections to it.
    pub connections: ConnectionStats,
    /// It is out, or on probation, because its calls failed.
    pub is_ejected: bool,
}

impl ChannelStats {
    /// Of a channel that does not balance.
    pub(in crate::client) fn of(connections: ConnectionStats) -> Self {
        Self {
            connections,
            ..Self::default()
        }
    }
}

/// Counts what happens rarely.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) retries: AtomicU64,
    pub(super) over_budget: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
    pub(super) rejected: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counters {
    pub(super) fn stats(&self, fleet: &Fleet) -> ChannelStats {
        let (now, roster) = (fleet.now(), fleet.roster());
        let endpoints = roster.iter().flat_map(|roster| &roster.endpoints);
        let endpoints = endpoints.map(|endpoint| EndpointStats {
            address: endpoint.backend.address().to_owned(),
            calls: endpoint.calls.load(Relaxed),
            in_flight: endpoint.backend.in_flight(),
            latency: endpoint.backend.latency(now),
            is_connected: endpoint.pool.is_connected(),
            connections: endpoint.pool.stats(),
            is_ejected: endpoint.backend.is_ejected(),
        });
        let endpoints: Vec<_> = endpoints.collect();
        let mut connections = ConnectionStats::default();
        for endpoint in &endpoints {
            connections += endpoint.connections;
        }
        ChannelStats {
            retries: self.retries.load(Relaxed),
            over_budget: self.over_budget.load(Relaxed),
            hedges: self.hedges.load(Relaxed),
            hedges_won: self.hedges_won.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            ejections: fleet.ejections.load(Relaxed),
            endpoints,
            connections,
        }
    }
}
