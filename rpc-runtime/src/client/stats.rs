//! What is known about the connections of a channel.

use std::ops::AddAssign;

use super::connection::Connection;

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
