//! Starts the calls that come on a connection.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use rpc_core::connection::{CallId, ConnectionError, Replies, ServerEvent, ServerRequest};
use rpc_core::{Codec, Deadline, MethodId, Status};

use super::connection::{ServerShared, Serving};
use super::connections::Ticket;
use super::parked::{Parked, handle_stream_event};
use crate::connection::{MutexGuard, State};
use crate::context::{Frame, Origin};
use crate::dispatch::{Apart, CallStart, Respond, Running, Shift, Started};

/// What the driver keeps beside the services.
pub(super) struct Conversation {
    pub(super) respond: Arc<dyn Respond>,
    pub(super) codecs: Arc<[Codec]>,
    pub(super) codec: Codec,
    /// That of the call that is being started.
    pub(super) frame: Frame,
    /// Those that are collected; empty between reads.
    pub(super) replies: RefCell<Replies>,
    pub(super) origin: Arc<Origin>,
    /// Given back with the connection, when all of it is over.
    pub(super) ticket: Ticket,
}

impl Conversation {
    /// Acts on what comes next and is no plain request; nothing if `input` is used up, else whether a
    /// task was woken. Apart, because most of what comes is plain.
    #[inline(never)]
    pub(super) fn hear(
        &mut self,
        shared: &Arc<ServerShared>,
        mut state: MutexGuard<'_, State<Serving>>,
        input: &mut &[u8],
        shift: &mut Shift<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Option<bool>, ConnectionError> {
        let serving = &mut state.protocol;
        let event = serving.core.handle_input(input)?;
        let refused = serving.core.take_refused();
        if let Some(ServerEvent::Request(request)) = &event {
            serving.inline = Some(request.id);
        }
        drop(state);
        shift.router().admission().note_refused(refused);
        let woke = match event {
            Some(ServerEvent::Request(request)) => {
                self.start(shared, request, shift, cx);
                false
            }
            Some(event) => {
                shift.pause();
                self.act(shared, event, cx)
            }
            None => return Ok(None),
        };
        Ok(Some(woke))
    }

    /// Acts on whatever else than a request has come; true if a task was woken.
    #[cold]
    pub(super) fn act(
        &mut self,
        shared: &Arc<ServerShared>,
        event: ServerEvent<'_, Parked>,
        cx: &mut Context<'_>,
    ) -> bool {
        match event {
            ServerEvent::Body(call, body) => go_on(shared, call, body, cx),
            ServerEvent::Cancelled(parked) => parked.stop(),
            ServerEvent::Opened { codec } => {
                self.ticket.note_hello();
                let chosen = self.codecs.iter().find(|c| c.id().number() == codec);
                // The protocol accepts only what the server offers.
                self.codec = chosen.cloned().unwrap_or_default();
            }
            event => return handle_stream_event(shared, event),
        }
        false
    }

    /// Runs a call.
    #[inline]
    pub(super) fn start(
        &mut self,
        shared: &Arc<ServerShared>,
        request: ServerRequest<'_>,
        shift: &mut Shift<'_>,
        cx: &mut Context<'_>,
    ) {
        let call = request.id;
        let router = shift.router();
        let Some(method) = router.find(request.method) else {
            if request.oneway {
                return shared.finish_oneway(call);
            }
            return unknown_method(shared, call, request.method);
        };
        // From the moment it was read: the time it took to get here is the caller's.
        let deadline = request.timeout.map(|t| Deadline::after(shift.began(), t));
        let park = || Parked::new(request.oneway, deadline.map(Deadline::instant));
        let mut parked = None;
        self.frame.renew(&self.origin, deadline, request.metadata);
        let start = CallStart {
            call,
            oneway: request.oneway,
            codec: &self.codec,
            surroundings: Apart(&mut self.frame),
            items: request.items.then(|| {
                let parked = parked.get_or_insert_with(park);
                parked.receive_items(shared, call, &self.codec)
            }),
            body: &request.body,
            later: request
                .more
                .then(|| parked.get_or_insert_with(park).receive_body()),
            respond: &self.respond,
            collection: None,
        };
        match Running::start(router, method, start, shift, Some(cx)) {
            Started::Over => self.frame.clear(),
            Started::Waits(running) => {
                let mut parked = parked.unwrap_or_else(park);
                if request.more && !router.intercepts() {
                    parked.early = Some(Box::new(running));
                    self::keep(shared, call, parked);
                } else {
                    self::park(shared, call, parked, running);
                }
            }
        }
    }
}

/// Gives a handler that has to wait a task of its own.
pub(super) fn park(shared: &Arc<ServerShared>, call: CallId, parked: Parked, running: Running) {
    keep(shared, call, parked);
    spawn(shared, call, running);
}

fn keep(shared: &ServerShared, call: CallId, parked: Parked) {
    let serving = &mut shared.lock().protocol;
    serving.inline = None;
    let deadline = parked.deadline;
    if parked.oneway {
        serving.core.park_oneway(call, deadline, parked);
    } else {
        serving.core.park(call, deadline, parked);
    }
}

/// The arguments of a call are here that has waited for them: its handler is polled here, and its answer
/// goes with the report that they were read.
fn go_on(shared: &Arc<ServerShared>, call: CallId, body: Bytes, cx: &mut Context<'_>) {
    let (mut running, is_slow) = {
        let serving = &mut shared.lock().protocol;
        let parked = serving.core.parked(call);
        let Some(running) = parked.and_then(|parked| parked.take_body(body)) else {
            return;
        };
        let is_slow = running.is_slow();
        serving.inline = (!is_slow).then_some(call);
        (running, is_slow)
    };
    if is_slow || Pin::new(&mut *running).poll(cx).is_pending() {
        shared.lock().protocol.inline = None;
        spawn(shared, call, *running);
    }
}

fn spawn(shared: &ServerShared, call: CallId, running: Running) {
    let task = tokio::spawn(running);
    // The call may be answered already. Only the driver cancels, and it is here.
    if let Some(parked) = shared.lock().protocol.core.parked(call) {
        parked.task = Some(task);
    }
}

#[cold]
pub(super) fn unknown_method(shared: &ServerShared, call: CallId, method: MethodId) {
    let text = format!("no service here has a method with the id {method}");
    let status = Status::unimplemented(text).with_not_processed();
    shared.fail_unknown_method(call, &status);
}
