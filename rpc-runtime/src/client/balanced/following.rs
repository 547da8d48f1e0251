//! A reply that is a stream: its server is at work until the stream ends.
//!
//! What does a stream say about its server? How quick it is, by the reply: items come when there is
//! something to say. How well it is, by the end, as any call; with its deadline the caller ends it.
//! But a probe is over with the reply, for a stream may last for days.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rpc_core::{Code, Status};

use super::super::connection::Connection;
use super::endpoint::Endpoint;
use super::fleet::Fleet;
use crate::balance::InFlight;
use crate::resilience::{CircuitBreaker, blames_server};
use crate::stream::Follower;

/// A stream that counts as a call in flight. The fleet and the endpoint may go before it ends.
pub(super) struct Following {
    pub(super) fleet: Weak<Fleet>,
    pub(super) endpoint: Weak<Endpoint>,
    pub(super) connection: Arc<Connection>,
    /// None once the stream has ended.
    pub(super) in_flight: Option<InFlight>,
    pub(super) began: Duration,
    /// The reply was the probe of a server that was out.
    pub(super) is_judged: bool,
}

impl Following {
    fn judge(&mut self, failed: bool) {
        let known = self.fleet.upgrade().zip(self.endpoint.upgrade());
        // The call is over before anybody is told.
        drop(self.in_flight.take());
        let Some((fleet, endpoint)) = known else {
            return;
        };
        if failed || !self.is_judged {
            fleet.note_health(&endpoint, self.began, fleet.now(), failed);
        }
    }
}

impl Follower for Following {
    fn ended(mut self: Box<Self>, end: Result<(), &Status>) {
        let Err(status) = end else {
            return self.judge(false);
        };
        if !self.connection.accepts_calls() {
            // Whoever breaks connections is found out by who makes them.
            drop(self.in_flight.take());
            if let Some(endpoint) = self.endpoint.upgrade() {
                endpoint.pool.note_lost(&self.connection, false);
            }
        } else if status.code() == Code::DeadlineExceeded {
            drop(self.in_flight.take());
        } else {
            self.judge(blames_server(status.code()));
        }
    }
}

impl Drop for Following {
    /// The caller has had enough: the server did what it was to do.
    fn drop(&mut self) {
        if self.in_flight.is_some() {
            self.judge(false);
        }
    }
}

/// A stream whose call a breaker let through. It counts as accepted since the reply, or the streams
/// that last would look like failures.
pub(super) struct Accepted {
    pub(super) breaker: Arc<CircuitBreaker>,
    pub(super) fleet: Weak<Fleet>,
}

impl Follower for Accepted {
    fn ended(self: Box<Self>, end: Result<(), &Status>) {
        let failed = end.is_err_and(|status| {
            blames_server(status.code()) && status.code() != Code::DeadlineExceeded
        });
        if failed && let Some(fleet) = self.fleet.upgrade() {
            self.breaker.take_back(fleet.now());
        }
    }
}
