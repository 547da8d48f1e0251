//! How a server goes away: it says so, and takes what is on its way until the client has heard it.
//!
//! A call that crosses a go-away could only be refused. Most are made again on another connection; a
//! oneway call would be lost without anybody knowing, and one whose stream has begun to flow would fail.
//! So the first go-away refuses nothing, as in RFC 9113, section 6.8.

use std::time::{Duration, Instant};

use super::{ServerConnection, State};
use crate::connection::go_away_body;
use crate::wire::{Header, Kind};

/// Behind the pong to this, the client sends no request.
const LAST_CALL: [u8; 8] = *b"lastcall";

/// How long a client that does not answer may go on sending requests, while they are read.
const PATIENCE: Duration = Duration::from_secs(1);

/// In place of the last accepted call, as long as there is none.
const ALL_ACCEPTED: u64 = u64::MAX;

/// The client is told, and may not know yet.
#[derive(Debug)]
pub(super) struct Leaving {
    reason: String,
    until: Instant,
}

impl Leaving {
    pub(super) const fn until(&self) -> Instant {
        self.until
    }
}

impl<T> ServerConnection<T> {
    /// Announces that no further call is to be made, and why. Those that are on their way are taken until
    /// the client has heard it, or for a second; what runs may finish. Before the hello is here, the
    /// announcement waits for it.
    pub fn drain(&mut self, now: Instant, reason: &str) {
        match &mut self.state {
            State::Opening(opening) => opening.drain = Some(reason.to_owned()),
            State::Open => self.leave(now, reason.to_owned()),
            State::Leaving(_) | State::Draining | State::Closed => {}
        }
    }

    fn leave(&mut self, now: Instant, reason: String) {
        self.write_go_away(ALL_ACCEPTED, &reason);
        self.outgoing
            .control(Header::new(Kind::Ping, 0), &LAST_CALL);
        let until = now + PATIENCE;
        self.state = State::Leaving(Box::new(Leaving { reason, until }));
    }

    /// True once the client was told to make no further call.
    #[inline]
    #[must_use]
    pub const fn is_going(&self) -> bool {
        matches!(self.state, State::Leaving(_) | State::Draining)
    }

    /// True if requests are admitted.
    #[inline]
    pub(super) const fn accepts_calls(&self) -> bool {
        matches!(self.state, State::Open | State::Leaving(_))
    }

    pub(super) fn handle_pong(&mut self, body: &[u8]) {
        if body == LAST_CALL {
            self.end_leaving();
        }
    }

    /// Waits no longer for a client that does not answer. The time counts in which its requests are read.
    pub(super) fn lose_patience(&mut self) {
        let is_reading = self.outgoing.is_empty() && self.paused.is_none();
        match &mut self.state {
            State::Leaving(leaving) if leaving.until <= self.now => {
                if is_reading {
                    self.end_leaving();
                } else {
                    leaving.until = self.now + PATIENCE;
                }
            }
            _ => {}
        }
    }

    /// From here on requests are refused.
    fn end_leaving(&mut self) {
        if let State::Leaving(leaving) = &mut self.state {
            let reason = std::mem::take(&mut leaving.reason);
            self.state = State::Draining;
            self.say_go_away(&reason);
        }
    }

    /// Says which call is the last one, and why.
    pub(super) fn say_go_away(&mut self, reason: &str) {
        let last = *self.last_accepted.get_or_insert(self.ids.last());
        self.write_go_away(last, reason);
    }

    fn write_go_away(&mut self, last: u64, reason: &str) {
        let body = go_away_body(last, reason);
        self.outgoing.control(Header::new(Kind::GoAway, 0), &body);
    }
}
