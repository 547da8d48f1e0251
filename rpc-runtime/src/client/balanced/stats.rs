//! What a channel that balances has done so far.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::super::stats::{ChannelStats, ConnectionStats, EndpointStats};
use super::fleet::Fleet;

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
