//! Replies that arrive in pieces, or with items behind them.

use super::incoming::{failed, parts};
use super::{ClientConnection, ClientEvent};
use crate::connection::assembly::{Added, Head, announced_length};
use crate::connection::{CallId, ConnectionError, NO_SUCH_CALL};
use crate::wire::{Body, Flags, Header, Kind};
use crate::{Metadata, Status};

const REPLY_FLAGS: Flags = Flags::METADATA.with(Flags::MORE).with(Flags::ITEMS);

impl<T> ClientConnection<T> {
    /// A reply with flags beyond that of metadata.
    #[cold]
    pub(super) fn handle_long_reply<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        if header.flags.exceeds(REPLY_FLAGS) {
            return Err(ConnectionError::Violation("a reply with an undefined flag"));
        }
        self.check_first_reply(header.call)?;
        let (metadata, body) = match parts(header, body) {
            Ok(parts) => parts,
            Err(status) => return self.handle_unreadable_reply(header, status),
        };
        if !header.flags.contains(Flags::MORE) {
            return self.handle_reply(header, metadata, body);
        }
        let length = announced_length(&body)?;
        let open = self.calls.find_open(header.call);
        let late = self.extras.assemblies().unwanted() as u64;
        if open.is_none() && late > self.given_up + Self::UNKNOWN_REPLIES_MAX {
            return Err(ConnectionError::Violation(
                "replies to calls that are not open",
            ));
        }
        // Where nobody waits, the end of the last piece is the late answer.
        let fits = length <= self.config.message_bytes_max as usize;
        let wanted = open.is_some() && fits;
        let metadata = if wanted { metadata } else { Metadata::new() };
        self.extras
            .assemblies()
            .begin(Head { header, metadata }, length, wanted)?;
        Ok(open.filter(|_| !fits).map(|call| {
            self.cancel_unread(call);
            failed(call, self.oversized_reply(length))
        }))
    }

    /// A reply that is complete.
    fn handle_reply<'a>(
        &mut self,
        header: Header,
        metadata: Metadata,
        body: Body<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        let items = header.flags.contains(Flags::ITEMS);
        let Some(call) = self.calls.find_open(header.call) else {
            // With items behind it, the reply is not the end of the call.
            return match items {
                true if self.calls.is_used(header.call) => Ok(None),
                true => Err(NO_SUCH_CALL),
                false => self.handle_late_answer(header.call),
            };
        };
        if items {
            self.extras.streams().open_receiving(header.call);
        } else {
            self.calls.close(header.call);
            self.forget_streams(header.call);
        }
        let mut event = self.replied(call, metadata, body);
        match &mut event {
            ClientEvent::Replied(_, reply) => reply.items = items,
            _ if items => self.cancel_unread(call),
            _ => {}
        }
        Ok(Some(event))
    }

    /// Ends a call whose reply has malformed metadata.
    fn handle_unreadable_reply(
        &mut self,
        header: Header,
        status: Status,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        if header.flags.contains(Flags::MORE) {
            return Err(ConnectionError::Violation(
                "a reply in pieces that is malformed",
            ));
        }
        // Items follow: the end of their stream is the end of the call.
        let call = self.calls.find_open(header.call);
        call.into_iter().for_each(|call| self.cancel_unread(call));
        Ok(call.map(|call| failed(call, status)))
    }

    /// Ends a call here that the server is not done with.
    pub(super) fn cancel_unread(&mut self, call: CallId) {
        self.calls.close(call.wire());
        self.give_up(call);
        self.cancels.push(call);
        self.send_cancels();
    }

    pub(super) fn handle_piece<'a>(
        &mut self,
        call: u32,
        piece: &[u8],
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        self.outgoing.note_read(piece.len());
        let added = self.extras.assemblies().add(call, piece)?;
        self.handle_added(call, added)
    }

    /// A piece, or a part of one, of which the bytes are where they belong.
    pub(super) fn handle_landed<'a>(
        &mut self,
        piece: Header,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        self.outgoing.note_read(piece.length as usize);
        let added = self
            .extras
            .assemblies()
            .landed(piece.call, piece.length as usize)?;
        self.handle_added(piece.call, added)
    }

    fn handle_added<'a>(
        &mut self,
        call: u32,
        added: Added,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        match added {
            Added::Part => Ok(None),
            Added::Unknown if self.calls.is_used(call) => Ok(None),
            Added::Unknown => Err(NO_SUCH_CALL),
            Added::Whole(Head { header, .. }, row) if header.kind == Kind::Item => {
                self.handle_row(call, row)
            }
            Added::Whole(Head { header, metadata }, reply) => {
                let body = Body::Owned(reply.unwrap_or_default());
                self.handle_reply(header, metadata, body)
            }
        }
    }
}
