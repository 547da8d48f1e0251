//! The bytes of the client: its hello, then its frames, one after the other.

use super::{REQUEST_FLAGS, ServerConnection, ServerEvent, ServerRequest, State, WRONG_DIRECTION};
use crate::connection::{CallId, ConnectionError, LONG_FRAME, Refusal, UNKNOWN_FRAMES_MAX, pong};
use crate::wire::{
    Ack, Body, Flags, Header, Hello, Kind, VERSION, Verdict, WireError, metadata_and_rest,
    read_hello,
};
use crate::{Metadata, MethodId, Status, WireTimeout};

impl<T> ServerConnection<T> {
    pub(super) fn handle_opening<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        let State::Opening(opening) = &mut self.state else {
            *input = &[];
            return Ok(None);
        };
        match read_hello(&mut opening.hello, input) {
            Ok(Some(hello)) => self.open(&hello).map(Some),
            Ok(None) => Ok(None),
            Err(error) => {
                let refused = self.refuse_hello(Verdict::MalformedHello, 0, error.to_string());
                // A stranger's bytes are worth more in a log than our own refusal.
                let stranger = matches!(error, WireError::BadMagic { .. });
                Err(if stranger { error.into() } else { refused })
            }
        }
    }

    fn open<'a>(&mut self, hello: &Hello) -> Result<ServerEvent<'a, T>, ConnectionError> {
        let codec = hello.codec;
        let (low, high) = (hello.version_min, hello.version_max);
        if !(low..=high).contains(&VERSION) {
            let reason = format!("the client offers versions {low} to {high}");
            return Err(self.refuse_hello(Verdict::UnsupportedVersion, codec, reason));
        }
        if !self.config.codecs.iter().any(|(id, _)| *id == codec) {
            let reason = format!("the client asks for codec {codec}");
            return Err(self.refuse_hello(Verdict::UnsupportedCodec, codec, reason));
        }
        if hello.compression != 0 {
            let reason = format!("the client asks for compression {}", hello.compression);
            return Err(self.refuse_hello(Verdict::UnsupportedCompression, codec, reason));
        }
        let mut ack = Ack::new(Verdict::Accepted, codec, 0);
        ack.message_bytes_max = self.config.message_bytes_max;
        ack.calls_max = self.config.calls_max;
        ack.stream_limits = self.config.stream_limits;
        ack.reports = hello.reports;
        ack.codecs.clone_from(&self.config.codecs);
        ack.services.clone_from(&self.config.services);
        ack.encode(self.outgoing.raw());
        self.reply_bytes_max = hello.message_bytes_max as usize;
        self.streams
            .set_peer_limits(hello.stream_limits, hello.message_bytes_max);
        self.outgoing.begin_reports(hello.reports);
        let opening = std::mem::replace(&mut self.state, State::Open);
        if let State::Opening(opening) = opening
            && let Some(reason) = opening.drain
        {
            self.drain(self.now, &reason);
        }
        Ok(ServerEvent::Opened { codec })
    }

    pub(super) fn refuse_hello(
        &mut self,
        verdict: Verdict,
        codec: u8,
        reason: String,
    ) -> ConnectionError {
        let mut ack = Ack::new(verdict, codec, 0);
        ack.versions = Some((VERSION, VERSION));
        ack.codecs.clone_from(&self.config.codecs);
        ack.reason = reason;
        ack.encode(self.outgoing.raw());
        self.state = State::Closed;
        ConnectionError::Refused(Refusal::from_ack(&ack))
    }

    /// Counts a request that was admitted.
    #[inline]
    fn note_request(&mut self) {
        self.running += 1;
        self.liveness.note_call(self.now);
    }

    #[inline]
    pub(super) fn handle_frame<'a>(
        &mut self,
        header: Header,
        body: Body<'a>,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        match header.kind {
            Kind::Request => {}
            Kind::Chunk => return self.handle_piece(header.call, &body),
            Kind::Item => return self.handle_item_frame(header, body),
            Kind::End => return self.handle_end(header, &body),
            _ => return self.handle_rare_frame(header, &body),
        }
        let id = self.ids.next(header.call)?;
        match self.admit(id, header, body) {
            Ok(request) if request.more || request.items => self.run_long_request(header, request),
            Ok(request) => Ok(Some(self.run_request(request))),
            Err(status) => {
                self.refuse(id, header.flags, &status);
                Ok(None)
            }
        }
    }

    #[inline]
    fn run_request<'a>(&mut self, request: ServerRequest<'a>) -> ServerEvent<'a, T> {
        self.note_request();
        ServerEvent::Request(request)
    }

    #[cold]
    fn run_long_request<'a>(
        &mut self,
        header: Header,
        mut request: ServerRequest<'a>,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if let Err(status) = self.begin_long_request(header, &mut request)? {
            self.refuse(request.id, header.flags, &status);
            return Ok(None);
        }
        Ok(Some(self.run_request(request)))
    }

    #[inline]
    fn admit<'a>(
        &mut self,
        id: CallId,
        header: Header,
        body: Body<'a>,
    ) -> Result<ServerRequest<'a>, Status> {
        if header.flags.exceeds(REQUEST_FLAGS) {
            return Err(Status::invalid_argument(
                "the request has an undefined flag",
            ));
        }
        if matches!(self.state, State::Draining) {
            return Err(Status::unavailable("the server takes no new calls"));
        }
        if self.running >= self.calls_max {
            self.refused += 1;
            return Err(Status::resource_exhausted(format!(
                "{} calls are in flight on this connection; that is the limit",
                self.running
            )));
        }
        let (metadata, body) = if header.flags.contains(Flags::METADATA) {
            metadata_and_rest(body).map_err(Status::from)?
        } else {
            (Metadata::new(), body)
        };
        if body.len() > self.config.message_bytes_max as usize {
            return Err(self.oversized(body.len()));
        }
        Ok(ServerRequest {
            id,
            method: MethodId::from_number(header.method),
            timeout: WireTimeout::from_bits(header.extra).unpack(),
            oneway: header.flags.contains(Flags::ONEWAY),
            metadata,
            body,
            more: header.flags.contains(Flags::MORE),
            items: header.flags.contains(Flags::ITEMS),
        })
    }

    fn handle_rare_frame<'a>(
        &mut self,
        header: Header,
        body: &[u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if header.kind != Kind::Credit {
            self.floods.note_control(self.now)?;
        }
        match header.kind {
            Kind::Credit => self.handle_credit(header.call, body),
            Kind::Cancel => {
                self.floods.note_cancel(self.now)?;
                Ok(self.cancel(header.call))
            }
            Kind::Ping => {
                // Whoever waits for an answer may ask as often as for anything else.
                if self.running == 0 {
                    self.floods.note_ping(self.now, self.ids.last())?;
                }
                pong(&mut self.outgoing, body)?;
                Ok(None)
            }
            Kind::Pong => {
                self.handle_pong(body);
                Ok(None)
            }
            Kind::GoAway => Ok(None),
            Kind::Response | Kind::Error => Err(WRONG_DIRECTION),
            _ => self.skip_unknown_frame(),
        }
    }

    fn cancel<'a>(&mut self, wire: u32) -> Option<ServerEvent<'a, T>> {
        let call = self.parked_id(wire)?;
        if self.parked.get(&call).is_some_and(|parked| parked.oneway) {
            // Nobody waits for it, so nobody can have given it up.
            return None;
        }
        let Some(parked) = self.forget(call) else {
            self.stop_reply(call);
            return None;
        };
        self.fail(call, &Status::cancelled("cancelled by the caller"));
        Some(ServerEvent::Cancelled(parked.data))
    }

    /// The whole id of a parked call.
    pub(super) fn parked_id(&self, wire: u32) -> Option<CallId> {
        let recent = self.ids.recent(wire)?;
        let wrapped = self.ids.last() > u64::from(u32::MAX);
        if !wrapped || self.parked.contains_key(&recent) {
            return Some(recent);
        }
        // A call may run while 2^32 others come and go.
        self.parked.keys().find(|id| id.wire() == wire).copied()
    }

    pub(super) fn handle_oversized<'a>(
        &mut self,
        header: Header,
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if header.kind != Kind::Request {
            return self.handle_rare_oversized(header.kind);
        }
        let id = self.ids.next(header.call)?;
        let status = self.oversized(header.length as usize);
        self.refuse(id, header.flags, &status);
        Ok(None)
    }

    fn handle_rare_oversized<E>(&mut self, kind: Kind) -> Result<Option<E>, ConnectionError> {
        match kind {
            Kind::Response | Kind::Error => Err(WRONG_DIRECTION),
            Kind::Item | Kind::Chunk => Err(LONG_FRAME),
            _ => self.skip_unknown_frame(),
        }
    }

    pub(super) fn oversized(&self, length: usize) -> Status {
        let limit = self.config.message_bytes_max;
        Status::resource_exhausted(format!(
            "the request has {length} bytes; this server accepts {limit}"
        ))
    }

    /// Answers a request that was not admitted.
    fn refuse(&mut self, id: CallId, flags: Flags, status: &Status) {
        if !flags.contains(Flags::ONEWAY) {
            self.error(id, &status.clone().with_not_processed(), Flags::NONE);
        }
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
