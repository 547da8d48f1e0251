//! The streams of a connection, as those who produce and consume their items see them.

use std::task::{Context, Poll, Waker};

use rpc_core::connection::{CallId, Sent, Streams};
use rpc_core::wire::Batch;

use super::{MutexGuard, Protocol, Shared, State, Turns};
use crate::stream::Uplink;

/// A protocol state machine whose calls have streams.
pub(crate) trait Carrier: Protocol {
    /// What the core has of them.
    fn streams(&mut self) -> Streams<'_>;
    /// Who waits for the writer.
    fn turns(&mut self) -> &mut Turns;
    /// Wakes this task when the peer has taken items of the call.
    fn await_credit(&mut self, call: CallId, waker: &Waker);
    /// The longest item that the peer accepts.
    fn item_bytes_max(&self) -> usize;
    /// How soon something is to be written that was appended for a call.
    fn flush(&self, call: CallId) -> Flush;

    /// Lines up this task for the writer. Not that of the connection, which polls a handler for the first
    /// time: the handler gets a task of its own, which lines up before anything is written.
    fn await_turn(&mut self, call: CallId, waker: &Waker) {
        if self.flush(call) != Flush::ByItself {
            self.turns().wait(call, waker);
        }
    }
}

/// How soon something is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// At once: nobody else is likely to append anything.
    Now,
    /// With what others append meanwhile.
    Soon,
    /// The task of the connection is at work, and flushes by itself.
    ByItself,
}

impl<P: Carrier> Shared<P> {
    /// Lets an end of a stream say something, and sees to it that it is written.
    pub(crate) fn say<R>(&self, call: CallId, say: impl FnOnce(&mut P) -> R) -> R {
        let mut state = self.lock();
        let said = say(&mut state.protocol);
        let flush = state.protocol.flush(call);
        self.said(state, flush);
        said
    }

    /// Sees to it that items are written, for which nobody waits whom this side knows of.
    fn sent(&self, mut state: MutexGuard<'_, State<P>>, call: CallId) {
        let flush = match state.protocol.flush(call) {
            Flush::Now if !state.is_lone() => Flush::Soon,
            flush => flush,
        };
        self.said(state, flush);
    }

    /// After something may have been appended.
    fn said(&self, mut state: MutexGuard<'_, State<P>>, flush: Flush) {
        let next = if state.protocol.streams().writer_keeps_up() {
            state.protocol.turns().next()
        } else {
            None
        };
        match flush {
            // A cancel may have to wait for its turn.
            _ if state.protocol.outgoing().is_empty() => self.watch_timer(state),
            Flush::ByItself => drop(state),
            flush => self.flush_soon(state, flush == Flush::Now),
        }
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<P: Carrier> Uplink for Shared<P> {
    fn send(&self, call: CallId, batch: &mut Batch, cx: &mut Context<'_>) -> Sent {
        let mut state = self.lock();
        let protocol = &mut state.protocol;
        let sent = if protocol.turns().admits(call) {
            protocol.streams().send(call, batch)
        } else {
            Sent::AwaitsWriter
        };
        match sent {
            Sent::AwaitsWriter => {
                // Nothing was appended, and the turn is not passed on: streams that all wait for
                // their own rows to be written would pass it around until that has happened.
                protocol.await_turn(call, cx.waker());
                return sent;
            }
            Sent::AwaitsCredit => protocol.await_credit(call, cx.waker()),
            _ => {}
        }
        state.protocol.turns().come(call);
        // More may follow at once, unless a long row has to be written first or somebody stands in
        // line.
        let more = sent == Sent::All && state.protocol.streams().takes_alike(call);
        if !more || !state.protocol.turns().is_empty() {
            self.sent(state, call);
        }
        sent
    }

    fn flush(&self, call: CallId) {
        self.sent(self.lock(), call);
    }

    fn poll_end(&self, call: CallId, cx: &mut Context<'_>) -> Poll<()> {
        let protocol = &mut self.lock().protocol;
        if protocol.streams().can_end(call) {
            protocol.turns().come(call);
            return Poll::Ready(());
        }
        protocol.await_turn(call, cx.waker());
        Poll::Pending
    }

    fn item_bytes_max(&self) -> usize {
        self.lock().protocol.item_bytes_max()
    }

    fn leave(&self, call: CallId) {
        let mut state = self.lock();
        let waker = state.protocol.turns().leave(call);
        let next = if state.protocol.streams().writer_keeps_up() {
            state.protocol.turns().next()
        } else {
            None
        };
        drop(state);
        drop(waker);
        if let Some(next) = next {
            next.wake();
        }
    }
}
