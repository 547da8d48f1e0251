//! The frames of the server, one after the other.

use super::{ClientConnection, ClientEvent, Reply, State, WRONG_DIRECTION};
use crate::connection::{
    CallId, ConnectionError, LONG_FRAME, TOO_MUCH_CONTROL, UNKNOWN_FRAMES_MAX, owned, pong,
    read_go_away,
};
use crate::wire::{Body, Flags, Header, Kind, metadata_and_rest};
use crate::{Code, Metadata, Status};

const LONG_REPLY: ConnectionError =
    ConnectionError::Violation("an oversized reply that follows in pieces");

impl<T> ClientConnection<T> {
    /// Takes the plain replies at the front of `input`, which moves past them: those that lie whole in
    /// it and come with neither metadata nor items. Each is passed to `each`, with what is kept for
    /// its call: until [`release`](Self::release), unless `each` says that the call is over and nothing
    /// is left of it. Nothing is dropped then.
    ///
    /// They are most of what a client hears, and no event is made of them. True if that was all of the
    /// input; else [`handle_input`](Self::handle_input) takes whatever comes next.
    #[inline]
    #[must_use = "there may be more in the input"]
    pub fn handle_plain_replies<'a>(
        &mut self,
        input: &mut &'a [u8],
        mut each: impl FnMut(&mut T, &'a [u8]) -> bool,
    ) -> bool {
        if !matches!(self.state, State::Open(_) | State::Draining(_)) || self.has_parts() {
            return false;
        }
        let Some(replies) = self.decoder.plain_replies() else {
            return false;
        };
        while let Some((call, body, rest)) = replies.peek(input) {
            let answered = self.calls.answer(call, |data| each(data, body));
            if answered.is_none() {
                return false;
            }
            *input = rest;
        }
        input.is_empty()
    }

