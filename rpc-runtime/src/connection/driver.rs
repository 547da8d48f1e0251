//! The task of a connection: reads, hands on, flushes, watches the time.
//!
//! A read that succeeded is followed by another until the stream is empty: only a read that waits
//! registers a wake-up.

mod closed;
mod ending;
mod flush;
mod input;
mod stall;
mod timer;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use rpc_core::connection::ConnectionError;
use rpc_core::hint::cold_path;
use tokio::io::AsyncRead;

pub(crate) use self::closed::Closed;
use self::ending::Ending;
use self::flush::Flushed;
use self::input::{Reach, ReadTurn};
use self::stall::Stall;
use self::timer::Timer;
use super::{Protocol, Shared, State, buffer};
use crate::clock;

/// What is particular to the client's or the server's end.
pub(crate) trait Side: Send + Unpin + 'static {
    type Protocol: Protocol;

    /// True if nothing is read while what was written before does not fit into the stream: the
    /// server's back-pressure. The client has to go on reading, or both could wait for ever.
    const READS_ONLY_WHEN_FLUSHED: bool;

    /// Acts on bytes that arrived, and on those that have landed. Leaves input over only to have a full
    /// outgoing buffer flushed, or because it [is paused](Protocol::is_paused).
    fn process(
        &mut self,
        shared: &Arc<Shared<Self::Protocol>>,
        input: &mut &[u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Progress, ConnectionError>;

    /// Acts on what is due.
    fn handle_timeout(
        &mut self,
        shared: &Shared<Self::Protocol>,
        now: Instant,
    ) -> Result<(), ConnectionError>;

    /// The connection cannot go on; what is still queued will be written.
    fn ending(&mut self, shared: &Shared<Self::Protocol>, why: &Closed);

    /// The connection is over.
    fn closed(&mut self, shared: &Shared<Self::Protocol>, why: Closed);
}

/// What processing some input led to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// More than one waiting task was woken: worth letting them run before the next write.
    pub(crate) woke_many: bool,
    /// One was: worth it once much was read, or it would wait for all that is there.
    pub(crate) woke: bool,
    /// It was a caller, whose answer is here.
    pub(crate) answered: bool,
}

/// The future that drives a connection until it is over.
pub(crate) struct Driver<S: Side> {
    shared: Arc<Shared<S::Protocol>>,
    side: S,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    /// The driver went to the back of the run queue, so that others could append.
    yielded: bool,
    /// Input that waits because the outgoing buffer is full, or for the end of a call.
    stash: Bytes,
    /// The rest of a frame is still to come, as was seen before the last flush.
    within_frame: bool,
    /// How much is read next, unless it is known where it belongs.
    reach: Reach,
    timer: Timer,
    /// What the protocol asks the timer for, as the last flush saw it.
    due: Option<Option<Instant>>,
    /// The task that drives the connection, which others wake.
    task: Option<Waker>,
    /// Runs while the peer takes nothing of what waits to be written.
    stall: Option<Stall>,
    /// Set once the connection cannot go on.
    ending: Option<Box<Ending>>,
    /// The connection is over, and everybody knows.
    over: bool,
}

