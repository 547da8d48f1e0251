//! Where the items of a stream wait for their consumer.
//!
//! What bounds it? The window of the stream: more than that is not sent before some is consumed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use rpc_core::Status;
use rpc_core::spare;
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
    /// The last of these portions were many.
    is_fast: bool,
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
            return Poll::Ready(Some(Ok(state.take_small())));
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

/// A row shorter than this is copied to those before it.
const SMALL_BYTES: usize = 16 * 1024;
/// Where small rows are copied to that come faster than they are consumed.
const BLOCK_BYTES: usize = 64 * 1024;

impl State {
    fn push(&mut self, row: Body<'_>) {
        if row.len() < SMALL_BYTES {
            if self.small.capacity() - self.small.len() < row.len() {
                self.make_room(row.len());
            }
            self.small.extend_from_slice(&row);
            return;
        }
        self.close_small();
        self.rows.push_back(match row {
            Body::Borrowed(row) => {
                let mut block = block(row.len().next_power_of_two());
                block.extend_from_slice(row);
                spare::keep(block)
            }
            row => row.into_bytes(),
        });
    }

    /// Room for so much more of small rows.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        if !self.is_fast && self.small.len() + bytes <= SMALL_BYTES {
            self.small.reserve(bytes);
            return;
        }
        self.close_small();
        self.small = block(BLOCK_BYTES);
    }

    /// What comes from now on is not copied to what is here.
    fn close_small(&mut self) {
        if !self.small.is_empty() {
            let small = self.take_small();
            self.rows.push_back(small);
        }
    }

    fn take_small(&mut self) -> Bytes {
        let small = std::mem::take(&mut self.small);
        self.is_fast = small.len() >= SMALL_BYTES;
        match small.capacity() < BLOCK_BYTES {
            true => small.freeze(),
            false => spare::keep(small),
        }
    }
}

/// Memory for so many bytes, which others have had if there is some: the allocator would give it back to
/// the system behind each burst.
fn block(bytes: usize) -> BytesMut {
    let mut block = spare::take(bytes);
    block.reserve(bytes);
    block
}

/// The connection's end. Dropped before the end of the stream, it ends the stream with an error.
#[derive(Debug)]
pub(crate) struct InboxWriter(Arc<Inbox>);

impl InboxWriter {
    /// Adds a row of items; gives the task to wake.
    pub(crate) fn push(&self, row: Body<'_>) -> Option<Waker> {
        let mut state = self.0.lock();
        state.push(row);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn next(inbox: &Inbox) -> Option<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        match inbox.poll_row(&mut cx) {
            Poll::Ready(row) => row.map(|row| row.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn rows_come_out_as_they_went_in_while_others_have_their_memory_again() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (writer, inbox) = Inbox::new();
            let (mut given, mut taken) = (Vec::new(), Vec::new());
            // With its consumer, and what it has to be as long as it is there.
            let mut held = VecDeque::new();
            for _ in 0..200 {
                let longest = [40, 4_000, 40_000, 100_000][random.usize(..4)];
                let row = vec![random.u8(..); random.usize(1..longest)];
                given.extend_from_slice(&row);
                writer.push(match random.bool() {
                    true => Body::Borrowed(&row),
                    false => Body::Owned(row.clone().into()),
                });
                for row in (0..random.usize(..3)).map_while(|_| next(&inbox)) {
                    taken.extend_from_slice(&row);
                    held.push_back((row.to_vec(), row));
                }
                while held.len() > random.usize(..8) {
                    let (expected, row) = held.pop_front().unwrap();
                    assert!(expected == row, "seed {seed}");
                }
            }
            taken.extend(std::iter::from_fn(|| next(&inbox)).flatten());
            assert!(taken == given, "seed {seed}");
        }
    }

    #[test]
    fn many_small_rows_are_few_blocks_and_one_is_no_block() {
        let (writer, inbox) = Inbox::new();
        let capacity = || inbox.lock().small.capacity();
        writer.push(Body::Borrowed(&[1; 100]));
        assert!(capacity() < SMALL_BYTES, "{}", capacity());
        for _ in 0..1000 {
            writer.push(Body::Borrowed(&[2; 1000]));
        }
        let rows: Vec<_> = std::iter::from_fn(|| next(&inbox)).collect();
        assert!((16..20).contains(&rows.len()), "{}", rows.len());
        // As slow as before, after a portion that may be the beginning of many.
        for _ in 0..2 {
            writer.push(Body::Borrowed(&[3; 100]));
            assert_eq!(next(&inbox).unwrap(), [3; 100][..]);
        }
        writer.push(Body::Borrowed(&[3; 100]));
        assert!(capacity() < SMALL_BYTES, "{}", capacity());
    }
}
