//! What the driver reads: once at a time, to where it belongs, and handed on at once.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use rpc_core::connection::Landing;
use rpc_core::hint::cold_path;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::super::buffer;
use super::{Closed, Driver, Protocol, Side};
use crate::clock;

/// What was read since others last had a turn.
#[derive(Debug, Default)]
pub(super) struct ReadTurn {
    bytes: usize,
    /// Somebody was woken, and cannot run before the driver gives way: reading on while there is more
    /// lets a consumer find several items, and answer them with one credit.
    woke: bool,
    /// The same of a caller whose answer was read.
    answered: bool,
    /// The time when something was read last.
    pub(super) now: Option<Instant>,
}

/// How much is read at once of what is not known yet.
///
/// The head of a long message tells where the rest of it belongs; what was read with the head is copied
/// there. So little is read at first, and behind what has landed, and more only where much comes that
/// is short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach(usize);

impl Reach {
    /// By so much it grows when a read has filled it.
    const GROWTH: usize = 8;

    /// Behind something that has landed, with which so much of what follows was read.
    const fn behind(bytes: usize) -> Self {
        let mut reach = Self(Landing::BEHIND_BYTES);
        reach.note_read(bytes);
        reach
    }

    #[inline]
    const fn note_read(&mut self, bytes: usize) {
        if bytes == self.0 {
            let wider = self.0 * Self::GROWTH;
            self.0 = if wider < buffer::READ_BYTES {
                wider
            } else {
                buffer::READ_BYTES
            };
        }
    }
}

impl Default for Reach {
    /// A short message, or the head of a long one and little of its body.
    fn default() -> Self {
        Self(512)
    }
}

impl<S: Side> Driver<S> {
    /// So much of a frame of items has to be missing to be read to where it belongs, or twice as much of
    /// a body.
    const LANDING_BYTES_MIN: usize = 15 * 1024;
    /// What is read before a caller whose answer was read has a turn: some microseconds' worth.
    const TURN_BYTES: usize = 128 * 1024;
    /// The same before those of streams have one: more than the window of a stream, whose consumer has its
    /// turn before that, when nothing more can be read.
    const STREAM_TURN_BYTES: usize = 1024 * 1024;

    /// Processes what waits, or reads once and processes that; as [`process`](Self::process).
    #[inline]
    pub(super) fn poll_input(
        &mut self,
        buffer: &mut [u8],
        turn: &mut ReadTurn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Closed>> {
        if !self.stash.is_empty() {
            cold_path();
            if self.shared.lock().protocol.is_paused() {
                return Poll::Pending;
            }
            return Poll::Ready(self.process_stash(turn, cx));
        }
        if self.within_frame
            && let Some(landing) = self.landing()
        {
            return self.poll_landing(landing, turn, cx);
        }
        let Reach(most) = self.reach;
        let mut read = ReadBuf::new(&mut buffer[..most]);
        if let Err(error) = ready!(Pin::new(&mut self.reader).poll_read(cx, &mut read)) {
            cold_path();
            return Poll::Ready(Err(Closed::Io(error)));
        }
        let input = read.filled();
        if input.is_empty() {
            cold_path();
            return Poll::Ready(Err(Closed::EndOfStream));
        }
        turn.bytes += input.len();
        self.reach.note_read(input.len());
        Poll::Ready(self.process(input, turn, cx))
    }

    #[inline(never)]
    fn process_stash(&mut self, turn: &mut ReadTurn, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let mut stash = std::mem::take(&mut self.stash);
        let mut input = &stash[..];
        let processed = self.process_some(&mut input, turn, cx);
        let left = input.len();
        self.stash = stash.split_off(stash.len() - left);
        processed
    }

    #[inline(never)]
    fn landing(&self) -> Option<Landing> {
        let mut state = self.shared.lock();
        state.protocol.arriving().landing(Self::LANDING_BYTES_MIN)
    }

    /// Reads once to where the bytes belong, and processes that.
    #[inline(never)]
    fn poll_landing(
        &mut self,
        mut landing: Landing,
        turn: &mut ReadTurn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Closed>> {
        let read = pin!(self.reader.read_buf(&mut landing.room())).poll(cx);
        let behind = self.shared.lock().protocol.arriving().land(landing);
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Closed::Io(error))),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Closed::EndOfStream)),
            Poll::Ready(Ok(bytes)) => {
                self.reach = Reach::behind(behind.len());
                turn.bytes += bytes;
                Poll::Ready(self.process_apart(&behind, turn, cx))
            }
        }
    }

    /// As [`process`](Self::process), of what was not just read into the buffer.
    #[inline(never)]
    fn process_apart(
        &mut self,
        input: &[u8],
        turn: &mut ReadTurn,
        cx: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        self.process(input, turn, cx)
    }

    /// True if those who were woken are to run before anything else is done.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most reads take one way, which is one function"
    )]
    fn process(
        &mut self,
        mut input: &[u8],
        turn: &mut ReadTurn,
        cx: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        let processed = self.process_some(&mut input, turn, cx);
        if !input.is_empty() {
            cold_path();
            // Nothing is read before what was stashed is processed.
            self.stash = Bytes::copy_from_slice(input);
        }
        processed
    }

    /// As [`process`](Self::process); what is left of the input is the caller's to keep.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most reads take one way, which is one function"
    )]
    fn process_some(
        &mut self,
        input: &mut &[u8],
        turn: &mut ReadTurn,
        cx: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        let now = clock::now();
        turn.now = Some(now);
        let progress = self.side.process(&self.shared, input, now, cx);
        let progress = match progress {
            Ok(progress) => progress,
            Err(error) => {
                cold_path();
                return Err(Closed::Protocol(error));
            }
        };
        turn.woke |= progress.woke;
        turn.answered |= progress.answered;
        let is_over = turn.woke && turn.bytes >= Self::STREAM_TURN_BYTES
            || turn.answered && turn.bytes >= Self::TURN_BYTES;
        Ok(progress.woke_many || is_over)
    }
}
