//! The server's end: admits requests, answers each exactly once.

mod answers;
mod config;
mod event;
mod incoming;
mod items;
mod leaving;
mod pausing;
mod plain;

pub use config::ServerConfig;
pub use event::{Answered, ServerEvent, ServerRequest};
pub use plain::{PlainRequest, PlainRequests, Replies, Unended};

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::assembly::Assemblies;
use super::guard::{FloodGuard, Progress};
use super::ids::RisingIds;
use super::landing::Arriving;
use super::liveness::{Check, Liveness, earlier};
use super::streams::StreamTable;
use super::{CallId, ConnectionError, ping};
use crate::Status;
use crate::wire::{Decoder, Flags, Frame, Outgoing, Verdict};
use leaving::Leaving;

/// The state of a server's connection; `T` is what the caller keeps for each parked call.
// In this order, because between two calls that come alone the first-level cache is lost: what each of
// them touches lies together, in half of the lines that it would be in otherwise.
#[repr(C)]
#[derive(Debug)]
pub struct ServerConnection<T> {
    decoder: Decoder,
    /// Requests admitted and not ended: parked.len() <= running
    running: usize,
    ids: RisingIds,
    /// Of the configuration.
    calls_max: usize,
    reply_bytes_max: usize,
    state: State,
    /// The time as it was last told.
    now: Instant,
    /// No parked call has a deadline before this; often none has this one.
    earliest: Option<Instant>,
    /// When to look for streams on which nothing happens.
    idle_look: Option<Instant>,
    progress: Progress,
    liveness: Liveness,
    outgoing: Outgoing,
    config: Arc<ServerConfig>,
    /// Calls whose handler did not finish at once.
    parked: HashMap<CallId, Parked<T>>,
    streams: StreamTable,
    /// Requests and items that arrive in pieces.
    assemblies: Assemblies,
    floods: FloodGuard,
    /// Requests above `calls_max` that nobody has asked about.
    refused: u64,
    /// What the first go-away said that named a call: no later one says more.
    last_accepted: Option<u64>,
    unknown_frames: u32,
    /// How many of the parked calls are oneway.
    oneways: usize,
    /// When to say again that somebody is here, while a request waits for the end of a oneway call.
    paused: Option<Instant>,
    /// What was kept of the parked call that ended last, unless it was given back already.
    left: Option<T>,
}

#[derive(Debug)]
struct Parked<T> {
    data: T,
    oneway: bool,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Opening(Box<Opening>),
    Open,
    /// As `Open`, and the client is to make no further call.
    Leaving(Box<Leaving>),
    /// As `Open`, but new calls are refused.
    Draining,
    Closed,
}

#[derive(Debug)]
struct Opening {
    /// What has arrived of it.
    hello: Vec<u8>,
    /// `None` if the timeout is longer than time is.
    deadline: Option<Instant>,
    /// Why to go away as soon as there is somebody to tell.
    drain: Option<String>,
}

const WRONG_DIRECTION: ConnectionError =
    ConnectionError::Violation("a frame that only a server sends");
const REQUEST_FLAGS: Flags = Flags::METADATA
    .with(Flags::ONEWAY)
    .with(Flags::MORE)
    .with(Flags::ITEMS);

