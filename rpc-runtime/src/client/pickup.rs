//! How a caller takes its answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rpc_core::Status;
use rpc_core::connection::CallId;

use super::connection::Connection;
use super::slot::{Entry, Failure, RawReply, ShortReply, Slot};
use super::streams;

/// A call that was sent, and what it holds on its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) call: CallId,
    pub(super) letterbox: u32,
    /// What was taken of its stream cannot be sent again.
    pub(super) has_items: bool,
}

impl Pending {
    /// Takes the reply, and ends the call, if it is a short one and has come.
    #[inline]
    pub(super) fn take_short(self, connection: &Connection) -> Option<ShortReply> {
        connection.letterboxes.take(self.letterbox)
    }
}

/// What a caller was given.
pub(super) enum Picked {
    Short(ShortReply),
    Reply(RawReply),
    /// With the deadline that the call was held to.
    Failure(Failure, Option<Instant>),
}

/// Takes the answer to a call, which is over then, if its letterbox was empty.
#[inline(never)]
pub(super) fn poll_answer(
    connection: &Arc<Connection>,
    Pending {
        call, letterbox, ..
    }: Pending,
    cx: &Context<'_>,
) -> Poll<Picked> {
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    let Some(entry) = client.core.data(call) else {
        // The reply came in between.
        drop(state);
        let short = connection.letterboxes.take(letterbox);
        return Poll::Ready(short.map_or_else(gone, Picked::Short));
    };
    if let Entry {
        caller: Some(waker),
        ..
    } = entry
    {
        if !waker.will_wake(cx.waker()) {
            let former = std::mem::replace(waker, cx.waker().clone());
            // Outside of the lock: dropping a waker may run a task's destructor.
            drop(state);
            drop(former);
        }
        return Poll::Pending;
    }
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
    let deadline = match entry.slot {
        Slot::Failed(_) => client.core.deadline(call),
        _ => None,
    };
    let entry = client.release(call);
    drop(state);
    Poll::Ready(match entry.map(|entry| entry.slot) {
        Some(Slot::Replied(reply)) => Picked::Reply(reply.into()),
        Some(Slot::Failed(failure)) => Picked::Failure(failure, deadline),
        Some(Slot::Waiting | Slot::Streaming) | None => gone(),
    })
}

#[cold]
fn gone() -> Picked {
    let status = Status::internal("the slot of the call is gone");
    Picked::Failure(status.into(), None)
}
