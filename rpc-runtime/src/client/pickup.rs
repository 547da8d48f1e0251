//! How a caller takes its answer out of its slot.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rpc_core::Status;
use rpc_core::connection::CallId;

use super::connection::{Client, Connection};
use super::slot::{Entry, Failure, RawReply, ShortReply, Slot};
use super::streams;
use crate::connection::{MutexGuard, State};

/// What a caller took out of its slot.
pub(super) enum Picked {
    /// A short message, which was copied out.
    Short,
    Reply(RawReply),
    /// With the deadline that the call was held to.
    Failure(Failure, Option<Instant>),
}

/// Takes the answer to a call, which is over then.
#[inline]
pub(super) fn poll_answer(
    connection: &Arc<Connection>,
    call: CallId,
    cx: &Context<'_>,
    short: &mut ShortReply,
) -> Poll<Picked> {
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    match client.core.data(call) {
        Some(Entry {
            caller: Some(waker),
            ..
        }) => {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        Some(Entry {
            slot: Slot::Short(message),
            streams: None,
            ..
        }) => *short = *message,
        _ => return poll_long_answer(connection, state, call, short),
    }
    client.core.discard(call);
    let next = client.next_waiter();
    drop(state);
    if let Some(next) = next {
        next.wake();
    }
    Poll::Ready(Picked::Short)
}

/// Takes an answer that is more than a short message.
fn poll_long_answer(
    connection: &Arc<Connection>,
    mut state: MutexGuard<'_, State<Client>>,
    call: CallId,
    short: &mut ShortReply,
) -> Poll<Picked> {
    let client = &mut state.protocol;
    let mut deadline = None;
    if let Some(entry) = client.core.data(call) {
        if entry.streams.is_some()
            && let Some((answer, inbox)) = entry.take_streaming_reply()
        {
            drop(state);
            let items = streams::receiver(connection, call, inbox);
            return Poll::Ready(match answer {
                Ok(reply) => Picked::Reply(reply.with_items(items)),
                Err(failure) => Picked::Failure(failure, None),
            });
        }
        if let Slot::Answered(Err(_)) = entry.slot {
            deadline = client.core.deadline(call);
        }
    }
    let entry = client.core.release(call);
    let next = client.next_waiter();
    drop(state);
    if let Some(next) = next {
        next.wake();
    }
    Poll::Ready(match entry {
        Some(entry) => match entry.slot {
            Slot::Answered(Ok(reply)) => Picked::Reply(reply),
            Slot::Answered(Err(failure)) => Picked::Failure(failure, deadline),
            Slot::Short(message) => {
                *short = message;
                Picked::Short
            }
            Slot::Waiting | Slot::Streaming => gone(),
        },
        None => gone(),
    })
}

#[cold]
fn gone() -> Picked {
    let status = Status::internal("the slot of the call is gone");
    Picked::Failure(status.into(), None)
}
