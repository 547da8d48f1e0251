//! What a server puts up with from one client: floods and stalls.

use std::time::{Duration, Instant};

use super::pace::TokenBucket;
use super::{
    CANCELS_BURST_MAX, CANCELS_PER_SECOND_MAX, ConnectionError, TOO_MUCH_CONTROL, control_pace,
};

/// A ping sooner than this after the last, without a request in between or a call that runs, is a strike.
const PING_INTERVAL_MIN: Duration = Duration::from_secs(5);
const PING_STRIKES_MAX: u32 = 3;
/// A frame may take this long however slow it is.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that have to arrive in each further `FRAME_TIMEOUT`.
const FRAME_BYTES_MIN: u64 = 10 * 1024;

/// Counts what a client may do only so often.
#[derive(Debug)]
pub(super) struct FloodGuard {
    cancels: TokenBucket,
    control: TokenBucket,
    last_ping: Option<Ping>,
    strikes: u32,
}

#[derive(Debug)]
struct Ping {
    came: Instant,
    /// The last request before it, admitted or not.
    request: u64,
}

impl FloodGuard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            cancels: TokenBucket::new(CANCELS_PER_SECOND_MAX, CANCELS_BURST_MAX, now),
            control: control_pace(now),
            last_ping: None,
            strikes: 0,
        }
    }

    pub(super) fn note_cancel(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.cancels.take(now) {
            return Ok(());
        }
        Err(ConnectionError::EnhanceYourCalm(
            "cancels more calls than 100 a second",
        ))
    }

    pub(super) fn note_control(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.control.take(now) {
            return Ok(());
        }
        Err(TOO_MUCH_CONTROL)
    }

    /// A ping came; `request` is the last that came before it. Pings around requests are no nuisance.
    pub(super) fn note_ping(&mut self, now: Instant, request: u64) -> Result<(), ConnectionError> {
        let ping = Ping { came: now, request };
        match self.last_ping.replace(ping) {
            Some(last) if last.request == request => {
                let since = now.saturating_duration_since(last.came);
                self.strikes += u32::from(since < PING_INTERVAL_MIN);
            }
            _ => self.strikes = 0,
        }
        if self.strikes > PING_STRIKES_MAX {
            return Err(ConnectionError::EnhanceYourCalm(
                "pings sooner than every 5 s",
            ));
        }
        Ok(())
    }
}

/// Notices a client that sends a frame a few bytes at a time.
#[derive(Debug, Default)]
pub(super) struct Progress {
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    bytes: u64,
    /// The server did not read for a while: what the client managed says nothing.
    excused: bool,
}

impl Progress {
    /// Bytes arrived, of whatever frame.
    #[inline]
    pub(super) const fn note_bytes(&mut self, bytes: usize) {
        if let Some(window) = &mut self.window {
            window.bytes += bytes as u64;
        }
    }

    /// True while something is not complete.
    #[inline]
    pub(super) const fn is_watching(&self) -> bool {
        self.window.is_some()
    }

    /// All was complete: the next frame has all its time.
    #[inline]
    pub(super) const fn note_frame(&mut self) {
        self.window = None;
    }

    /// Input ended inside a frame of which so many bytes have arrived.
    #[inline]
    pub(super) fn note_partial(&mut self, now: Instant, bytes: usize) {
        self.window.get_or_insert_with(|| Window {
            ends: now + FRAME_TIMEOUT,
            bytes: bytes as u64,
            excused: false,
        });
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.window.as_ref().map(|window| window.ends)
    }

    /// Judges the client once its time is over, unless it is `unread` now or was meanwhile.
    pub(super) fn check(&mut self, now: Instant, unread: bool) -> Result<(), ConnectionError> {
        let Some(window) = self.window.as_mut().filter(|window| window.ends <= now) else {
            return Ok(());
        };
        if window.bytes < FRAME_BYTES_MIN && !window.excused && !unread {
            return Err(ConnectionError::Stalled);
        }
        *window = Window {
            ends: now + FRAME_TIMEOUT,
            bytes: 0,
            excused: unread,
        };
        Ok(())
    }
}
