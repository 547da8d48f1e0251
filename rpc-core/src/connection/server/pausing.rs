//! Requests that wait until a oneway call ends.
//!
//! A client keeps to the number of calls that may be in flight, but it does not know when a oneway call ends:
//! nobody says. If what comes on top of it were refused, oneway calls would be lost without anybody knowing,
//! and others be refused for what they cannot know. So the rest of the input waits, and in the end the client
//! does, which has no room for more.

use std::time::Duration;

use super::ServerConnection;
use crate::connection::ping;
use crate::wire::{Header, Kind};

/// How often the client is told that somebody is here, who does not read its pings.
const PING_INTERVAL: Duration = Duration::from_secs(1);

impl<T> ServerConnection<T> {
    /// True while what is left of the input has to wait for the end of a call.
    #[must_use]
    pub fn is_paused(&mut self) -> bool {
        if !self.is_full_of_oneways() {
            self.paused = None;
        }
        self.paused.is_some()
    }

    /// True if what is left of the input need not wait any longer.
    #[inline]
    #[must_use]
    pub fn is_to_resume(&self) -> bool {
        self.paused.is_some() && !self.is_full_of_oneways()
    }

    /// True if a request comes next, and has to wait. So has the beginning of a header, which may be one.
    #[cold]
    pub(super) fn pauses(&mut self, input: &[u8]) -> bool {
        let is_request = match input.first_chunk().map(Header::parse) {
            Some(header) => header.kind == Kind::Request,
            None => !input.is_empty(),
        };
        if !(is_request && self.decoder.is_at_boundary() && self.is_full_of_oneways()) {
            return false;
        }
        let soon = self.now.checked_add(PING_INTERVAL);
        self.paused = self.paused.or(soon).or(Some(self.now));
        true
    }

    /// Tells the client that somebody is here, if that is due; its silence means nothing meanwhile.
    pub(super) fn end_silence(&mut self) {
        let Some(due) = self.paused else {
            return;
        };
        self.liveness.heard(self.now);
        if due <= self.now {
            ping(&mut self.outgoing);
            self.paused = self.now.checked_add(PING_INTERVAL).or(self.paused);
        }
    }

    /// True if no further request is admitted, not all of those in flight are known to be by the client, and
    /// some end without anything more being read.
    fn is_full_of_oneways(&self) -> bool {
        self.accepts_calls()
            && self.oneways > 0
            && self.running >= self.calls_max
            && self.running > self.assemblies.len() + self.streams.open_streams()
    }
}