    #[inline]
    pub(super) fn handle_frame<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        if header.kind == Kind::Response && !header.flags.exceeds(Flags::METADATA) {
            if self.has_parts() {
                self.end_parts(header.call)?;
            }
            let Some(call) = self.calls.close(header.call) else {
                return self.handle_late_answer(header.call);
            };
            return Ok(Some(match parts(header, body) {
                Ok((metadata, body)) => self.replied(call, metadata, body),
                Err(status) => failed(call, status),
            }));
        }
        match header.kind {
            Kind::Response => self.handle_long_reply(header, body),
            Kind::Chunk => self.handle_piece(header.call, &body),
            Kind::Item => self.handle_item_frame(header, body),
            Kind::End => self.handle_end(header.call),
            _ => self.handle_rare_frame(header, body),
        }
    }

    #[inline]
    pub(super) fn replied<'a>(
        &self,
        call: CallId,
        metadata: Metadata,
        body: Body<'a>,
    ) -> ClientEvent<'a> {
        if body.len() > self.config.message_bytes_max as usize {
            return failed(call, self.oversized_reply(body.len()));
        }
        let items = false;
        ClientEvent::Replied(
            call,
            Reply {
                metadata,
                body,
                items,
            },
        )
    }

    fn handle_rare_frame(
        &mut self,
        header: Header,
        body: Body<'_>,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        match header.kind {
            Kind::Error | Kind::Credit => {}
            Kind::Cancel if self.extras.streams().is_sending(header.call) => {}
            _ => self.note_control()?,
        }
        match header.kind {
            Kind::Error => {
                self.extras.assemblies().forget(header.call);
                let Some(call) = self.calls.close(header.call) else {
                    return self.handle_late_answer(header.call);
                };
                self.forget_streams(header.call);
                Ok(Some(ClientEvent::Failed {
                    call,
                    status: read_error(header, body),
                    unknown_method: header.flags.contains(Flags::UNKNOWN_METHOD),
                }))
            }
            Kind::Ping => {
                pong(&mut self.outgoing, &body)?;
                Ok(None)
            }
            Kind::Pong => Ok(None),
            Kind::GoAway => {
                let (last, reason) = read_go_away(&body)?;
                self.drain();
                Ok(Some(ClientEvent::GoAway { last, reason }))
            }
            Kind::Credit => self.handle_credit(header.call, &body),
            Kind::Cancel => self.handle_stop(header.call),
            Kind::Request => Err(WRONG_DIRECTION),
            _ => self.skip_unknown_frame(),
        }
    }

    pub(super) fn note_control(&mut self) -> Result<(), ConnectionError> {
        if self.control.take(self.now) {
            return Ok(());
        }
        Err(TOO_MUCH_CONTROL)
    }

    pub(super) fn handle_oversized(
        &mut self,
        header: Header,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        match header.kind {
            Kind::Response if header.flags.contains(Flags::MORE) => return Err(LONG_REPLY),
            Kind::Response | Kind::Error => {}
            Kind::Item | Kind::Chunk => return Err(LONG_FRAME),
            Kind::Request => return Err(WRONG_DIRECTION),
            _ => return self.skip_unknown_frame(),
        }
        // If items follow, the end of their stream is the end of the call.
        let items = header.kind == Kind::Response && header.flags.contains(Flags::ITEMS);
        let Some(call) = self.calls.find_open(header.call) else {
            return match items {
                true => Ok(None),
                false => self.handle_late_answer(header.call),
            };
        };
        if items {
            self.cancel_unread(call);
        } else {
            self.calls.close(header.call);
            self.forget_streams(header.call);
        }
        let status = self.oversized_reply(header.length as usize);
        Ok(Some(failed(call, status)))
    }

    pub(super) fn oversized_reply(&self, length: usize) -> Status {
        let limit = self.config.message_bytes_max;
        Status::resource_exhausted(format!(
            "the reply has {length} bytes; this client accepts {limit}"
        ))
    }

    /// An answer to a call that was given up is expected once; others are counted.
    pub(super) fn handle_late_answer(
        &mut self,
        call: u32,
    ) -> Result<Option<ClientEvent<'static>>, ConnectionError> {
        self.forget_streams(call);
        self.cancels.answered(call);
        // Those whose cancels wait are given up, and not answered.
        if self.given_up > self.cancels.waiting() as u64 {
            self.given_up -= 1;
            self.send_cancels();
            return Ok(None);
        }
        self.unknown_replies += 1;
        if self.unknown_replies > Self::UNKNOWN_REPLIES_MAX {
            return Err(ConnectionError::Violation(
                "answers to calls that are not open",
            ));
        }
        Ok(None)
    }

    fn skip_unknown_frame<E>(&mut self) -> Result<Option<E>, ConnectionError> {
        self.unknown_frames += 1;
        if self.unknown_frames > UNKNOWN_FRAMES_MAX {
            return Err(ConnectionError::Violation(
                "too many frames of unknown kinds",
            ));
        }
        Ok(None)
    }
}

/// The metadata and the message of a reply.
#[inline]
pub(super) fn parts(header: Header, body: Body<'_>) -> Result<(Metadata, Body<'_>), Status> {
    if !header.flags.contains(Flags::METADATA) {
        return Ok((Metadata::new(), body));
    }
    metadata_and_rest(body).map_err(|error| {
        Status::internal("the metadata of the reply is malformed").with_source(error)
    })
}

pub(super) fn failed(call: CallId, status: Status) -> ClientEvent<'static> {
    ClientEvent::Failed {
        call,
        status,
        unknown_method: false,
    }
}

/// Reads `[body.error]`; a malformed one still ends its call with its code.
fn read_error(header: Header, body: Body<'_>) -> Status {
    let code = Code::from_number(header.extra.min(u16::from(u8::MAX)) as u8);
    let parts = error_parts(header, body);
    let Some((metadata, text, rest)) = parts else {
        return Status::new(code, "the server's error text is malformed");
    };
    let mut status = Status::new(code, text).with_metadata(metadata);
    if header.flags.contains(Flags::NOT_PROCESSED) {
        status = status.with_not_processed();
    }
    if header.flags.contains(Flags::TYPED) {
        status = status.with_error_body(owned(&rest).unwrap_or_default());
    }
    status
}

fn error_parts(header: Header, body: Body<'_>) -> Option<(Metadata, String, Body<'_>)> {
    let (metadata, body) = if header.flags.contains(Flags::METADATA) {
        metadata_and_rest(body).ok()?
    } else {
        (Metadata::new(), body)
    };
    let (length, rest) = body.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let text = String::from_utf8_lossy(rest.get(..length)?).into_owned();
    Some((metadata, text, body.skip(2 + length)))
}
