//! The server's end of a connection: requests become running handlers, outcomes become answers.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use rpc_core::codec::CodecError;
use rpc_core::connection::{
    Answered, Arriving, CallId, ConnectionError, Replies, ServerConfig, ServerConnection, Streams,
    Unended,
};
use rpc_core::wire::{Encoded, Outgoing};
use rpc_core::{Codec, Metadata, Status};

use super::connections::Connections;
use super::conversation::Conversation;
use super::parked::Parked;
use super::work::{Processor, Work};
use crate::clock;
use crate::connection::{
    Carrier, Closed, Driver, Flush, MutexGuard, Progress, Protocol, Shared, Side, State, Turns,
};
use crate::context::{Frame, Origin};
use crate::dispatch::{Collect, Place, Respond, Router, Shift};
use crate::log;
use crate::stream::{Pump, Source};
use crate::transport::{Duplex, Peer};

/// What a server offers on each connection.
pub(super) struct Offer {
    pub(super) router: Arc<Router>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) codecs: Arc<[Codec]>,
}

/// What handlers and the driver share.
pub(super) struct Serving {
    pub(super) core: ServerConnection<Parked>,
    turns: Turns,
    /// The call whose handler is polled on the task of the connection; its answer wakes nobody,
    /// because the driver flushes anyway.
    pub(super) inline: Option<CallId>,
    /// The connection closes now.
    abandoned: bool,
    origin: Arc<Origin>,
}

pub(super) type ServerShared = Shared<Serving>;

/// A new connection and the task that drives it; nothing if there are far too many.
pub(super) fn start(
    duplex: Duplex,
    offer: Offer,
    connections: &Arc<Connections>,
) -> Option<(Arc<ServerShared>, impl Future<Output = ()> + Send + use<>)> {
    let origin = Arc::new(Origin::new(duplex.peer));
    let serving = Serving {
        core: ServerConnection::new(offer.config, clock::now()),
        turns: Turns::default(),
        inline: None,
        abandoned: false,
        origin: origin.clone(),
    };
    let shared = Arc::new(Shared::new(serving, duplex.writer));
    let ticket = connections.add(shared.clone())?;
    let conversation = Conversation {
        respond: shared.clone(),
        codecs: offer.codecs,
        codec: Codec::default(),
        frame: Frame::default(),
        replies: RefCell::default(),
        origin,
        ticket,
    };
    let side = ServerSide {
        intercepts: offer.router.intercepts(),
        router: offer.router,
        place: Place::default(),
        conversation,
        client: Processor::of(duplex.place),
    };
    Some((shared.clone(), Driver::new(shared, side, duplex.reader)))
}

impl ServerShared {
    /// Announces that no new calls are to be made, and closes when those that were are answered.
    pub(super) fn drain(&self, reason: &str) {
        let mut state = self.lock();
        state.protocol.core.drain(clock::now(), reason);
        let origin = state.protocol.origin.clone();
        self.wake_driver(state);
        origin.note_draining();
    }

    /// Turns the client away. One that has said hello since this was decided is told by a go-away, and the
    /// calls that it has begun finish.
    pub(super) fn refuse(&self, reason: &str) {
        let mut state = self.lock();
        if !state.protocol.core.refuse_connection(reason) {
            drop(state);
            return self.drain(reason);
        }
        state.protocol.abandoned = true;
        self.wake_driver(state);
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Peer {
        self.lock().protocol.origin.peer().clone()
    }

    /// Closes at once.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.protocol.abandoned = true;
        self.wake_driver(state);
    }

    /// Ends a call with an answer that `send` appends, unless it has ended.
    #[inline]
    fn answer(
        &self,
        call: CallId,
        send: impl FnOnce(&mut ServerConnection<Parked>) -> Answered,
    ) -> Answered {
        let mut state = self.lock();
        let serving = &mut state.protocol;
        let inline = serving.inline == Some(call);
        if !inline && serving.core.parked(call).is_none() {
            // Cancelled meanwhile, and answered by that.
            return Answered::Error(rpc_core::Code::Cancelled);
        }
        let answered = send(&mut serving.core);
        let left = serving.core.take_left();
        if inline && answered != Answered::Items {
            serving.inline = None;
        }
        if inline {
            drop(state);
        } else if serving.core.is_to_resume() {
            self.wake_driver(state);
        } else {
            // A connection that goes is closed by its driver, so that has to see the last answer.
            let alone = serving.core.running() == 0 && !serving.core.is_going();
            self.flush_soon(state, alone);
        }
        // Without the lock: whoever still reads the items behind the request is woken.
        drop(left);
        answered
    }
}

impl Respond for ServerShared {
    #[inline]
    fn reply(
        &self,
        call: CallId,
        metadata: &Metadata,
        body: &mut dyn FnMut(&mut Vec<u8>) -> Result<Encoded, CodecError>,
    ) -> Answered {
        self.answer(call, |core| core.reply(call, metadata, body))
    }

    fn send_items(
        self: Arc<Self>,
        call: CallId,
        source: Box<dyn Source>,
        codec: Codec,
    ) -> Option<Pump> {
        Some(Pump::new(self, call, source, codec))
    }

    fn end_items(&self, call: CallId) -> Answered {
        self.answer(call, |core| {
            core.end_items(call);
            Answered::Reply
        })
    }

    fn fail(&self, call: CallId, status: &Status) -> Answered {
        self.answer(call, |core| core.fail(call, status))
    }

    fn fail_unknown_method(&self, call: CallId, status: &Status) -> Answered {
        self.answer(call, |core| core.fail_unknown_method(call, status))
    }

    fn finish_oneway(&self, call: CallId) {
        self.answer(call, |core| {
            core.finish_oneway(call);
            Answered::Reply
        });
    }
}

