//! One call on one connection, as a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use rpc_core::codec::{CodecError, leaving_out};
use rpc_core::connection::{RequestHead, StartError};
use rpc_core::wire::{Encoded, Parts};
use rpc_core::{Deadline, MethodId, Status};

use super::call::{Encode, Outbound};
use super::connection::{Client, Connection};
use super::line::{Entered, enter};
use super::pickup::{Pending, Picked, poll_answer};
use super::slot::{Answer, Entry, Failure, RawReply};
use super::streams;
use super::waiters::Ticket;
use crate::connection::{MutexGuard, State};
use crate::contain::catch;
use crate::stream::{Source, capturing, follows};

/// An attempt that did not succeed.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The deadline that it was held to.
    pub(super) deadline: Option<Deadline>,
    /// What was taken of its stream cannot be sent again.
    pub(super) has_items: bool,
    /// The connection was found closed, and nothing was handed to it.
    pub(super) unsent: bool,
}

/// Makes a call on one connection.
#[inline]
pub(super) async fn attempt(
    connection: &Arc<Connection>,
    call: &Outbound<'_>,
    encode: &Encode<'_>,
) -> Result<RawReply, Failed> {
    let mut attempt = Attempt::of(connection, call, encode);
    let answer = (&mut attempt).await;
    answer.map_err(|failure| Failed::of(&attempt, failure))
}

impl Failed {
    pub(super) fn of(attempt: &Attempt<'_>, failure: Failure) -> Self {
        Self {
            failure,
            deadline: attempt.head.deadline.map(Deadline::at),
            has_items: attempt.has_items,
            unsent: !attempt.begun,
        }
    }

    /// Of a request that found its connection closed.
    pub(super) fn unsent(failure: Failure, deadline: Option<Instant>) -> Self {
        Self {
            unsent: true,
            ..Self::sent(failure, deadline, false)
        }
    }

    /// Of a request that was sent.
    pub(super) fn sent(failure: Failure, deadline: Option<Instant>, has_items: bool) -> Self {
        Self {
            failure,
            deadline: deadline.map(Deadline::at),
            has_items,
            unsent: false,
        }
    }
}

/// The server knows ids, the client names: together they tell a missing service from a missing
/// method. See `[call.method]` in `docs/protocol.md`.
#[cold]
pub(super) fn name_missing(
    connection: &Connection,
    (service, method): (&str, &str),
    failure: Failure,
) -> Failure {
    if !failure.unknown_method {
        return failure;
    }
    let peer = &connection.peer;
    let status = if connection.lacks_service(service) {
        Status::not_found(format!("{peer} has no service {service:?}"))
    } else {
        Status::unimplemented(format!("{peer} has no method {method:?} in {service:?}"))
    };
    status.with_not_processed().into()
}

/// Waits for room, sends the request, waits for the answer.
///
/// The arguments are encoded straight into the outgoing buffer of the connection. Dropping the
/// future frees the place in the queue or the slot at once, and cancels the call on the server.
pub(super) struct Attempt<'a> {
    connection: &'a Arc<Connection>,
    head: RequestHead<'a>,
    encode: &'a Encode<'a>,
    oneway: bool,
    /// The request had items behind it: what is sent of them cannot be sent again.
    has_items: bool,
    /// The request was encoded for the connection, even if none of it was written.
    begun: bool,
    stage: Stage,
}

enum Stage {
    /// Not sent. With a ticket while waiting for room.
    New(Option<Ticket>),
    /// Sent; the slot is held.
    Sent(Pending),
    Done,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        connection: &'a Arc<Connection>,
        head: RequestHead<'a>,
        encode: &'a Encode<'a>,
    ) -> Self {
        Self {
            connection,
            head,
            encode,
            oneway: false,
            has_items: false,
            begun: false,
            stage: Stage::New(None),
        }
    }

    pub(super) fn of(
        connection: &'a Arc<Connection>,
        call: &'a Outbound<'_>,
        encode: &'a Encode<'a>,
    ) -> Self {
        let mut attempt = Self::new(connection, call.head(), encode);
        attempt.oneway = call.oneway;
        attempt
    }

    /// Does not wait for an answer: ready with an empty reply once the request is queued.
    #[cfg(test)]
    pub(super) fn oneway(mut self) -> Self {
        self.oneway = true;
        self
    }

    /// True if items were to follow the request.
    pub(super) const fn has_items(&self) -> bool {
        self.has_items
    }

    #[inline]
    fn poll_send(&mut self, ticket: Option<Ticket>, cx: &Context<'_>) -> Poll<Answer> {
        let (connection, encode, oneway) = (self.connection, self.encode, self.oneway);
        let head = &mut self.head;
        let entered = enter(connection, ticket, head, cx, oneway, |client, head| {
            if !oneway {
                return start(connection, client, head, encode, cx).map(Some);
            }
            let encode = |out: &mut Vec<u8>| guard(out, encode);
            let started = client.core.start_oneway(*head, encode);
            started.map(|()| None).map_err(boxed)
        });
        let started = match entered {
            Entered::Sent(started) => started,
            Entered::Waits(ticket) => {
                self.stage = Stage::New(Some(ticket));
                return Poll::Pending;
            }
            // The place in line is given back when this future is dropped.
            Entered::Late(status) => return Poll::Ready(Err(status.into())),
            Entered::Closed(status) => {
                self.stage = Stage::Done;
                return Poll::Ready(Err(status.into()));
            }
        };
        self.stage = Stage::Done;
        self.begun = true;
        match started {
            Ok(Some(pending)) => {
                self.has_items = pending.has_items;
                self.stage = Stage::Sent(pending);
                Poll::Pending
            }
            Ok(None) => Poll::Ready(Ok(RawReply::empty())),
            Err(error) => Poll::Ready(Err(start_status(*error).into())),
        }
    }

    #[inline]
    fn poll_answer(&mut self, pending: Pending, cx: &mut Context<'_>) -> Poll<Answer> {
        let picked = match pending.take_short(self.connection) {
            Some(short) => Picked::Short(short),
            None => ready!(poll_answer(self.connection, pending, cx)),
        };
        self.stage = Stage::Done;
        Poll::Ready(match picked {
            Picked::Short(short) => Ok(short.into()),
            Picked::Reply(reply) => Ok(reply),
            Picked::Failure(failure, deadline) => {
                self.head.deadline = deadline;
                Err(failure)
            }
        })
    }
}