impl<S: Side> Driver<S> {
    pub(crate) fn new(
        shared: Arc<Shared<S::Protocol>>,
        side: S,
        reader: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Self {
        Self {
            shared,
            side,
            reader,
            yielded: false,
            stash: Bytes::new(),
            within_frame: false,
            reach: Reach::default(),
            timer: Timer::default(),
            due: None,
            task: None,
            stall: None,
            ending: None,
            over: false,
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        if self.ending.is_some() {
            cold_path();
            return self.poll_end(cx);
        }
        match buffer::with(|buffer| self.poll_work(buffer, cx)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(why) => {
                cold_path();
                self.stop(why, cx)
            }
        }
    }

    /// Works until there is nothing to do (`Pending`) or the connection has to end.
    fn poll_work(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Closed> {
        let yielded = std::mem::take(&mut self.yielded);
        let is_same = self.note_task(cx);
        let mut quiet = is_same && !yielded && self.shared.is_at_rest();
        if !(yielded || quiet) && self.has_flush_to_share() {
            return self.yield_now(cx);
        }
        let mut turn = ReadTurn::default();
        loop {
            let flushed = if std::mem::take(&mut quiet) {
                // Only what has arrived can be why this task was woken.
                Ok(Flushed::All)
            } else {
                self.flush(cx)
            };
            let flushed = match flushed {
                Ok(flushed) => flushed,
                Err(error) => {
                    cold_path();
                    return Poll::Ready(Closed::Io(error));
                }
            };
            if matches!(flushed, Flushed::Blocked | Flushed::Held) {
                cold_path();
                if self.poll_stall(cx).is_ready() {
                    return Poll::Ready(Closed::Io(io::ErrorKind::TimedOut.into()));
                }
            } else if flushed == Flushed::Finished {
                cold_path();
                return Poll::Ready(Closed::Finished);
            }
            let more = flushed == Flushed::Part;
            let reads = flushed != Flushed::Blocked || !S::READS_ONLY_WHEN_FLUSHED;
            let input = if reads {
                self.poll_input(buffer, &mut turn, cx)
            } else {
                Poll::Pending
            };
            match input {
                // The time counts only when all that has arrived is seen: a process that was paused
                // finds the answers in its socket before it finds its timers expired.
                Poll::Pending => match self.poll_timer(turn.now, cx) {
                    Ok(false) if !more && flushed != Flushed::More => return Poll::Pending,
                    Ok(false) if more => return self.yield_to_all(cx),
                    Ok(_) => cold_path(),
                    Err(error) => {
                        cold_path();
                        return Poll::Ready(Closed::Protocol(error));
                    }
                },
                // Between two pieces, and two long reads, others have their turn.
                Poll::Ready(Ok(_)) if more => return self.yield_to_all(cx),
                Poll::Ready(Ok(true)) => return self.yield_now(cx),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(why)) => {
                    cold_path();
                    return Poll::Ready(why);
                }
            }
        }
    }

    /// True if the task that drives the connection is the one that did.
    #[inline]
    fn note_task(&mut self, cx: &Context<'_>) -> bool {
        self.due = None;
        let task = self.task.as_ref();
        let is_same = task.is_some_and(|task| task.will_wake(cx.waker()));
        if !is_same {
            cold_path();
            self.task = Some(cx.waker().clone());
            self.timer.forget_task();
        }
        is_same
    }

    /// The connection has to end: says why, if there is somebody left to say it to.
    #[cold]
    fn stop(&mut self, why: Closed, cx: &mut Context<'_>) -> Poll<Closed> {
        if !matches!(why, Closed::Protocol(_) | Closed::Finished) {
            return Poll::Ready(why);
        }
        self.side.ending(&self.shared, &why);
        self.end(why, cx)
    }

    /// True if somebody appended and others may be about to.
    #[inline(never)]
    fn has_flush_to_share(&self) -> bool {
        self.shared.lock().has_flush_to_share()
    }

    /// Goes to the back of the run queue once; whoever appends meanwhile wakes nobody.
    #[inline(never)]
    fn yield_now(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.shared.arm(&mut self.shared.lock());
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// As [`yield_now`](Self::yield_now), and whoever waits for a stream is asked first: a run queue that
    /// is never empty is worked off for long before that.
    #[inline(never)]
    fn yield_to_all(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.shared.arm(&mut self.shared.lock());
        self.yielded = true;
        // It puts the waker aside until then.
        let mut yielding = std::pin::pin!(tokio::task::yield_now());
        let _ = yielding.as_mut().poll(cx);
        Poll::Pending
    }

    /// Nothing more is there to be read: reports what was, unless the rest of a frame is on its way,
    /// keeps the timer at what the protocol asks for, and tells it when that moment has come; true if
    /// there may be something to write. `seen` is the time as this turn has seen it, if it has.
    #[inline]
    fn poll_timer(
        &mut self,
        seen: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Result<bool, ConnectionError> {
        let due = self.due.take();
        if let Some(Some(due)) = due
            && seen.is_some_and(|seen| self.timer.is_ahead(due, seen))
        {
            return Ok(false);
        }
        cold_path();
        self.poll_timer_at(due, cx)
    }

    /// The same, with what the protocol asks the timer for, if that is known.
    #[inline(never)]
    fn poll_timer_at(
        &mut self,
        mut known: Option<Option<Instant>>,
        cx: &mut Context<'_>,
    ) -> Result<bool, ConnectionError> {
        let mut acted = false;
        loop {
            let due = match known.take() {
                Some(due) => due,
                None => self.report(&mut acted),
            };
            let Some(due) = due else {
                self.timer.stop();
                return Ok(acted);
            };
            if self.timer.poll_until(due, cx).is_pending() {
                return Ok(acted);
            }
            acted = true;
            self.side.handle_timeout(&self.shared, clock::now())?;
        }
    }

    /// Reports what was read, which is noted as an act; gives what the protocol asks the timer for.
    #[cold]
    fn report(&mut self, acted: &mut bool) -> Option<Instant> {
        let mut state = self.shared.lock();
        *acted |= !self.within_frame && state.protocol.outgoing().report_reading();
        state.timer = state.due();
        let (due, leftovers) = (state.timer, state.protocol.leftovers());
        drop(state);
        drop(leftovers);
        due
    }

    #[cold]
    fn finish(&mut self, why: Closed) {
        self.over = true;
        self.side.closed(&self.shared, why);
        self.shared.hang_up();
    }
}

impl<P: Protocol> State<P> {
    /// True if somebody appended and others may be about to.
    fn has_flush_to_share(&mut self) -> bool {
        self.armed && self.writer.is_some() && self.protocol.outgoing().has_turn()
    }
}

impl<P> State<P> {
    /// Remembers whom to wake when something is appended.
    fn register(&mut self, cx: &Context<'_>) {
        let known = self.driver.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            cold_path();
            self.driver = Some(cx.waker().clone());
        }
    }
}

impl<S: Side> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let why = std::task::ready!(this.poll_drive(cx));
        this.finish(why);
        Poll::Ready(())
    }
}

impl<S: Side> Drop for Driver<S> {
    /// A runtime that stops drops its tasks, and a stream of the user's may panic. Calls that wait
    /// on another runtime would wait for ever.
    fn drop(&mut self) {
        if !self.over {
            self.finish(Closed::Stopped);
        }
    }
}

impl<S: Side> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
