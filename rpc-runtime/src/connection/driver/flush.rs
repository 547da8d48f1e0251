//! What the driver writes, and how it leaves the connection before it sleeps.
//!
//! Most turns write everything and sleep: that is one way straight on, of which all others branch off.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use rpc_core::hint::cold_path;

use super::{Driver, Side};
use crate::connection::{MutexGuard, Protocol, Shared, State, wake_both};

/// How far the driver got with writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is written.
    All,
    /// Everything but large bodies, of which some is written.
    Part,
    /// Everything but what was appended meanwhile: worth a look at what has arrived first, so that it
    /// finds company.
    More,
    /// Everything but large bodies, which wait until the peer has read more of them.
    Held,
    /// The stream takes no more, and wakes the driver when it does.
    Blocked,
    /// Everything is written, and the connection is to end now.
    Finished,
}

/// What a flush finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Everything is written.
    Nothing,
    /// Large bodies that wait for their reader.
    Held,
    /// Something that can be written now, or passed on.
    Turn,
}

/// How a flush leaves the connection.
struct Settled {
    flushed: Flushed,
    /// What the protocol asks the timer for, unless it is asked later.
    due: Option<Option<Instant>>,
}

impl<S: Side> Driver<S> {
    /// Writes all there is now, but no more than a piece of large bodies.
    #[inline]
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Flushed> {
        self.due = None;
        let mut state = self.shared.lock();
        self.within_frame = state.protocol.arriving().is_within_frame();
        state.driver_is_due = false;
        state.protocol.anchor();
        let mut waiting = state.waiting();
        if waiting == Waiting::Turn && state.writer.is_some() {
            self.shared.note_rest(false);
            let (after, written) = self.shared.write_turn(state, cx);
            state = after;
            match written {
                Some(Poll::Pending) => {
                    cold_path();
                    // The stream wakes this task; appending alone is enough until then.
                    state.armed = true;
                    state.register(cx);
                    return Ok(match state.protocol.is_abandoned() {
                        true => Flushed::Finished,
                        false => Flushed::Blocked,
                    });
                }
                Some(Poll::Ready(Err(error))) => {
                    cold_path();
                    return Err(error);
                }
                Some(Poll::Ready(Ok(()))) | None => waiting = state.waiting(),
            }
            if waiting == Waiting::Turn {
                cold_path();
                return Ok(match state.protocol.outgoing().has_chunks() {
                    _ if state.protocol.is_abandoned() => Flushed::Finished,
                    true => Flushed::Part,
                    false => Flushed::More,
                });
            }
        }
        if waiting != Waiting::Held && self.stall.is_some() {
            cold_path();
            self.stall = None;
        }
        let settled = self.shared.settle(state, waiting, self.within_frame, cx);
        self.due = settled.due;
        Ok(settled.flushed)
    }
}

impl<P: Protocol> Shared<P> {
    /// Nothing can be written now: most often the driver sleeps next.
    #[inline]
    fn settle(
        &self,
        mut state: MutexGuard<'_, State<P>>,
        waiting: Waiting,
        within_frame: bool,
        cx: &Context<'_>,
    ) -> Settled {
        let nothing = waiting == Waiting::Nothing;
        // Without a writer, the caller that has it writes the rest or wakes this task.
        state.armed = waiting == Waiting::Turn;
        state.register(cx);
        let finished = match waiting {
            Waiting::Nothing => state.protocol.is_finished(),
            Waiting::Held => state.protocol.is_abandoned(),
            Waiting::Turn => false,
        };
        let at_rest = nothing && !finished && !state.driver_is_due;
        self.note_rest(at_rest && state.writer.is_some());
        let waiters = match nothing {
            true => state.protocol.handle_flushed(),
            false => [None, None],
        };
        let (mut due, mut leftovers) = (None, Vec::new());
        if within_frame || !state.protocol.outgoing().has_to_report() {
            // It need not come back for that.
            state.timer = state.due();
            due = Some(state.timer);
            leftovers = state.protocol.leftovers();
        }
        drop(state);
        if !leftovers.is_empty() {
            cold_path();
            drop(leftovers);
        }
        wake_both(waiters);
        let flushed = match waiting {
            _ if finished => Flushed::Finished,
            Waiting::Held => Flushed::Held,
            Waiting::Nothing | Waiting::Turn => Flushed::All,
        };
        Settled { flushed, due }
    }
}

impl<P: Protocol> State<P> {
    #[inline]
    fn waiting(&mut self) -> Waiting {
        let outgoing = self.protocol.outgoing();
        if self.unflushed || outgoing.has_turn() {
            return Waiting::Turn;
        }
        if outgoing.is_empty() {
            return Waiting::Nothing;
        }
        cold_path();
        Waiting::Held
    }
}
