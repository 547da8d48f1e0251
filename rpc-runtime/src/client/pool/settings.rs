//! How many connections there may be to one server, and how many calls on each.

use std::time::Duration;

use crate::error::{Error, Kind};

/// How many connections a channel keeps to a server; see
/// [`ChannelBuilder::connection_pool`](crate::ChannelBuilder::connection_pool).
///
/// One connection carries any number of calls, so most channels need no more. Several are for more
/// than one core's worth of calls, for networks that limit each connection, and for servers behind a
/// balancer that spreads connections.
///
/// A call goes to the connection with the fewest calls. Another connection is opened when each has
/// as many as it may, up to the maximum; beyond that callers wait in line, first in, first out,
/// within their deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPool {
    min_connections: usize,
    max_connections: usize,
    idle_timeout: Option<Duration>,
    calls_per_connection_max: Option<u32>,
}

impl ConnectionPool {
    /// One connection, opened when it is needed, with as many calls as the server takes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            min_connections: 0,
            max_connections: 1,
            idle_timeout: None,
            calls_per_connection_max: None,
        }
    }

    /// So many connections are opened together with the first, stay without calls, and are replaced
    /// when they are lost: 0 unless it is said.
    #[must_use]
    pub const fn with_min_connections(mut self, connections: usize) -> Self {
        self.min_connections = connections;
        self
    }

    /// There are never more connections to one server: 1 unless it is said.
    #[must_use]
    pub const fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long a connection beyond the minimum may be without calls before it is closed. For ever
    /// unless it is said.
    #[must_use]
    pub const fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// How many calls a connection carries at once, streams among them; never more than its server
    /// says, which is all there is to it unless it is said.
    #[must_use]
    pub const fn with_calls_per_connection_max(mut self, calls: u32) -> Self {
        self.calls_per_connection_max = Some(calls);
        self
    }

    /// How many connections are always there.
    #[must_use]
    pub const fn min_connections(&self) -> usize {
        self.min_connections
    }

    /// How many connections there may be.
    #[must_use]
    pub const fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How long a connection beyond the minimum may be without calls.
    #[must_use]
    pub const fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// How many calls a connection carries at once, if it was said.
    #[must_use]
    pub const fn calls_per_connection_max(&self) -> Option<u32> {
        self.calls_per_connection_max
    }

    /// Refuses numbers with which nothing would get through, or that contradict each other.
    pub(in crate::client) fn check(&self) -> Result<(), Error> {
        Error::if_zero([
            ("max_connections", self.max_connections == 0),
            (
                "calls_per_connection_max",
                self.calls_per_connection_max == Some(0),
            ),
            (
                "idle_timeout",
                self.idle_timeout.is_some_and(|timeout| timeout.is_zero()),
            ),
        ])?;
        if self.min_connections > self.max_connections {
            let (min, max) = (self.min_connections, self.max_connections);
            let mistake = format!("min_connections is {min}, more than max_connections, {max}");
            return Err(Error::new(Kind::Limit, mistake));
        }
        Ok(())
    }

    /// True for one connection whose calls nobody has to count.
    pub(in crate::client) const fn is_plain(&self) -> bool {
        self.min_connections == 0
            && self.max_connections <= 1
            && self.calls_per_connection_max.is_none()
    }
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self::new()
    }
}
