//! A peer that takes nothing of what waits to be written, or reports nothing of what it reads.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::{Driver, Side};
use crate::clock;
use crate::connection::Protocol;

pub(super) struct Stall {
    /// How far the writer was when the timer was set.
    progress: u64,
    timer: Pin<Box<Sleep>>,
}

impl<S: Side> Driver<S> {
    /// How long the peer may take nothing of what waits to be written.
    const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

    /// Ready when the peer has taken nothing for too long.
    #[inline(never)]
    pub(super) fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        let progress = state.protocol.outgoing().progress();
        let stall = self.stall.get_or_insert_with(|| Stall {
            progress,
            timer: Box::pin(tokio::time::sleep(Self::WRITE_STALL_MAX)),
        });
        if progress > stall.progress {
            stall.progress = progress;
            let now = clock::now();
            // While much is written to it, a peer may have nothing to say, or nobody listens.
            state.protocol.handle_progress(now);
            let later = now + Self::WRITE_STALL_MAX;
            stall.timer.as_mut().reset(later.into());
        }
        drop(state);
        stall.timer.as_mut().poll(cx)
    }
}
