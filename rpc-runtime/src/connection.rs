//! One connection at work: a protocol state under a lock, a task that moves its bytes.
//!
//! Who writes? Whoever finds nobody else about to. A caller alone on its connection writes its
//! request by itself; with company, the [`driver`] is woken once, lets every ready task append, and
//! writes everything in one system call.
//!
//! The lock is never held during a system call: the bytes and the writer are taken out together,
//! and whoever holds the writer is the one who writes.

mod buffer;
mod driver;
mod lock;
mod row;
mod streams;
mod turns;
mod writing;

pub(crate) use driver::{Closed, Driver, Progress, Side};
pub(crate) use lock::{AtomicState, MutexGuard};
pub(crate) use streams::{Carrier, Flush};
pub(crate) use turns::Turns;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use rpc_core::connection::Arriving;
use rpc_core::hint::cold_path;
use rpc_core::wire::{Flat, Outgoing};
use tokio::io::AsyncWrite;

use self::lock::{AtomicBool, Mutex};
use self::row::Row;
use crate::clock;

/// A protocol state machine, of either end.
pub(crate) trait Protocol: Send + 'static {
    /// What waits to be written.
    fn outgoing(&mut self) -> &mut Outgoing;
    /// What has arrived of a frame that is not complete.
    fn arriving(&mut self) -> Arriving<'_>;
    /// Starts the timeouts that wait to be told the time.
    fn anchor(&mut self) {}
    /// When the driver has to act because of the time.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The peer took some of a great deal of bytes: it is there.
    fn handle_progress(&mut self, now: Instant);
    /// True when the connection is to end as soon as everything is written.
    fn is_finished(&self) -> bool;
    /// True when the connection is to end now, whatever waits to be written.
    fn is_abandoned(&self) -> bool;
    /// True while nothing more is to be read, until somebody wakes the driver.
    fn is_paused(&mut self) -> bool {
        false
    }
    /// What waited was taken out to be written: the task to wake because it waits for that.
    fn handle_taken(&mut self) -> Option<Waker>;
    /// The driver is about to sleep: wakers that are not needed until it is woken, to be dropped without
    /// the lock.
    fn leftovers(&mut self) -> Vec<Option<Waker>> {
        Vec::new()
    }
    /// Everything is written: the tasks to wake because they wait for that.
    fn handle_flushed(&mut self) -> [Option<Waker>; 2];
}

type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection as its driver, its callers and its handlers share it.
pub(crate) struct Shared<P> {
    state: Mutex<State<P>>,
    /// The driver sleeps, and would find nothing to flush: what has arrived is all that it can be woken
    /// for. Written under the lock; whoever makes it false wakes the driver after that.
    at_rest: AtomicBool,
}

pub(crate) struct State<P> {
    pub(crate) protocol: P,
    /// Absent while somebody writes.
    writer: Option<Writer>,
    /// The writer took everything, and has not passed all of it on; or it has failed, which the driver is
    /// to see.
    unflushed: bool,
    /// Somebody has taken on the next flush: appending is enough.
    armed: bool,
    /// What was appended lately that nobody waits for.
    row: Row,
    /// Present while the driver sleeps.
    driver: Option<Waker>,
    /// The driver will run before anything else happens to the connection, and anchor timeouts.
    driver_is_due: bool,
    /// What the timer of the driver is set to.
    timer: Option<Instant>,
    /// The driver says the last words: it wants the writer as soon as it is back.
    ending: bool,
    /// The connection is over: there is nothing to write to any more.
    over: bool,
}

impl<P: Protocol> Shared<P> {
    /// Writes in a row that a caller does for others before the driver takes over.
    const LONE_WRITES_MAX: usize = 4;

    pub(crate) fn new(protocol: P, writer: Writer) -> Self {
        Self {
            state: Mutex::new(State {
                protocol,
                writer: Some(writer),
                unflushed: false,
                armed: false,
                row: Row::default(),
                driver: None,
                driver_is_due: false,
                timer: None,
                ending: false,
                over: false,
            }),
            at_rest: AtomicBool::new(false),
        }
    }

    /// As the driver left it, unless somebody has something for it to do.
    #[inline]
    fn is_at_rest(&self) -> bool {
        self.at_rest.load(Acquire)
    }

    fn note_rest(&self, at_rest: bool) {
        self.at_rest.store(at_rest, Release);
    }

