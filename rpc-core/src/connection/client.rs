//! The client's end: sends requests, matches answers.

mod config;
mod event;
mod extras;
mod given_up;
mod incoming;
mod items;
mod opening;
mod pieces;
mod request;

pub use config::ClientConfig;
pub use event::{ClientEvent, Reply};
pub use request::{RequestHead, StartError};

use std::time::{Duration, Instant};

use self::extras::Extras;
use super::cancels::Cancels;
use super::landing::Arriving;
use super::liveness::{Check, Liveness, earlier};
use super::pace::TokenBucket;
use super::slots::{Slots, Terms};
use super::{CallId, ConnectionError, control_pace, ping};
use crate::codec::CodecError;
use crate::wire::{Ack, Decoder, Encoded, Flags, Follows, Frame, Header, Hello, Kind, Outgoing};
use crate::{Deadline, Metadata, Packer, WireTimeout};

/// The state of a client's connection; `T` is what the caller keeps for each open call.
///
/// In the order of its fields in memory: what a plain call touches is together, so that it lies in few
/// lines of the cache. The kernel has most of them between two turns.
#[derive(Debug)]
#[repr(C)]
pub struct ClientConnection<T> {
    outgoing: Outgoing,
    calls: Slots<T>,
    /// How many calls the server takes at once; the shipped limit until its ack tells.
    calls_max: usize,
    /// The longest request it accepts, likewise.
    request_bytes_max: usize,
    /// Calls given up whose answer is still to come.
    given_up: u64,
    /// For the timeouts of calls.
    packer: Packer,
    /// Calls whose timeout has not begun yet.
    unanchored: Vec<(CallId, Duration)>,
    /// Streams, and messages in pieces.
    extras: Extras,
    state: State,
    decoder: Decoder,
    /// The time as it was last told.
    now: Instant,
    liveness: Liveness,
    cancels: Cancels,
    config: ClientConfig,
    /// Frames without an answer to a call that the server may send.
    control: TokenBucket,
    unknown_replies: u64,
    unknown_frames: u32,
}

#[derive(Debug)]
enum State {
    /// The hello is sent, the ack is not complete.
    Opening {
        ack: Vec<u8>,
        /// `None` if the timeout is longer than time is.
        deadline: Option<Instant>,
    },
    Open(Box<Ack>),
    /// As `Open`, but no new calls.
    Draining(Box<Ack>),
    Closed,
}

const WRONG_DIRECTION: ConnectionError =
    ConnectionError::Violation("a frame that only a client sends");

impl<T> ClientConnection<T> {
    /// Answers to no open call that are tolerated.
    const UNKNOWN_REPLIES_MAX: u64 = 100;

