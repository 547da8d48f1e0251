//! Requests that arrive in pieces, and the streams behind requests and replies.

use super::{Answered, ServerConnection, ServerEvent, ServerRequest};
use crate::connection::assembly::{Added, Head, announced_length};
use crate::connection::streams::{Rest, check_row, item_batch_bytes_max, put_credit, read_end};
use crate::connection::{CallId, ConnectionError, LONG_FRAME, NO_SUCH_CALL, Streams, read_report};
use crate::wire::{Body, Flags, Header, Kind};
use crate::{Metadata, Status};

impl<T> ServerConnection<T> {
    /// The streams behind the requests and replies of this connection.
    #[inline]
    pub fn streams(&mut self) -> Streams<'_> {
        Streams {
            table: &mut self.streams,
            outgoing: &mut self.outgoing,
        }
    }

    /// Ends a call whose reply has items behind it, well. To be said only once
    /// [`Streams::can_end`].
    pub fn end_items(&mut self, call: CallId) {
        let header = Header::new(Kind::End, call.wire());
        self.outgoing.control(header, &[]);
        self.ended(call);
    }

    /// Takes no more items of a request, and lets the client send no more.
    pub fn stop_items(&mut self, call: CallId) {
        match self.streams.close_receiving(call.wire()) {
            Some(Rest::Unsent) => {
                self.forget_message(call);
                let header = Header::new(Kind::Cancel, call.wire());
                self.outgoing.control(header, &[]);
            }
            Some(Rest::Unconsumed(credit)) => put_credit(&mut self.outgoing, call, credit),
            None => {}
        }
    }

    /// Nobody wants what is in pieces of this call any more. Its client sends none of the rest, which
    /// is not late then.
    pub(super) fn forget_message(&mut self, call: CallId) {
        self.assemblies.forget(call.wire());
        if !self.is_within_message() {
            self.progress.note_frame();
        }
    }

    /// The reply is on its way, items will follow.
    pub(super) fn begin_items(&mut self, call: CallId) -> Answered {
        if self.streams.open_streams() >= self.config.streams_max as usize {
            // The reply says that items follow; an error instead of them is as good an end.
            return self.fail(call, &self.too_many_streams());
        }
        self.streams.open_sending(call.wire());
        self.watch_streams();
        Answered::Items
    }

    /// Begins to look for idle streams, if that is wanted.
    fn watch_streams(&mut self) {
        if self.idle_look.is_none()
            && let Some(timeout) = self.config.stream_idle_timeout
        {
            self.idle_look = self.now.checked_add(timeout);
        }
    }

    /// Ends the calls on whose streams nothing has happened since the last look.
    pub(super) fn end_idle_streams(&mut self, expired: &mut impl FnMut(T)) {
        if self.idle_look.is_none_or(|look| self.now < look) {
            return;
        }
        self.idle_look = None;
        for wire in self.streams.take_still() {
            let call = self.parked_id(wire);
            let Some((call, parked)) = call.and_then(|call| Some((call, self.forget(call)?)))
            else {
                continue;
            };
            let status = Status::deadline_exceeded("nothing happened on the streams of the call");
            self.fail(call, &status);
            expired(parked.data);
        }
        if self.streams.open_streams() > 0 {
            self.watch_streams();
        }
    }

    fn too_many_streams(&self) -> Status {
        Status::resource_exhausted(format!(
            "{} streams are open on this connection; that is the limit",
            self.streams.open_streams()
        ))
    }

    /// A request of which only the beginning is here; a status refuses it.
    pub(super) fn begin_long_request(
        &mut self,
        header: Header,
        request: &mut ServerRequest<'_>,
    ) -> Result<Result<(), Status>, ConnectionError> {
        if request.items
            && let Err(status) = self.admit_items(request)
        {
            return Ok(Err(status));
        }
        if request.more {
            let length = announced_length(&request.body)?;
            if length > self.config.message_bytes_max as usize {
                return Ok(Err(self.oversized(length)));
            }
            let metadata = Metadata::new();
            self.assemblies
                .begin(Head { header, metadata }, length, true)?;
            request.body = Body::Borrowed(&[]);
        }
        if request.items {
            self.streams.open_receiving(header.call);
            self.watch_streams();
        }
        Ok(Ok(()))
    }

    fn admit_items(&self, request: &ServerRequest<'_>) -> Result<(), Status> {
        if request.oneway {
            return Err(Status::invalid_argument("a oneway request has no streams"));
        }
        if self.streams.open_streams() >= self.config.streams_max as usize {
            return Err(self.too_many_streams());
        }
        Ok(())
    }

    /// The client does not want the rest of a reply: it gets an error in its place, unless all of it
    /// is on its way.
    pub(super) fn stop_reply(&mut self, call: CallId) {
        if self.outgoing.is_sending(call.wire()) {
            let status = Status::cancelled("cancelled by the caller");
            self.error(call, &status, Flags::NONE);
        }
    }

    pub(super) fn handle_piece<'a>(
        &mut self,
        wire: u32,
        piece: &[u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        self.outgoing.note_read(piece.len());
        let added = self.assemblies.add(wire, piece)?;
        self.handle_added(wire, added)
    }

    /// A piece, or a part of one, of which the bytes are where they belong.
    pub(super) fn handle_landed<'a>(
        &mut self,
        piece: Header,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        self.outgoing.note_read(piece.length as usize);
        let added = self.assemblies.landed(piece.call, piece.length as usize)?;
        self.handle_added(piece.call, added)
    }

    fn handle_added<'a>(
        &mut self,
        wire: u32,
        added: Added,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        let (head, bytes) = match added {
            Added::Part => return Ok(None),
            Added::Unknown => return self.skip_late(wire),
            Added::Whole(head, bytes) => (head, bytes.unwrap_or_default()),
        };
        let call = self.parked_id(wire);
        if head.header.kind == Kind::Item {
            check_row(&bytes, self.config.message_bytes_max as usize)?;
            return Ok(call.map(|call| ServerEvent::Items(call, Body::Owned(bytes))));
        }
        Ok(call.map(|call| ServerEvent::Body(call, bytes)))
    }

    pub(super) fn handle_item_frame<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if !header.flags.contains(Flags::MORE) {
            return self.handle_items(header, body);
        }
        let length = announced_length(&body)?;
        if length > item_batch_bytes_max(self.config.message_bytes_max) {
            return Err(LONG_FRAME);
        }
        if self.streams.is_receiving(header.call) {
            let metadata = Metadata::new();
            self.assemblies
                .begin(Head { header, metadata }, length, true)?;
            self.streams.receiving_row(header, length, self.now)?;
            return Ok(None);
        }
        self.skip_late(header.call)
    }

    fn handle_items<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        let wire = header.call;
        if !self.streams.is_receiving(wire) {
            return self.skip_late(wire);
        }
        self.assemblies.check_complete(wire)?;
        let item_bytes_max = self.config.message_bytes_max as usize;
        self.streams
            .received(header, &body, item_bytes_max, self.now)?;
        let call = self.parked_id(wire);
        Ok(call.map(|call| ServerEvent::Items(call, body)))
    }

    /// The stream behind a request has ended.
    pub(super) fn handle_end<'a>(
        &mut self,
        header: Header,
        body: &[u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if !self.streams.is_receiving(header.call) {
            return self.skip_late(header.call);
        }
        self.assemblies.check_complete(header.call)?;
        self.streams.end_receiving(header.call);
        let end = read_end(header, body);
        let call = self.parked_id(header.call);
        Ok(call.map(|call| ServerEvent::ItemsEnded(call, end)))
    }

    /// Items, or their end, of a stream that is over here.
    fn skip_late<E>(&self, wire: u32) -> Result<Option<E>, ConnectionError> {
        if self.ids.recent(wire).is_none() || wire == 0 {
            return Err(NO_SUCH_CALL);
        }
        Ok(None)
    }

    pub(super) fn handle_credit<'a>(
        &mut self,
        wire: u32,
        body: &[u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if wire == 0 {
            if read_report(&mut self.outgoing, body, self.now)? {
                self.floods.note_control(self.now)?;
            }
            return Ok(None);
        }
        if self.streams.credited(wire, body)? {
            self.floods.note_control(self.now)?;
        }
        let sending = self.streams.is_sending(wire);
        if !sending {
            return self.skip_late(wire);
        }
        let call = self.parked_id(wire);
        Ok(call.map(ServerEvent::Credited))
    }
}