    /// Lets callers append without waking the driver: it is about to flush.
    pub(crate) fn arm(&self, state: &mut State<P>) {
        self.note_rest(false);
        state.armed = true;
        state.driver_is_due = true;
    }

    /// The state stays consistent even if a user's `Serialize` panics under the lock: a frame that is
    /// not finished is removed again.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an append: sees to it that it is written, at once if the caller is `alone`.
    #[inline]
    pub(crate) fn flush_soon(&self, mut state: MutexGuard<'_, State<P>>, alone: bool) {
        // A call may have a deadline before all others.
        let late = state.timer_is_late();
        if alone && !state.armed {
            return self.flush_alone(state, late);
        }
        if !std::mem::replace(&mut state.armed, true) || late {
            self.wake_driver(state);
        }
    }

    /// As [`flush_soon`](Self::flush_soon), for a caller with company and without a deadline of its
    /// own: the timer of the driver is right as it is.
    #[inline]
    pub(crate) fn flush_with_others(&self, mut state: MutexGuard<'_, State<P>>) {
        if !std::mem::replace(&mut state.armed, true) {
            self.wake_driver(state);
        }
    }

    /// Writes without waiting; the driver does what is left, and is woken for its timer if that is `late`.
    #[inline]
    fn flush_alone<'a>(&'a self, mut state: MutexGuard<'a, State<P>>, late: bool) {
        state.armed = true;
        for _ in 0..Self::LONE_WRITES_MAX {
            // If the stream is full, the driver asks again and is woken.
            let mut cx = Context::from_waker(Waker::noop());
            let (after, written) = self.write_turn(state, &mut cx);
            state = after;
            if state.over || state.ending || !matches!(written, Some(Poll::Ready(Ok(())))) {
                break;
            }
            // A driver that had to wait for this write could not end the connection.
            if state.protocol.is_finished() {
                break;
            }
            if state.protocol.outgoing().is_empty() {
                state.armed = false;
                let waiters = state.protocol.handle_flushed();
                // It may sleep, and have left a report out for all that was to be written.
                if late || state.protocol.outgoing().has_to_report() {
                    cold_path();
                    self.wake_driver(state);
                } else {
                    drop(state);
                }
                return wake_both(waiters);
            }
            if !state.protocol.outgoing().has_turn() {
                // The driver goes on when the peer has read more.
                break;
            }
        }
        self.wake_driver(state);
    }

    /// Writes what there is while the driver has more to process, unless somebody else writes or the
    /// stream is full. What is not written, for whatever reason, the driver meets again when it flushes.
    pub(crate) fn write_between<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P>>,
        cx: &mut Context<'_>,
    ) -> MutexGuard<'a, State<P>> {
        if state.unflushed || !state.protocol.outgoing().has_turn() {
            return state;
        }
        self.write_turn(state, cx).0
    }

    /// Takes a turn out and writes it without the lock; nothing if somebody else has the writer.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a process most often writes from one of three places, and what is written is large to hand on"
    )]
    fn write_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P>>,
        cx: &mut Context<'_>,
    ) -> (MutexGuard<'a, State<P>>, Option<Poll<io::Result<()>>>) {
        let Some(mut writer) = state.writer.take() else {
            return (state, None);
        };
        let Some(mut flat) = state.protocol.outgoing().take_flat() else {
            return self.write_mixed_turn(state, writer, cx);
        };
        let taken = state.protocol.handle_taken();
        drop(state);
        if let Some(taken) = taken {
            writing::wake(taken);
        }
        let written = writing::contained(&mut writer, &mut flat, |writer, flat| {
            poll_write_flat(writer, flat, cx)
        });
        let mut state = self.lock();
        if state.over {
            cold_path();
            return (state, Some(written));
        }
        state.protocol.outgoing().give_back(flat);
        state.end_turn(writer, &written);
        (state, Some(written))
    }

    /// The same with large bodies.
    #[inline(never)]
    fn write_mixed_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P>>,
        mut writer: Writer,
        cx: &mut Context<'_>,
    ) -> (MutexGuard<'a, State<P>>, Option<Poll<io::Result<()>>>) {
        let mut outgoing = state.take_turn();
        let taken = state.protocol.handle_taken();
        drop(state);
        if let Some(taken) = taken {
            writing::wake(taken);
        }
        let written = writing::contained(&mut writer, &mut outgoing, |writer, outgoing| {
            poll_write_all(writer, outgoing, cx)
        });
        let mut state = self.lock();
        if !state.over {
            state.protocol.outgoing().prepend(outgoing);
            state.end_turn(writer, &written);
        }
        (state, Some(written))
    }

    /// Wakes the driver if its timer would come too late.
    pub(crate) fn watch_timer(&self, state: MutexGuard<'_, State<P>>) {
        if state.timer_is_late() {
            self.wake_driver(state);
        }
    }

    /// Lets go of the stream: the peer sees its end now, not when the last caller or handler lets go
    /// of the connection.
    fn hang_up(&self) {
        let mut state = self.lock();
        state.over = true;
        let writer = state.writer.take();
        drop(state);
        drop(writer);
    }

    /// Makes the driver look at the state: it is to end, or to act on a change.
    #[inline(never)]
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State<P>>) {
        self.note_rest(false);
        let driver = state.driver.take();
        state.driver_is_due = true;
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl<P: Protocol> State<P> {
    /// As much is written at once, whatever follows.
    const WRITE_BYTES_MIN: usize = 4 * 1024;

    /// True if the driver is about to flush, and to look at the time before it sleeps: appending is
    /// enough.
    #[inline]
    pub(crate) const fn is_attended(&self) -> bool {
        self.armed && self.driver_is_due
    }

    /// True if what was appended, and nobody waits for, is worth a write by itself.
    pub(crate) fn is_lone(&mut self) -> bool {
        if self.armed {
            self.row.note_joined();
            return false;
        }
        self.protocol.outgoing().len() >= Self::WRITE_BYTES_MIN || self.row.is_lone()
    }

    /// Starts the timeout of a new call, unless the driver is about to do it for all that begin
    /// meanwhile: asking for the time costs as much as a tenth of a call.
    #[inline]
    pub(crate) fn anchor_soon(&mut self) {
        if !self.driver_is_due {
            self.protocol.anchor();
        }
    }

    /// What is to be written now.
    #[inline]
    fn take_turn(&mut self) -> Outgoing {
        let outgoing = self.protocol.outgoing();
        if outgoing.has_chunks() {
            outgoing.note_time(clock::now());
        }
        outgoing.take()
    }

    /// The writer is back.
    #[inline]
    fn end_turn(&mut self, writer: Writer, written: &Poll<io::Result<()>>) {
        if let Some(other) = self.writer.replace(writer) {
            cold_path();
            drop(other);
        }
        self.unflushed = !matches!(written, Poll::Ready(Ok(())));
    }

    /// When the driver has to act because of the time. Asked by callers and by the driver, in one place.
    #[inline(never)]
    fn due(&self) -> Option<Instant> {
        self.protocol.poll_timeout()
    }

    /// True if the driver's timer would come too late; the driver is to be woken then.
    #[inline]
    fn timer_is_late(&self) -> bool {
        match (self.due(), self.timer) {
            (Some(due), Some(timer)) => due < timer,
            (due, None) => due.is_some(),
            (None, Some(_)) => false,
        }
    }
}

impl<P> fmt::Debug for Shared<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Most often there is nobody to wake.
#[inline]
fn wake_both([one, other]: [Option<Waker>; 2]) {
    if let Some(waker) = one {
        cold_path();
        waker.wake();
    }
    if let Some(waker) = other {
        cold_path();
        waker.wake();
    }
}

/// Writes and flushes until nothing is left or the stream is full.
fn poll_write_all(
    writer: &mut Writer,
    outgoing: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !outgoing.is_empty() {
        match poll_write_some(writer, outgoing, cx) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => outgoing.advance(count),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Pin::new(writer).poll_flush(cx)
}

/// The same for a turn without large bodies.
#[inline]
fn poll_write_flat(
    writer: &mut Writer,
    flat: &mut Flat,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !flat.is_empty() {
        match ready!(Pin::new(&mut *writer).poll_write(cx, flat.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => flat.advance(count),
        }
    }
    Pin::new(writer).poll_flush(cx)
}

/// Writes what one system call takes.
fn poll_write_some(
    writer: &mut Writer,
    outgoing: &Outgoing,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let writer = Pin::new(&mut *writer);
    if !outgoing.has_chunks() || !writer.is_write_vectored() {
        return writer.poll_write(cx, outgoing.chunk());
    }
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let count = outgoing.chunks(&mut slices);
    writer.poll_write_vectored(cx, &slices[..count])
}

/// What one vectored write takes: the buffer, a header and what a piece may be made of.
const SLICES_MAX: usize = 16;
