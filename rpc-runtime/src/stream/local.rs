//! A stream that was made in this process.
//!
//! Why is it not just a boxed `Stream`? Because then each item of a small type would cost more to be
//! asked for than to be encoded. Who knows the type of the stream asks and encodes in one loop.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use rpc_core::Status;
use rpc_core::codec::CodecError;
use rpc_core::wire::{Batch, ItemError};
use serde_core::Serialize;

use super::Terms;
use super::source::Filled;

/// A stream of this process, behind type erasure.
pub(super) trait Local<T>: Send {
    /// The next item, as it is.
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>>;

    /// Encodes items until the batch is full, no more is ready, or the stream ends.
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        terms: &Terms,
        batch: &mut Batch,
    ) -> Filled;
}

impl<T, S> Local<T> for S
where
    T: Serialize + 'static,
    S: Stream<Item = Result<T, Status>> + Send,
{
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        self.poll_next(cx)
    }

    fn poll_fill(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        terms: &Terms,
        batch: &mut Batch,
    ) -> Filled {
        fill(cx, terms, batch, |cx| self.as_mut().poll_next(cx))
    }
}

/// Encodes what `poll_next` gives.
#[inline]
pub(super) fn fill<T: Serialize + 'static>(
    cx: &mut Context<'_>,
    terms: &Terms,
    batch: &mut Batch,
    mut poll_next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<T, Status>>>,
) -> Filled {
    while batch.has_room(terms.batch_bytes) {
        match poll_next(cx) {
            Poll::Pending => return Filled::Pending,
            Poll::Ready(None) => return Filled::Ended(Ok(())),
            Poll::Ready(Some(Err(status))) => return Filled::Ended(Err(status)),
            Poll::Ready(Some(Ok(item))) => {
                let limit = terms.item_bytes_max;
                let pushed = match terms.codec.as_encoded(&item) {
                    Some(item) => batch.push_encoded(limit, item),
                    None => batch.push(limit, |out| terms.codec.encode_item(&item, out)),
                };
                if let Err(error) = pushed {
                    return Filled::Ended(Err(refused(error, limit)));
                }
            }
        }
    }
    Filled::Full
}

#[cold]
fn refused(error: ItemError<CodecError>, limit: usize) -> Status {
    match error {
        ItemError::Encode(error) => {
            Status::internal("an item could not be encoded").with_source(error)
        }
        ItemError::TooLarge(length) => Status::resource_exhausted(format!(
            "an item has {length} bytes; the other side accepts {limit}"
        )),
        _ => Status::internal("an item could not be sent"),
    }
}

pin_project! {
    /// A stream of values as a stream of results.
    pub(super) struct Infallible<S> {
        #[pin]
        stream: S,
    }
}

impl<S> Infallible<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream }
    }
}

impl<S: Stream> Stream for Infallible<S> {
    type Item = Result<S::Item, Status>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().stream.poll_next(cx).map(|item| item.map(Ok))
    }
}