    /// A connection whose hello is ready to be written; calls may follow at once.
    #[must_use]
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let mut outgoing = Outgoing::default();
        let mut hello = Hello::new(config.codec, config.message_bytes_max);
        hello.stream_limits = config.stream_limits;
        hello.encode(outgoing.raw());
        Self {
            state: State::Opening {
                ack: Vec::new(),
                deadline: now.checked_add(config.handshake_timeout),
            },
            calls: Slots::new(),
            unanchored: Vec::new(),
            packer: Packer::new(),
            extras: Extras::new(config.stream_limits),
            decoder: Decoder::new(config.message_bytes_max as usize),
            outgoing,
            given_up: 0,
            unknown_replies: 0,
            unknown_frames: 0,
            now,
            liveness: Liveness::new(config.keep_alive, config.idle_timeout, now),
            cancels: Cancels::new(now),
            control: control_pace(now),
            request_bytes_max: (crate::MESSAGE_BYTES_MAX as usize)
                .max(config.message_bytes_max as usize),
            calls_max: crate::CALLS_PER_CONNECTION_MAX as usize,
            config,
        }
    }

    /// What waits to be written.
    #[inline]
    pub fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// What has arrived of a frame that is not complete: its rest can be read to where it belongs.
    #[inline]
    pub fn arriving(&mut self) -> Arriving<'_> {
        Arriving {
            decoder: &mut self.decoder,
            assemblies: self.extras.begun(),
            progress: None,
        }
    }

    /// Calls that wait for an answer.
    #[inline]
    #[must_use]
    pub const fn open_calls(&self) -> usize {
        self.calls.open()
    }

    /// Calls that hold a place at the server, as far as this side knows: a call that was given up
    /// holds its own until it is answered, or until its cancel is on the way to where a later request
    /// can only come after it.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> usize {
        if self.given_up == 0 {
            return self.calls.open();
        }
        let cancelled = self.cancels.unanswered() as u64;
        self.calls.open() + self.given_up.saturating_sub(cancelled) as usize
    }

    /// What the server said when it accepted; `None` before.
    #[must_use]
    pub fn peer(&self) -> Option<&Ack> {
        match &self.state {
            State::Open(ack) | State::Draining(ack) => Some(ack),
            State::Opening { .. } | State::Closed => None,
        }
    }

    /// True while new calls are taken, also before the server has answered.
    #[inline]
    #[must_use]
    pub const fn accepts_calls(&self) -> bool {
        matches!(self.state, State::Opening { .. } | State::Open(_))
    }

    /// The longest request, and the longest item of one, that the server accepts; the shipped limit
    /// until its ack tells.
    #[must_use]
    pub const fn request_bytes_max(&self) -> usize {
        self.request_bytes_max
    }

    /// How many calls the server takes at once; the shipped limit until its ack tells.
    #[inline]
    #[must_use]
    pub const fn calls_max(&self) -> usize {
        self.calls_max
    }

    /// Sends a request whose arguments `body` encodes in place, and keeps `data` for its answer. If
    /// `body` says that items follow, [`streams`](Self::streams) sends them.
    ///
    /// # Errors
    /// The call was not sent; see [`StartError`].
    #[inline]
    pub fn start_call<F: Into<Encoded>>(
        &mut self,
        head: RequestHead<'_>,
        data: T,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, CodecError>,
    ) -> Result<CallId, StartError> {
        self.start_call_with(head, || data, body)
    }

    /// As [`start_call`](Self::start_call), with `data` made only once the request is encoded.
    ///
    /// # Errors
    /// The call was not sent; see [`StartError`].
    #[inline]
    pub fn start_call_with<F: Into<Encoded>>(
        &mut self,
        head: RequestHead<'_>,
        data: impl FnOnce() -> T,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, CodecError>,
    ) -> Result<CallId, StartError> {
        if !self.accepts_calls() {
            return Err(StartError::Closed);
        }
        // The slot is taken only once the arguments are encoded: encoding may fail or panic.
        let id = self.calls.next_id().ok_or(StartError::Full)?;
        if self.request(id, Flags::NONE, head, body)? == Follows::Items {
            self.extras.streams().open_sending(id.wire());
        }
        let terms = Terms {
            deadline: head.deadline,
            request_end: self.outgoing.end(),
        };
        if self.calls.open() == 0 {
            self.liveness.call_began(self.now);
        }
        self.calls.insert(id, terms, data);
        if head.anchored_later
            && let Some(timeout) = head.timeout
        {
            self.unanchored.push((id, timeout));
        }
        Ok(id)
    }

    /// True if a call waits to be told the time; see [`anchor`](Self::anchor).
    #[inline]
    #[must_use]
    pub const fn has_unanchored(&self) -> bool {
        !self.unanchored.is_empty()
    }

    /// Starts the timeouts of the calls that began with
    /// [`RequestHead::with_timeout_anchored_later`]. To be told before they are written.
    pub fn anchor(&mut self, now: Instant) {
        // Most have the timeout of the one before.
        for alike in self.unanchored.chunk_by(|(_, one), (_, next)| one == next) {
            let Some((_, timeout)) = alike.first() else {
                continue;
            };
            let deadline = Deadline::after(now, *timeout);
            let calls = alike.iter().map(|(call, _)| *call);
            self.calls.set_deadlines(calls, deadline.instant());
        }
        self.unanchored.clear();
    }

    /// When the call is over, answered or not.
    #[must_use]
    pub fn deadline(&self, call: CallId) -> Option<Instant> {
        self.calls.deadline(call)
    }

    /// Sends a request that is never answered.
    ///
    /// # Errors
    /// The call was not sent; see [`StartError`].
    pub fn start_oneway(
        &mut self,
        head: RequestHead<'_>,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StartError> {
        if !self.accepts_calls() {
            return Err(StartError::Closed);
        }
        // The time that was last told may be long ago: nothing is heard of oneway calls.
        self.liveness.note_passing_call();
        let id = self.calls.next_unanswered_id();
        self.request(id, Flags::ONEWAY, head, body).map(|_| ())
    }

    /// What the caller keeps for a call.
    #[inline]
    pub fn data(&mut self, call: CallId) -> Option<&mut T> {
        self.calls.get_mut(call)
    }

    /// Ends the connection: no new calls, every open call is passed to `each`, with true if its
    /// request was not written to the end, so that the server cannot have processed it.
    pub fn close(&mut self, mut each: impl FnMut(&mut T, bool)) {
        self.state = State::Closed;
        self.cancels.clear();
        self.given_up = 0;
        let outgoing = &self.outgoing;
        let written = outgoing.written();
        self.calls.close_above(0, |call, data, terms| {
            let unsent = terms.request_end > written || outgoing.holds(call.wire());
            each(data, unsent);
        });
        self.extras.clear();
        // A request that was just said to be unsent must not be sent after all.
        self.outgoing.discard();
    }

    /// Notes that bytes have arrived; to be told before they are fed in.
    #[inline]
    pub fn handle_receipt(&mut self, now: Instant) {
        self.now = now;
        self.liveness.heard(now);
        if self.calls.open() > 0 {
            self.liveness.note_call(now);
        }
        if self.has_cancels() {
            self.send_cancels();
        }
    }

    /// Notes that the server took bytes: a sign of life, also if it has nothing to answer yet.
    pub fn handle_progress(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// The next event in `input`, which moves past it; `None` with `input` used up.
    ///
    /// # Errors
    /// The connection has to end.
    #[inline]
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        if !matches!(self.state, State::Open(_) | State::Draining(_)) {
            return self.handle_opening(input);
        }
        while let Some(frame) = self.decoder.next(input)? {
            let event = match frame {
                Frame::Whole(header, body) => self.handle_frame(header, body)?,
                Frame::Oversized(header) => self.handle_oversized(header)?,
                Frame::Landed(header) => self.handle_landed(header)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.earliest_deadline();
        match self.state {
            State::Opening { deadline, .. } => earlier(deadline, calls),
            State::Closed => None,
            State::Open(_) | State::Draining(_) => {
                let due = earlier(calls, self.liveness.due());
                if self.has_cancels() {
                    return earlier(due, self.cancels.due());
                }
                due
            }
        }
    }

    /// Acts on what is due. Calls whose deadline has passed end without an answer; `expired` sees
    /// their data, which stays until [`release`](Self::release).
    ///
    /// # Errors
    /// The connection has to end.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        mut expired: impl FnMut(&mut T),
    ) -> Result<(), ConnectionError> {
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        self.now = now;
        let mut ended = Vec::new();
        self.calls.expire(now, |call, data| {
            ended.push(call);
            expired(data);
        });
        for call in ended {
            // The server knows the deadline as well: it stops the handler without being told. But it
            // counts from the first frame of a request, and must not wait for pieces that never come.
            if self.outgoing.holds(call.wire()) {
                self.cancels.push(call);
            }
            self.give_up(call);
        }
        if let State::Opening { deadline, .. } = self.state {
            if deadline.is_some_and(|deadline| deadline <= now) {
                let timeout = self.config.handshake_timeout;
                return Err(ConnectionError::HandshakeTimeout(timeout));
            }
            return Ok(());
        }
        self.send_cancels();
        // Also calls that were given up: who never answers them has gone, and later calls must not
        // find that out one by one.
        let owed = self.calls.open() > 0 || self.given_up > 0;
        let unwritten = !self.outgoing.is_empty();
        match self.liveness.check(now, owed, unwritten) {
            Check::Nothing => {}
            Check::Ping => ping(&mut self.outgoing),
            Check::Dead => return Err(ConnectionError::Silent),
            Check::Idle => self.drain(),
        }
        Ok(())
    }

    /// True when the server takes no new calls and none is open: nothing more will happen.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        matches!(self.state, State::Draining(_)) && self.calls.open() == 0
    }

    #[inline]
    fn request<F: Into<Encoded>>(
        &mut self,
        id: CallId,
        flags: Flags,
        head: RequestHead<'_>,
        body: impl FnOnce(&mut Vec<u8>) -> Result<F, CodecError>,
    ) -> Result<Follows, StartError> {
        static NONE: Metadata = Metadata::new();
        let metadata = head.metadata.unwrap_or(&NONE);
        let header = Header {
            flags: flags.with_if(Flags::METADATA, !metadata.is_empty()),
            extra: head
                .timeout
                .map_or(WireTimeout::NONE, |timeout| self.packer.pack(timeout))
                .bits(),
            method: head.method.number(),
            ..Header::new(Kind::Request, id.wire())
        };
        let limit = self.request_bytes_max;
        let sent = self.outgoing.frame(header, metadata, limit, body);
        sent.map_err(|error| error.into_start_error(limit))
    }

    fn drain(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        if let State::Open(ack) | State::Draining(ack) = state {
            self.state = State::Draining(ack);
        }
    }
}
