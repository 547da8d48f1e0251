//! Plain calls that arrived together: run one after the other, with the frame and the handler of the one
//! before wherever they serve the next.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use rpc_core::connection::{CallId, PlainRequests};
use rpc_core::wire::Body;
use rpc_core::{Codec, Deadline, WireTimeout};

use super::connection::ServerShared;
use super::conversation::{Conversation, park, unknown_method};
use super::parked::Parked;
use crate::context::{Frame, Origin};
use crate::dispatch::{CallStart, Collection, Current, Method, Respond, Running, Shift, Started};

/// What the calls have in common.
struct Together<'a> {
    shared: &'a Arc<ServerShared>,
    respond: &'a Arc<dyn Respond>,
    codec: &'a Codec,
    origin: &'a Arc<Origin>,
    collection: Collection<'a>,
}

impl Conversation {
    /// As [`start_plain`](Self::start_plain), on a server with interceptors; not in the way of others.
    #[inline(never)]
    pub(super) fn start_intercepted<'a>(
        &mut self,
        shared: &Arc<ServerShared>,
        requests: &mut PlainRequests<'_>,
        room: usize,
        shift: &mut Shift<'a>,
        cx: &mut Context<'_>,
    ) {
        self.start_plain::<true>(shared, requests, room, shift, cx);
    }

    /// Runs plain calls until their replies have `room` bytes or are to be sent, or one of them went
    /// elsewhere.
    #[inline]
    pub(super) fn start_plain<'a, const INTERCEPTED: bool>(
        &mut self,
        shared: &Arc<ServerShared>,
        requests: &mut PlainRequests<'_>,
        room: usize,
        shift: &mut Shift<'a>,
        cx: &mut Context<'_>,
    ) {
        let together = Together {
            shared,
            respond: &self.respond,
            codec: &self.codec,
            origin: &self.origin,
            collection: Collection {
                replies: &self.replies,
                connection: &**shared,
                is_passed: Cell::new(false),
            },
        };
        self.frame.enter(|| {
            let mut at_work = None;
            let ran = catch_unwind(AssertUnwindSafe(|| {
                together.run::<INTERCEPTED>(requests, room, shift, cx, &mut at_work);
            }));
            let Err(panic) = ran else {
                return;
            };
            let Some((call, method)) = at_work else {
                // It is none of a handler.
                resume_unwind(panic);
            };
            // With neither its deadline nor its arguments, which nobody asks for any more. Those behind it are
            // admitted anew.
            let start = together.start_of(call, None, &Body::Borrowed(&[]));
            Running::end_panicked(method, start, shift, panic);
            Frame::clear_current();
        });
    }
}

impl Together<'_> {
    /// Keeps in `at_work` which call is run, for when its handler panics. What is done for a call until it is
    /// over, or waits, counts as its handler.
    #[inline(always)]
    fn run<'a, const INTERCEPTED: bool>(
        &self,
        requests: &mut PlainRequests<'_>,
        room: usize,
        shift: &mut Shift<'a>,
        cx: &mut Context<'_>,
        at_work: &mut Option<(CallId, &'a Arc<Method>)>,
    ) {
        let router = shift.router();
        // Most of them ask for the method of the one before.
        let mut last = None;
        // And most have its timeout: that of the frame which is in place, and the deadline.
        let mut framed = None;
        while self.collection.replies.borrow().len() <= room
            && !self.collection.is_passed.get()
            && !shift.is_send_due()
            && let Some(request) = requests.next()
        {
            let call = request.id;
            let found = match last {
                Some((id, method)) if id == request.method => Some(method),
                _ => router.find(request.method),
            };
            let Some(method) = found else {
                self.collection.pass(call);
                unknown_method(self.shared, call, request.method);
                continue;
            };
            last = Some((request.method, method));
            let deadline = match framed {
                Some((timeout, deadline)) if timeout == request.timeout => deadline,
                _ => {
                    let deadline = frame_calls(self.origin, shift.began(), request.timeout);
                    framed = Some((request.timeout, deadline));
                    deadline
                }
            };
            let body = Body::Borrowed(request.body);
            let start = self.start_of(call, deadline, &body);
            *at_work = Some((call, method));
            let started =
                Running::start_inlined::<_, INTERCEPTED>(router, method, start, shift, Some(cx));
            *at_work = None;
            match started {
                Started::Over => {
                    if !Frame::clear_current() {
                        framed = None;
                    }
                }
                Started::Waits(running) => {
                    park_plain(self.shared, call, deadline, running);
                    framed = None;
                }
            }
        }
    }

    #[inline(always)]
    fn start_of<'b>(
        &'b self,
        call: CallId,
        deadline: Option<Deadline>,
        body: &'b Body<'b>,
    ) -> CallStart<'b, Current> {
        CallStart {
            call,
            oneway: false,
            codec: self.codec,
            surroundings: Current(deadline),
            items: None,
            body,
            later: None,
            respond: self.respond,
            collection: Some(&self.collection),
        }
    }
}

/// Makes the frame in place that of calls with this timeout, and gives their deadline. Not inlined: most
/// calls have the timeout of the one before.
#[inline(never)]
fn frame_calls(origin: &Arc<Origin>, received: Instant, timeout: WireTimeout) -> Option<Deadline> {
    let timeout = timeout.unpack();
    let deadline = timeout.map(|timeout| Deadline::after(received, timeout));
    Frame::renew_current(origin, deadline);
    deadline
}

/// Parks a plain call. Not inlined: most are over when they were polled.
#[inline(never)]
fn park_plain(
    shared: &Arc<ServerShared>,
    call: CallId,
    deadline: Option<Deadline>,
    running: Running,
) {
    let parked = Parked::new(false, deadline.map(Deadline::instant));
    park(shared, call, parked, running);
}
