//! Where the items of a stream wait for their consumer.
//!
//! What bounds it? The window of the stream: more than that is not sent before some is consumed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use rpc_core::Status;
use rpc_core::wire::Body;

/// The consumer's end of what a connection receives.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rows of items, each behind its length.
    rows: VecDeque<Bytes>,
    /// Rows that came in small portions, after those in `rows`.
    small: BytesMut,
    /// How the stream ended.
    end: Option<Result<(), Status>>,
    consumer: Option<Waker>,
}

impl Inbox {
    /// The connection's end, and the consumer's.
    pub(crate) fn new() -> (InboxWriter, Arc<Self>) {
        let inbox = Arc::new(Self::default());
        (InboxWriter(inbox.clone()), inbox)
    }

    /// The next row of items; `None` after the end.
    pub(super) fn poll_row(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let mut state = self.lock();
        if let Some(row) = state.rows.pop_front() {
            return Poll::Ready(Some(Ok(row)));
        }
        if !state.small.is_empty() {
            let row = std::mem::take(&mut state.small);
            return Poll::Ready(Some(Ok(row.freeze())));
        }
        match &mut state.end {
            Some(end) => {
                let end = std::mem::replace(end, Ok(()));
                Poll::Ready(end.err().map(Err))
            }
            None => {
                let known = state.consumer.as_ref();
                if !known.is_some_and(|known| known.will_wake(cx.waker())) {
                    let former = state.consumer.replace(cx.waker().clone());
                    // Outside of the lock: dropping a waker may run a task's destructor.
                    drop(state);
                    drop(former);
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's end. Dropped before the end of the stream, it ends the stream with an error.
#[derive(Debug)]
pub(crate) struct InboxWriter(Arc<Inbox>);

impl InboxWriter {
    /// A row shorter than this is copied to those before it.
    const SMALL_BYTES: usize = 16 * 1024;

    /// Adds a row of items; gives the task to wake.
    pub(crate) fn push(&self, row: Body<'_>) -> Option<Waker> {
        let mut state = self.0.lock();
        if row.len() < Self::SMALL_BYTES {
            state.small.extend_from_slice(&row);
        } else {
            if !state.small.is_empty() {
                let small = std::mem::take(&mut state.small);
                state.rows.push_back(small.freeze());
            }
            state.rows.push_back(row.into_bytes());
        }
        state.consumer.take()
    }

    /// Ends the stream; gives the task to wake.
    pub(crate) fn end(&self, end: Result<(), Status>) -> Option<Waker> {
        let mut state = self.0.lock();
        state.end.get_or_insert(end);
        state.consumer.take()
    }
}

impl Drop for InboxWriter {
    fn drop(&mut self) {
        let waker = self.end(Err(Status::cancelled("the call of this stream is over")));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