/// Appends a request, on a connection that has room for it. Why it could not be is behind a pointer: most
/// are, and what tells so fits into registers.
#[inline(never)]
pub(super) fn start(
    connection: &Arc<Connection>,
    client: &mut Client,
    head: &RequestHead<'_>,
    encode: &Encode<'_>,
    cx: &Context<'_>,
) -> Result<Pending, Box<StartError>> {
    let mut source = None;
    let encode = |out: &mut Vec<u8>| {
        let encode = || capturing(|| guard(out, encode));
        let ((encoded, captured), parts) = leaving_out(encode);
        if let Err(error) = encoded {
            return Err(undo(error, captured, parts));
        }
        source = captured;
        Ok(Encoded::new(follows(source.is_some()), parts))
    };
    let mut letterbox = 0;
    let entry = || {
        letterbox = client.lender.lend();
        Entry::new(letterbox, client.spares.take(letterbox, cx.waker()))
    };
    let started = client.core.start_call_with(*head, entry, encode);
    let call = started.map_err(boxed)?;
    let has_items = source.is_some();
    if let Some(source) = source {
        streams::upload(connection, client, call, source);
    }
    Ok(Pending {
        call,
        letterbox,
        has_items,
    })
}

#[cold]
fn boxed(error: StartError) -> Box<StartError> {
    Box::new(error)
}

/// Lets go of what the arguments have left that could not be encoded.
#[cold]
fn undo(error: CodecError, _: Option<Box<dyn Source>>, _: Parts) -> CodecError {
    error
}

/// Sees to it that what was appended is written.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "most often the driver is about to do it"
)]
pub(super) fn flush(connection: &Connection, state: MutexGuard<'_, State<Client>>, timed: bool) {
    if !state.is_attended() {
        flush_unattended(connection, state, timed);
    }
}

/// The same for a oneway call.
#[cold]
pub(super) fn flush_oneway(connection: &Connection, mut state: MutexGuard<'_, State<Client>>) {
    let lone = state.is_lone() && state.protocol.core.open_calls() <= 1;
    if !state.is_attended() {
        state.anchor_soon();
        connection.shared.flush_soon(state, lone);
    }
}

/// As [`flush`], where the driver is not about to do it.
#[inline(never)]
fn flush_unattended(
    connection: &Connection,
    mut state: MutexGuard<'_, State<Client>>,
    timed: bool,
) {
    state.anchor_soon();
    let alone = state.protocol.core.open_calls() <= 1;
    if alone || timed {
        connection.shared.flush_soon(state, alone);
    } else {
        connection.shared.flush_with_others(state);
    }
}

/// Gives up a call that was sent, or a place in line.
pub(super) fn give_up(connection: &Connection, call: Option<Pending>, ticket: Option<Ticket>) {
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    let waker = ticket.and_then(|ticket| client.waiters.leave(ticket));
    let entry = call.and_then(|pending| {
        let Pending {
            call, letterbox, ..
        } = pending;
        let entry = client.release(call);
        if entry.is_none() {
            // It was answered, and nobody came for the reply.
            client.lender.take_back(letterbox);
        }
        entry
    });
    let next = client.next_waiter();
    if client.core.outgoing().is_empty() {
        // A cancel may have to wait for its turn.
        connection.shared.watch_timer(state);
    } else {
        let alone = client.core.open_calls() == 0;
        connection.shared.flush_soon(state, alone);
    }
    // Outside of the lock: dropping a waker may run a task's destructor.
    drop((waker, entry));
    if let Some(next) = next {
        next.wake();
    }
}

/// A panic of the user's `Serialize` is an error of this call, and of nothing else.
#[inline]
pub(super) fn guard(out: &mut Vec<u8>, encode: &Encode<'_>) -> Result<(), CodecError> {
    catch(|| encode(out))
        .unwrap_or_else(|_| Err(CodecError::encode("an argument's Serialize panicked")))
}

pub(super) fn start_status(error: StartError) -> Status {
    let status = match error {
        StartError::Encode(error) => {
            Status::internal("the arguments could not be encoded").with_source(error)
        }
        StartError::TooLarge { length, limit } => Status::resource_exhausted(format!(
            "the arguments have {length} bytes; the server accepts {limit}"
        )),
        StartError::Full => Status::resource_exhausted("too many calls on this connection"),
        _ => Status::unavailable("the connection is closed"),
    };
    status.with_not_processed()
}

impl Future for Attempt<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.stage {
            Stage::New(ticket) => self.poll_send(ticket, cx),
            Stage::Sent(pending) => self.poll_answer(pending, cx),
            Stage::Done => Poll::Pending,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (ticket, call) = match self.stage {
            Stage::Done | Stage::New(None) => return,
            Stage::New(Some(ticket)) => (Some(ticket), None),
            Stage::Sent(call) => (None, Some(call)),
        };
        give_up(self.connection, call, ticket);
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method: MethodId = self.head.method;
        f.debug_struct("Attempt")
            .field("method", &method)
            .finish_non_exhaustive()
    }
}