impl<T> ServerConnection<T> {
    /// A connection that waits for a hello.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(config.message_bytes_max as usize),
            running: 0,
            ids: RisingIds::default(),
            calls_max: config.calls_max as usize,
            reply_bytes_max: 0,
            state: State::Opening(Box::new(Opening {
                hello: Vec::new(),
                deadline: now.checked_add(config.handshake_timeout),
                drain: None,
            })),
            now,
            earliest: None,
            idle_look: None,
            progress: Progress::default(),
            liveness: Liveness::new(config.keep_alive, config.idle_timeout, now),
            outgoing: Outgoing::that_stops_reading(),
            parked: HashMap::new(),
            streams: StreamTable::new(config.stream_limits),
            assemblies: Assemblies::default(),
            floods: FloodGuard::new(now),
            refused: 0,
            last_accepted: None,
            unknown_frames: 0,
            oneways: 0,
            paused: None,
            left: None,
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
            assemblies: &mut self.assemblies,
            progress: Some(&mut self.progress),
        }
    }

    /// The longest reply, and the longest item of one, that the client accepts.
    #[must_use]
    pub const fn reply_bytes_max(&self) -> usize {
        self.reply_bytes_max
    }

    /// Requests admitted and not ended.
    #[inline]
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// How many requests were refused since the last question because too many were in flight.
    #[inline]
    pub const fn take_refused(&mut self) -> u64 {
        std::mem::replace(&mut self.refused, 0)
    }

    /// True between two frames, with nothing running and nothing to write.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.outgoing.is_empty() && self.decoder.is_at_boundary()
    }

    /// Keeps `data` for a call that is not answered at once, so that a cancel or its deadline can
    /// find it.
    #[inline]
    pub fn park(&mut self, call: CallId, deadline: Option<Instant>, data: T) {
        self.park_with(call, deadline, false, data);
    }

    /// As [`park`](Self::park) for a oneway call, which is not answered and cannot be cancelled.
    #[inline]
    pub fn park_oneway(&mut self, call: CallId, deadline: Option<Instant>, data: T) {
        self.park_with(call, deadline, true, data);
    }

    #[inline]
    fn park_with(&mut self, call: CallId, deadline: Option<Instant>, oneway: bool, data: T) {
        if self.parked.is_empty() {
            self.liveness.call_began(self.now);
        }
        self.earliest = earlier(self.earliest, deadline);
        let parked = Parked {
            data,
            oneway,
            deadline,
        };
        self.oneways += usize::from(oneway);
        self.parked.insert(call, parked);
    }

    #[inline]
    fn forget(&mut self, call: CallId) -> Option<Parked<T>> {
        let parked = self.parked.remove(&call)?;
        self.oneways -= usize::from(parked.oneway);
        Some(parked)
    }

    /// What is kept for a parked call.
    pub fn parked(&mut self, call: CallId) -> Option<&mut T> {
        self.parked.get_mut(&call).map(|parked| &mut parked.data)
    }

    /// Claims the right to end a parked call: `None` if it has ended, and then its answer is to be
    /// dropped.
    #[inline]
    pub fn unpark(&mut self, call: CallId) -> Option<T> {
        self.forget(call).map(|parked| parked.data)
    }

    /// What was kept of a parked call, once it was answered: whoever answers it decides where that is
    /// dropped.
    #[inline]
    pub const fn take_left(&mut self) -> Option<T> {
        self.left.take()
    }

    /// Turns the client away before it has said anything: the server has no room for it. False, without
    /// having done anything, if it has said hello and was let in: then it is to be told by a
    /// [go-away](Self::drain).
    #[must_use = "if it was let in, it is to be told in another way"]
    pub fn refuse_connection(&mut self, reason: &str) -> bool {
        if matches!(self.state, State::Opening(_)) {
            let _ = self.refuse_hello(Verdict::TooManyConnections, 0, reason.to_owned());
        }
        !self.is_open()
    }

    /// Ends the connection with a reason. Parked calls are handed back to be stopped, or to run on
    /// if they are oneway.
    pub fn close(&mut self, reason: &str) -> Vec<T> {
        if self.is_open() {
            self.say_go_away(reason);
        }
        self.state = State::Closed;
        self.streams.clear();
        self.assemblies.clear();
        // What has arrived of a frame: handlers may hold the connection for long.
        self.decoder = Decoder::new(0);
        self.running -= self.parked.len();
        self.oneways = 0;
        let calls = in_order(self.parked.keys().copied().collect());
        let parked = calls.iter().filter_map(|call| self.parked.remove(call));
        parked.map(|parked| parked.data).collect()
    }

    /// Notes that bytes have arrived; to be told before they are fed in.
    #[inline]
    pub fn handle_receipt(&mut self, now: Instant, bytes: usize) {
        self.now = now;
        self.liveness.heard(now);
        self.progress.note_bytes(bytes);
    }

    /// Notes that the client took bytes: a sign of life, also if nothing is read from it.
    pub fn handle_progress(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// The next event in `input`, which moves past it; `None` with `input` used up, or with what has to wait
    /// while the connection [is paused](Self::is_paused).
    ///
    /// # Errors
    /// The connection has to end, after what is in [`outgoing`](Self::outgoing) is written.
    #[inline]
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<ServerEvent<'a, T>>, ConnectionError> {
        if !self.is_open() {
            return self.handle_opening(input);
        }
        loop {
            if self.running >= self.calls_max && self.pauses(input) {
                return Ok(None);
            }
            let Some(frame) = self.decoder.next(input)? else {
                break;
            };
            let event = match frame {
                Frame::Whole(header, body) => self.handle_frame(header, body)?,
                Frame::Oversized(header) => self.handle_oversized(header)?,
                Frame::Landed(header) => self.handle_landed(header)?,
            };
            if self.progress.is_watching() && !self.is_within_message() {
                self.progress.note_frame();
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        if self.is_within_message() {
            let bytes = self.decoder.partial_bytes();
            self.progress.note_partial(self.now, bytes);
        } else {
            self.progress.note_frame();
        }
        Ok(None)
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Opening(ref opening) => opening.deadline,
            State::Open | State::Draining => self.next_look(),
            State::Leaving(ref leaving) => earlier(Some(leaving.until()), self.next_look()),
            State::Closed => None,
        }
    }

    #[inline]
    fn next_look(&self) -> Option<Instant> {
        let watch = earlier(self.liveness.due(), self.progress.due());
        earlier(
            earlier(self.earliest, self.idle_look),
            earlier(watch, self.paused),
        )
    }

    /// Acts on what is due. Parked calls whose deadline has passed are answered, and `expired` gets
    /// their data so that their handlers stop.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        mut expired: impl FnMut(T),
    ) -> Result<(), ConnectionError> {
        self.now = now;
        match self.state {
            State::Opening(ref opening) => {
                if opening.deadline.is_some_and(|deadline| deadline <= now) {
                    let timeout = self.config.handshake_timeout;
                    return Err(ConnectionError::HandshakeTimeout(timeout));
                }
                return Ok(());
            }
            State::Closed => return Ok(()),
            State::Open | State::Leaving(_) | State::Draining => {}
        }
        self.expire(&mut expired);
        self.end_idle_streams(&mut expired);
        self.end_silence();
        // Nothing is read while answers wait to be taken.
        let unwritten = !self.outgoing.is_empty();
        self.progress
            .check(now, unwritten || self.paused.is_some())?;
        match self.liveness.check(now, self.running > 0, unwritten) {
            Check::Nothing => {}
            Check::Ping => ping(&mut self.outgoing),
            Check::Dead => return Err(ConnectionError::Silent),
            Check::Idle => self.drain(now, "no calls for a while"),
        }
        self.lose_patience();
        Ok(())
    }

    /// True when no new calls are taken and none is running: nothing more will happen.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        matches!(self.state, State::Draining) && self.running == 0
    }

    /// Answers the parked calls whose deadline has passed.
    fn expire(&mut self, expired: &mut impl FnMut(T)) {
        let now = self.now;
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let over = self.parked.iter().filter(|(_, p)| is_over(p.deadline));
        for call in in_order(over.map(|(call, _)| *call).collect()) {
            let Some(parked) = self.forget(call) else {
                continue;
            };
            if parked.oneway {
                self.finish_oneway(call);
            } else {
                let status = Status::deadline_exceeded("the handler did not finish in time");
                self.fail(call, &status);
            }
            expired(parked.data);
        }
        let deadlines = self.parked.values().map(|parked| parked.deadline);
        self.earliest = deadlines.fold(None, earlier);
    }

    /// True if the rest of a frame, or of a message in pieces, is still to come.
    fn is_within_message(&self) -> bool {
        !self.decoder.is_at_boundary() || !self.assemblies.is_empty()
    }

    const fn is_open(&self) -> bool {
        matches!(
            self.state,
            State::Open | State::Leaving(_) | State::Draining
        )
    }
}

/// The order of the map is random, what is written must not be.
fn in_order(parked: BinaryHeap<CallId>) -> Vec<CallId> {
    parked.into_sorted_vec()
}