impl Collect for ServerShared {
    fn collect(&self, call: CallId, replies: &mut Replies) {
        let serving = &mut self.lock().protocol;
        serving.core.collect(replies);
        serving.inline = Some(call);
    }

    fn end_reply(&self, call: CallId, unended: Unended) -> Answered {
        self.answer(call, |core| core.end_reply(call, unended))
    }
}

impl Protocol for Serving {
    #[inline]
    fn outgoing(&mut self) -> &mut Outgoing {
        self.core.outgoing()
    }

    #[inline]
    fn arriving(&mut self) -> Arriving<'_> {
        self.core.arriving()
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn handle_progress(&mut self, now: Instant) {
        self.core.handle_progress(now);
    }

    fn is_finished(&self) -> bool {
        self.abandoned || self.core.is_drained()
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn is_paused(&mut self) -> bool {
        self.core.is_paused()
    }

    #[inline]
    fn handle_taken(&mut self) -> Option<Waker> {
        self.turns.next()
    }

    #[inline]
    fn handle_flushed(&mut self) -> [Option<Waker>; 2] {
        [self.turns.next(), None]
    }
}

impl Carrier for Serving {
    fn streams(&mut self) -> Streams<'_> {
        self.core.streams()
    }

    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn await_credit(&mut self, call: CallId, waker: &Waker) {
        if self.inline == Some(call) {
            // Polled again by a task of its own before any credit can come.
            return;
        }
        if let Some(parked) = self.core.parked(call) {
            parked.sender = Some(waker.clone());
        }
    }

    fn item_bytes_max(&self) -> usize {
        self.core.reply_bytes_max()
    }

    fn flush(&self, call: CallId) -> Flush {
        if self.inline == Some(call) {
            Flush::ByItself
        } else if self.core.running() <= 1 && !self.core.is_going() {
            Flush::Now
        } else {
            Flush::Soon
        }
    }
}

/// The driver's half of the server.
struct ServerSide {
    /// What it keeps of a call is dropped before what it was made by.
    place: Place,
    router: Arc<Router>,
    /// That of the router.
    intercepts: bool,
    conversation: Conversation,
    client: Processor,
}

impl ServerSide {
    /// Calls that are admitted together: so many wait at the most for one another's replies.
    const TOGETHER_MAX: usize = 64;
}

impl Side for ServerSide {
    type Protocol = Serving;

    const READS_ONLY_WHEN_FLUSHED: bool = true;

    fn process(
        &mut self,
        shared: &Arc<ServerShared>,
        input: &mut &[u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Progress, ConnectionError> {
        let work = Work::begin(self.client);
        let sends = work.may_leave_a_processor();
        let mut shift = Shift::new(&self.router, &mut self.place, now, sends);
        let mut progress = Progress::default();
        let mut state = shared.lock();
        state.protocol.core.handle_receipt(now, input.len());
        loop {
            if shift.is_send_due() && !input.is_empty() {
                state = send(shared, state, &work, &mut shift, cx);
            }
            let serving = &mut state.protocol;
            // What has landed is not in the input: nobody would come back for it.
            let room = serving.core.outgoing().room();
            let Some(room) = room.or(input.is_empty().then_some(0)) else {
                return Ok(progress);
            };
            let conversation = &mut self.conversation;
            let replies = conversation.replies.get_mut();
            let mut requests = serving.core.admit_plain(input, Self::TOGETHER_MAX, replies);
            if requests.is_empty() {
                let Some(woke) = conversation.hear(shared, state, input, &mut shift, cx)? else {
                    return Ok(progress);
                };
                progress.woke |= woke;
                state = shared.lock();
                continue;
            }
            drop(state);
            let (calls, shift) = (&mut requests, &mut shift);
            if self.intercepts {
                conversation.start_intercepted(shared, calls, room, shift, cx);
            } else {
                conversation.start_plain::<false>(shared, calls, room, shift, cx);
            }
            state = shared.lock();
            let replies = conversation.replies.get_mut();
            state.protocol.core.settle(requests, replies, input);
            if input.is_empty() {
                // It ended with a frame: there is nothing to be kept of the next.
                return Ok(progress);
            }
        }
    }

    fn handle_timeout(
        &mut self,
        shared: &ServerShared,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let mut expired = Vec::new();
        let handled = {
            let mut state = shared.lock();
            let core = &mut state.protocol.core;
            core.handle_timeout(now, |parked| expired.push(parked))
        };
        expired.into_iter().for_each(Parked::stop);
        handled
    }

    fn ending(&mut self, shared: &ServerShared, why: &Closed) {
        log::debug!(peer = %self.conversation.origin, %why, "closing a connection");
        let parked = shared.lock().protocol.core.close(&why.to_string());
        self.conversation.ticket.orphans().take_over(parked);
    }

    fn closed(&mut self, shared: &ServerShared, why: Closed) {
        log::debug!(peer = %self.conversation.origin, %why, "connection closed");
        let parked = {
            let core = &mut shared.lock().protocol.core;
            let parked = core.close("closed");
            // Handlers that run on hold the connection, but not what it had to say.
            drop(core.outgoing().take());
            parked
        };
        self.conversation.ticket.orphans().take_over(parked);
    }
}

/// Sends replies with more input to come, if the client can go on with them. Not inlined: few are due
/// before the end of a read.
#[inline(never)]
fn send<'a>(
    shared: &'a ServerShared,
    mut state: MutexGuard<'a, State<Serving>>,
    work: &Work,
    shift: &mut Shift<'_>,
    cx: &mut Context<'_>,
) -> MutexGuard<'a, State<Serving>> {
    if work.leaves_a_processor() {
        state = shared.write_between(state, cx);
    }
    shift.note_sent();
    state
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}
