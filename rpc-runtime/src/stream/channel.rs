//! A stream into which somebody sends.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rpc_core::Status;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::coop;

/// Sends items into a [`Streaming`](super::Streaming); made by
/// [`Streaming::channel`](super::Streaming::channel).
///
/// The stream ends when the last clone is dropped.
pub struct Sender<T> {
    sender: mpsc::Sender<Result<T, Status>>,
}

/// Nobody takes the items any more: the stream was dropped, or its call is over. Gives the item
/// back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody takes the items of the stream any more")
    }
}

impl<T> Error for SendError<T> {}

impl<T> Sender<T> {
    /// Sends an item; waits while as many as the channel holds are not taken.
    ///
    /// If the future is dropped, the item is not sent.
    ///
    /// # Errors
    /// Nobody takes the items any more.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        // However much room there is: the task of the producer gives others a turn now and then.
        coop::consume_budget().await;
        let Some(item) = self.try_send(item)? else {
            return Ok(());
        };
        let sent = self.sender.send(Ok(item)).await;
        sent.map_err(|mpsc::error::SendError(item)| give_back(item))
    }

    /// Sends an item if there is room for it now; `Ok(Some(item))` if there is not.
    ///
    /// # Errors
    /// Nobody takes the items any more.
    pub fn try_send(&self, item: T) -> Result<Option<T>, SendError<T>> {
        use mpsc::error::TrySendError::{Closed, Full};
        match self.sender.try_send(Ok(item)) {
            Ok(()) => Ok(None),
            Err(Full(item)) => Ok(item.ok()),
            Err(Closed(item)) => Err(give_back(item)),
        }
    }

    /// Ends the stream with an error, behind the items that were sent; waits for room as
    /// [`send`](Self::send) does.
    pub async fn fail(self, status: Status) {
        // Who does not listen any more misses nothing.
        let _ = self.sender.send(Err(status)).await;
    }

    /// Ready when nobody takes the items any more.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// True if nobody takes the items any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// What could not be sent is always an item: an error is sent by the last who can.
fn give_back<T>(item: Result<T, Status>) -> SendError<T> {
    match item {
        Ok(item) => SendError(item),
        Err(_) => unreachable!("only items are given back"),
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// The other end of a [`Sender`].
pub(super) struct Sent<T> {
    receiver: mpsc::Receiver<Result<T, Status>>,
    /// What was taken out of the channel at once: one by one, that costs more than to encode it.
    taken: VecDeque<Result<T, Status>>,
}

impl<T> Sent<T> {
    const TAKEN_MAX: usize = 64;
}

pub(super) fn channel<T>(capacity: usize) -> (Sender<T>, Sent<T>) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    let taken = VecDeque::new();
    (Sender { sender }, Sent { receiver, taken })
}

// Items are moved, never pinned.
impl<T> Unpin for Sent<T> {}

impl<T> Stream for Sent<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(item) = self.taken.pop_front() {
            return Poll::Ready(Some(item));
        }
        let Self { receiver, taken } = &mut *self;
        let mut more = Vec::from(std::mem::take(taken));
        let came = receiver.poll_recv_many(cx, &mut more, Self::TAKEN_MAX);
        *taken = more.into();
        came.map(|_| taken.pop_front())
    }
}
