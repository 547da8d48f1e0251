//! What is known about a channel: what it has done, how its servers fare, its connections.

use std::ops::AddAssign;
use std::time::Duration;

use super::connection::Connection;

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
    pub(super) fn of(connections: ConnectionStats) -> Self {
        Self {
            connections,
            ..Self::default()
        }
    }
}

/// The connections of a channel, or to one of its servers; see
/// [`Channel::stats`](crate::Channel::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Connections that take calls: `idle + in_use`.
    pub open: usize,
    /// Of those, how many have no call in flight.
    pub idle: usize,
    /// Of those, how many have calls in flight.
    pub in_use: usize,
    /// Callers who wait for a place on one.
    pub waiting: usize,
}

impl ConnectionStats {
    /// Those of a channel that has one connection, if it is there.
    pub(super) fn of_one(connection: Option<&Connection>) -> Self {
        let Some(connection) = connection.filter(|one| one.accepts_calls()) else {
            return Self::default();
        };
        let (calls, waiting) = connection.load();
        Self {
            open: 1,
            idle: usize::from(calls == 0),
            in_use: usize::from(calls > 0),
            waiting,
        }
    }
}

impl Connection {
    /// Calls in flight, and callers in line.
    fn load(&self) -> (usize, usize) {
        let client = &self.shared.lock().protocol;
        (client.core.in_flight(), client.waiters.len())
    }
}

impl AddAssign for ConnectionStats {
    fn add_assign(&mut self, other: Self) {
        self.open += other.open;
        self.idle += other.idle;
        self.in_use += other.in_use;
        self.waiting += other.waiting;
    }
}
