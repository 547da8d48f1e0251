//! The streams behind requests and replies.

use bytes::Bytes;

use super::{ClientConnection, ClientEvent};
use crate::connection::assembly::{Head, announced_length};
use crate::connection::streams::{check_row, item_batch_bytes_max, put_end};
use crate::connection::{CallId, ConnectionError, LONG_FRAME, NO_SUCH_CALL, Streams, read_report};
use crate::wire::{Body, Flags, Header};
use crate::{Metadata, Status};

impl<T> ClientConnection<T> {
    /// The streams behind the requests and replies of this connection.
    #[inline]
    pub fn streams(&mut self) -> Streams<'_> {
        Streams {
            table: self.extras.streams(),
            outgoing: &mut self.outgoing,
        }
    }

    /// Ends the stream behind a request: well, or with why there are no more items. To be said only
    /// once [`Streams::can_end`].
    pub fn end_items(&mut self, call: CallId, end: Result<(), &Status>) {
        if self.extras.streams().end_sending(call.wire()) {
            put_end(&mut self.outgoing, call, end);
        }
    }

    pub(super) fn handle_item_frame<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        if !header.flags.contains(Flags::MORE) {
            return self.handle_items(header, body);
        }
        let length = announced_length(&body)?;
        if length > item_batch_bytes_max(self.config.message_bytes_max) {
            return Err(LONG_FRAME);
        }
        if self.extras.streams().is_receiving(header.call) {
            let metadata = Metadata::new();
            self.extras
                .assemblies()
                .begin(Head { header, metadata }, length, true)?;
            self.extras
                .streams()
                .receiving_row(header, length, self.now)?;
            return Ok(None);
        }
        self.skip_items(header.call)
    }

    fn handle_items<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        let call = header.call;
        let Some(open) = self.calls.find_open(call) else {
            return self.skip_items(call);
        };
        self.extras.assemblies().check_complete(call)?;
        let item_bytes_max = self.config.message_bytes_max as usize;
        self.extras
            .streams()
            .received(header, &body, item_bytes_max, self.now)?;
        Ok(Some(ClientEvent::Items(open, body)))
    }

    /// A row of items that came in pieces.
    pub(super) fn handle_row(
        &self,
        call: u32,
        row: Option<Bytes>,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        let (Some(open), Some(row)) = (self.calls.find_open(call), row) else {
            return Ok(None);
        };
        check_row(&row, self.config.message_bytes_max as usize)?;
        Ok(Some(ClientEvent::Items(open, Body::Owned(row))))
    }

    /// Items that came too late for their stream.
    fn skip_items<E>(&self, call: u32) -> Result<Option<E>, ConnectionError> {
        if self.calls.find_open(call).is_some() {
            return Err(ConnectionError::Violation("items of no stream"));
        }
        if self.calls.is_used(call) {
            return Ok(None);
        }
        Err(NO_SUCH_CALL)
    }

    /// The stream behind a reply, and with it the call, has ended well.
    pub(super) fn handle_end(
        &mut self,
        wire: u32,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        self.extras.assemblies().check_complete(wire)?;
        let Some(call) = self.calls.find_open(wire) else {
            return self.handle_late_answer(wire);
        };
        if !self.extras.streams().is_receiving(wire) {
            return Err(ConnectionError::Violation("the end of no stream"));
        }
        self.calls.close(wire);
        self.forget_streams(wire);
        Ok(Some(ClientEvent::Ended(call)))
    }

    pub(super) fn handle_credit(
        &mut self,
        wire: u32,
        body: &[u8],
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        if wire == 0 {
            if read_report(&mut self.outgoing, body, self.now)? {
                self.note_control()?;
            }
            return Ok(None);
        }
        if self.extras.streams().credited(wire, body)? {
            self.note_control()?;
        }
        if !self.calls.is_used(wire) {
            return Err(NO_SUCH_CALL);
        }
        let open = self.calls.find_open(wire);
        let call = open.filter(|_| self.extras.streams().is_sending(wire));
        Ok(call.map(ClientEvent::Credited))
    }

    /// The server wants no more items of a request.
    pub(super) fn handle_stop(
        &mut self,
        wire: u32,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        if !self.calls.is_used(wire) {
            return Err(NO_SUCH_CALL);
        }
        let was_sending = self.extras.streams().is_sending(wire);
        self.extras.streams().close_sending(wire);
        if !was_sending {
            return Ok(None);
        }
        self.outgoing.cut(wire);
        Ok(self.calls.find_open(wire).map(ClientEvent::Stopped))
    }

    /// True if any call has a stream, or a message in pieces either way.
    #[inline]
    pub(super) fn has_parts(&mut self) -> bool {
        !self.extras.is_empty() || self.outgoing.has_large()
    }

    /// A reply that is the end of its call must not come in the middle of another.
    #[cold]
    pub(super) fn end_parts(&mut self, wire: u32) -> Result<(), ConnectionError> {
        self.check_first_reply(wire)?;
        self.forget_streams(wire);
        Ok(())
    }

    pub(super) fn check_first_reply(&mut self, wire: u32) -> Result<(), ConnectionError> {
        self.extras.assemblies().check_complete(wire)?;
        if self.extras.streams().is_receiving(wire) {
            return Err(ConnectionError::Violation("a second reply"));
        }
        Ok(())
    }

    /// Nothing more is expected of the streams of a call.
    #[inline]
    pub(super) fn forget_streams(&mut self, wire: u32) {
        self.extras.forget(wire);
        self.outgoing.cut(wire);
    }
}
