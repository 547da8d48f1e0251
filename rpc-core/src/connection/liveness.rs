//! Is the peer still there? Pings after silence, and an end after a ping without an answer.
//!
//! Why not a timer per call? The one timer of the connection looks every now and then, so a busy
//! connection pays for noting the time of a read and nothing else.

use std::time::{Duration, Instant};

/// How a connection finds out that its peer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// Silence after which a ping is sent.
    pub interval: Duration,
    /// How long the peer may take to send anything after a ping.
    pub timeout: Duration,
    /// Ping also while no call is in flight.
    pub when_idle: bool,
}

impl KeepAlive {
    /// Pings after 10 s of silence with calls in flight, and waits for 5 s.
    pub const SHIPPED: Self = Self {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        when_idle: false,
    };

    /// True if a time is zero: pings without end, or no time to answer one.
    #[must_use]
    pub const fn has_zero(self) -> bool {
        self.interval.is_zero() || self.timeout.is_zero()
    }

    /// Other times.
    #[must_use]
    pub const fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            when_idle: false,
        }
    }

    /// Pings also while no call is in flight. A server ends a connection without calls that is pinged sooner
    /// than every 5 s.
    #[must_use]
    pub const fn when_idle(mut self) -> Self {
        self.when_idle = true;
        self
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::SHIPPED
    }
}

/// What to do about a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    /// Ask whether it is there.
    Ping,
    /// It did not answer.
    Dead,
    /// Nothing has happened for the idle timeout.
    Idle,
}

/// Watches one connection.
// In this order: what each read touches is in front.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Liveness {
    /// When the peer last sent anything.
    heard: Instant,
    /// When a call was last known to be in flight.
    busy: Instant,
    /// When the peer was asked, while it has not answered.
    asked: Option<Instant>,
    /// A call came and went since the last look, at a moment that nobody told.
    passed: bool,
    /// When to look again. `None` only if there is nothing to look for.
    due: Option<Instant>,
    keep_alive: Option<KeepAlive>,
    idle_timeout: Option<Duration>,
}

impl Liveness {
    pub(super) fn new(
        keep_alive: Option<KeepAlive>,
        idle_timeout: Option<Duration>,
        now: Instant,
    ) -> Self {
        let mut liveness = Self {
            heard: now,
            busy: now,
            asked: None,
            passed: false,
            due: None,
            keep_alive,
            idle_timeout,
        };
        liveness.due = liveness.next_look(now, false);
        liveness
    }

    /// The peer sent something.
    #[inline]
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// A call is in flight, or was until now: the connection is not idle.
    #[inline]
    pub(super) const fn note_call(&mut self, now: Instant) {
        self.busy = now;
    }

    /// A call came and went: the next look counts from itself.
    #[inline]
    pub(super) const fn note_passing_call(&mut self) {
        self.passed = true;
    }

