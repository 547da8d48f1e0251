//! Calls that this side no longer waits for.

use super::{ClientConnection, State};
use crate::connection::CallId;
use crate::wire::{Header, Kind};

impl<T> ClientConnection<T> {
    /// Gives back the data of a call and forgets the call. If no answer has come, the server is
    /// told to cancel it.
    #[inline]
    pub fn release(&mut self, call: CallId) -> Option<T> {
        let (data, open) = self.calls.remove(call)?;
        if open {
            self.cancel(call);
        }
        Some(data)
    }

    #[cold]
    fn cancel(&mut self, call: CallId) {
        if !matches!(self.state, State::Closed) {
            self.give_up(call);
            self.cancels.push(call);
            self.send_cancels();
        }
    }

    /// This side waits no longer for the answer to a call, but it may still come.
    pub(super) fn give_up(&mut self, call: CallId) {
        self.given_up += 1;
        self.outgoing.cut(call.wire());
        self.extras.assemblies().ignore(call.wire());
        self.extras.streams().close_receiving(call.wire());
        self.extras.streams().end_sending(call.wire());
    }

    /// Ends every open call with an id above `last` without an answer; `each` sees its data, which
    /// stays until [`release`](Self::release).
    pub fn close_above(&mut self, last: u64, mut each: impl FnMut(&mut T)) {
        let mut ended = Vec::new();
        self.calls.close_above(last, |call, data, _| {
            ended.push(call);
            each(data);
        });
        // The server may still answer them, if only to say that it did not process them.
        ended.into_iter().for_each(|call| self.give_up(call));
    }

    /// True if a cancel waits; only calls that were given up have one.
    #[inline]
    pub(super) fn has_cancels(&self) -> bool {
        self.given_up > 0 && self.cancels.waiting() > 0
    }

    /// Sends as many cancels as the pace allows.
    #[cold]
    pub(super) fn send_cancels(&mut self) {
        while let Some(call) = self.cancels.next(self.now) {
            self.outgoing.control(Header::new(Kind::Cancel, call), &[]);
        }
    }
}
