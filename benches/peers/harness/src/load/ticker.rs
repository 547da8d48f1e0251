//! Waits until a point in time, to the microsecond.
//!
//! Why not Tokio's timers? They are exact to a millisecond, in which 25 calls are due. A timer of
//! the system wakes the task through the reactor, as an answer does.

use std::io;
use std::time::Instant;

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    /// Within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        // SAFETY: the timer is owned, and open until it is dropped, deregistered before.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE)? };
        Ok(Self(timer))
    }

    /// Ready at once if the time has come.
    pub(super) async fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let it_value = Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0; 8];
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            ready.clear_ready();
            // It may have been said to be ready because of the time before.
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}