    /// A call began: from now on silence is suspicious.
    #[inline]
    pub(super) fn call_began(&mut self, now: Instant) {
        self.busy = now;
        if let Some(keep_alive) = self.keep_alive {
            // A look that is due earlier finds the rest.
            let latest = now.checked_add(keep_alive.interval);
            if self
                .due
                .is_none_or(|due| latest.is_some_and(|latest| latest < due))
            {
                self.due = latest;
            }
        }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks at the time; `busy` if calls are in flight, `unwritten` if the peer has yet to take
    /// something. That does not keep a connection, but who takes nothing may have gone.
    pub(super) fn check(&mut self, now: Instant, busy: bool, unwritten: bool) -> Check {
        if self.due.is_none_or(|due| now < due) {
            return Check::Nothing;
        }
        if busy || std::mem::take(&mut self.passed) {
            self.busy = now;
        }
        let expects = busy || unwritten;
        let check = self.look(now, expects);
        match check {
            Check::Ping => self.asked = Some(now),
            // Once is enough: whoever is told ends the connection.
            Check::Idle => self.idle_timeout = None,
            Check::Nothing | Check::Dead => {}
        }
        self.due = self.next_look(now, expects);
        check
    }

    fn look(&self, now: Instant, expects: bool) -> Check {
        let silence = now.saturating_duration_since(self.heard);
        if let Some(keep_alive) = self.keep_alive {
            match self.asked {
                Some(asked) if now.saturating_duration_since(asked) >= keep_alive.timeout => {
                    return Check::Dead;
                }
                None if (expects || keep_alive.when_idle) && silence >= keep_alive.interval => {
                    return Check::Ping;
                }
                _ => {}
            }
        }
        match self.idle_timeout {
            Some(idle) if now.saturating_duration_since(self.busy) >= idle => Check::Idle,
            _ => Check::Nothing,
        }
    }

    fn next_look(&self, now: Instant, expects: bool) -> Option<Instant> {
        let keep_alive = self.keep_alive.and_then(|keep_alive| match self.asked {
            Some(asked) => asked.checked_add(keep_alive.timeout),
            None if expects || keep_alive.when_idle => self.heard.checked_add(keep_alive.interval),
            None => None,
        });
        // Also while calls are in flight: nobody says when the last of them ends.
        let idle = self.idle_timeout;
        let idle = idle.and_then(|idle| self.busy.checked_add(idle));
        // What is due already was looked at: the next look is later.
        let later = |at: Instant| at.max(now + Duration::from_millis(1));
        earlier(keep_alive, idle).map(later)
    }
}

/// The earlier of two moments that may not come.
#[inline]
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Liveness {
        /// Looks while the peer takes all that is written.
        fn look_at(&mut self, now: Instant, busy: bool) -> Check {
            self.check(now, busy, false)
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_is_asked_but_does_not_keep_the_connection() {
        let start = Instant::now();
        let idle = Some(300 * SECOND);
        let mut liveness = Liveness::new(Some(KeepAlive::SHIPPED), idle, start);
        let mut check = |at| liveness.check(start + at * SECOND, false, true);
        assert_eq!(check(300), Check::Ping);
        assert_eq!(check(305), Check::Dead);
        let mut liveness = Liveness::new(Some(KeepAlive::SHIPPED), idle, start);
        liveness.heard(start + 299 * SECOND);
        let mut check = |at| liveness.check(start + at * SECOND, false, true);
        assert_eq!(check(300), Check::Idle);
        assert_eq!(check(309), Check::Ping);
    }

    #[test]
    fn t5_a_silent_peer_with_calls_is_asked_once_and_given_up() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Some(KeepAlive::SHIPPED), None, start);
        assert_eq!(liveness.due(), None, "an idle connection costs no timer");
        liveness.call_began(start);
        assert_eq!(liveness.due(), Some(start + 10 * SECOND));
        assert_eq!(liveness.look_at(start + 10 * SECOND, true), Check::Ping);
        assert_eq!(liveness.due(), Some(start + 15 * SECOND));
        assert_eq!(liveness.look_at(start + 14 * SECOND, true), Check::Nothing);
        assert_eq!(liveness.look_at(start + 15 * SECOND, true), Check::Dead);
    }

    #[test]
    fn a_peer_that_talks_is_not_asked() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Some(KeepAlive::SHIPPED), None, start);
        liveness.call_began(start);
        liveness.heard(start + 9 * SECOND);
        assert_eq!(liveness.look_at(start + 10 * SECOND, true), Check::Nothing);
        assert_eq!(liveness.due(), Some(start + 19 * SECOND));
        assert_eq!(liveness.look_at(start + 19 * SECOND, true), Check::Ping);
        liveness.heard(start + 20 * SECOND);
        assert_eq!(liveness.look_at(start + 24 * SECOND, false), Check::Nothing);
        assert_eq!(liveness.due(), None, "no calls, no looks");
    }

    #[test]
    fn t5_an_idle_connection_ends_after_its_timeout() {
        let start = Instant::now();
        let mut liveness = Liveness::new(None, Some(300 * SECOND), start);
        liveness.note_call(start + SECOND);
        assert_eq!(
            liveness.look_at(start + 300 * SECOND, false),
            Check::Nothing
        );
        assert_eq!(liveness.look_at(start + 301 * SECOND, false), Check::Idle);
        assert_eq!(liveness.due(), None, "it is not asked again");
        let mut busy = Liveness::new(None, Some(300 * SECOND), start);
        assert_eq!(busy.look_at(start + 301 * SECOND, true), Check::Nothing);
        assert_eq!(busy.due(), Some(start + 601 * SECOND), "the call may end");
    }
}
