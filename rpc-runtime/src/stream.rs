//! Streams of values as arguments and replies.
//!
//! How does a [`Streaming`] travel, if all that travels is serialized? It is worth nothing in the
//! encoded message; serializing it within a call hands its items to that call, and deserializing it
//! picks up the items that came with the call: see [`passage`]. So a stream is recognised by its
//! type, under any alias and inside any struct.

mod channel;
mod inbox;
mod local;
mod passage;
mod pump;
mod receiver;
mod source;

pub use channel::{SendError, Sender};
pub(crate) use inbox::{Inbox, InboxWriter};
pub(crate) use passage::{Delivery, capturing, delivering};
pub(crate) use pump::{Pump, PumpEnd, Uplink};
#[cfg(feature = "fleet")]
pub(crate) use receiver::Follower;
pub(crate) use receiver::{Downlink, Receiver};
pub use source::Items;
pub(crate) use source::{Source, Terms, in_current_context, in_time};

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use rpc_core::Status;
use rpc_core::wire::Follows;
use serde_core::de::{DeserializeOwned, Error as _};
use serde_core::ser::Error as _;
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use local::{Infallible, Local};

/// What a message with or without a stream is followed by.
#[inline]
pub(crate) const fn follows(items: bool) -> Follows {
    if items {
        Follows::Items
    } else {
        Follows::Nothing
    }
}

/// A stream of values, as an argument of a method, in its reply, or both.
///
/// Make one from any [`Stream`] with [`new`](Self::new) or [`try_new`](Self::try_new), or send into
/// one with [`channel`](Self::channel). Consume it with [`next`](Self::next), or as a `Stream` of
/// `Result<T, Status>`.
///
/// - *Order and end.* Items arrive in order, each once. The stream ends after its last item, or with
///   one error: the status its producer ended it with, or what became of the call.
/// - *Back-pressure.* A producer runs ahead of its consumer by the window of the stream (257 KiB
///   unless configured otherwise), and is not polled beyond that.
/// - *Cancellation.* Dropping a stream that was received drops its producer at the other end; for a
///   reply, it cancels the call. The deadline of a call holds until the end of its streams.
/// - *Limits.* One stream among the arguments and one in the reply; an item may be as long as a
///   message. Errors and oneway calls carry no streams.
pub struct Streaming<T> {
    inner: Mutex<Inner<T>>,
}

#[cfg_attr(
    all(feature = "codecs", feature = "fleet"),
    expect(
        clippy::large_enum_variant,
        reason = "it is looked into for each item, and there is one for each stream"
    )
)]
enum Inner<T> {
    /// Made in this process.
    Local(Pin<Box<dyn Local<T>>>),
    /// Came with a call.
    Received(Receiver),
    /// Given to a call.
    Lent(Lent<T>),
    Ended,
}

/// What was given to a call, until the call takes it; a call that has to be sent again finds it here.
type Lent<T> = Arc<Mutex<Option<Inner<T>>>>;

impl<T: Serialize + Send + 'static> Streaming<T> {
    /// A stream of values.
    pub fn new(stream: impl Stream<Item = T> + Send + 'static) -> Self {
        Self::try_new(Infallible::new(stream))
    }

    /// A stream that may end with an error, which its consumer gets behind the items before it.
    pub fn try_new(stream: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Self {
        Self::from_inner(Inner::Local(Box::pin(stream)))
    }

    /// A stream and where to send its items; `capacity` of them may wait to be taken, at least one.
    /// As many again, 64 at most, are taken at once, to be encoded one by one.
    ///
    /// The stream ends when the last clone of the sender is dropped.
    #[must_use]
    pub fn channel(capacity: usize) -> (Sender<T>, Self) {
        let (sender, stream) = channel::channel(capacity);
        (sender, Self::try_new(stream))
    }
}

impl<T> Streaming<T> {
    fn from_inner(inner: Inner<T>) -> Self {
        Self {
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn received(receiver: Receiver) -> Self {
        Self::from_inner(Inner::Received(receiver))
    }

    /// Gives the stream to a call.
    fn lend(&self) -> Lent<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *inner, Inner::Ended) {
            Inner::Lent(lent) => {
                *inner = Inner::Lent(lent.clone());
                lent
            }
            owned => {
                let lent = Arc::new(Mutex::new(Some(owned)));
                *inner = Inner::Lent(lent.clone());
                lent
            }
        }
    }
}

impl<T: DeserializeOwned + 'static> Streaming<T> {
    /// The next item; `None` after the end. Nothing is lost if the future is dropped.
    #[inline]
    pub async fn next(&mut self) -> Option<Result<T, Status>> {
        Next { stream: self }.await
    }
}

/// The next item of a stream.
struct Next<'a, T> {
    stream: &'a mut Streaming<T>,
}

impl<T: DeserializeOwned + 'static> Future for Next<'_, T> {
    type Output = Option<Result<T, Status>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.stream).poll_next(cx)
    }
}

impl<T: DeserializeOwned + 'static> Stream for Streaming<T> {
    type Item = Result<T, Status>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Received(receiver) = inner
            && let Some(item) = receiver.next_in_row()
        {
            return Poll::Ready(Some(Ok(item)));
        }
        // What is written to memory there would be waited for here, for each item.
        let mut place = None;
        let end = match inner.poll_into(cx, &mut place) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(end) => end,
        };
        match (place, end) {
            (Some(item), _) => Poll::Ready(Some(Ok(item))),
            (None, Some(status)) => Poll::Ready(Some(Err(status))),
            (None, None) => Poll::Ready(None),
        }
    }
}

impl<T: DeserializeOwned + 'static> Inner<T> {
    /// Puts the next item into its place; without one, the stream has ended, with an error or well.
    #[inline(never)]
    fn poll_into(&mut self, cx: &mut Context<'_>, place: &mut Option<T>) -> Poll<Option<Status>> {
        self.poll_next(cx).map(|next| match next {
            Some(Ok(item)) => {
                *place = Some(item);
                None
            }
            Some(Err(status)) => Some(status),
            None => None,
        })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        let polled = match self {
            Self::Received(receiver) => receiver.poll_next(cx),
            Self::Local(stream) => stream.as_mut().poll_item(cx),
            Self::Lent(_) => {
                let status = Status::failed_precondition("this stream was given to a call");
                Poll::Ready(Some(Err(status)))
            }
            Self::Ended => return Poll::Ready(None),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            // An error is the end as well.
            *self = Self::Ended;
        }
        polled
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Serialize for Streaming<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = source::FromLent::new(self.lend());
        passage::leave(Box::new(source)).map_err(S::Error::custom)?;
        serializer.serialize_unit()
    }
}

impl<'de, T: Serialize + DeserializeOwned + Send + 'static> Deserialize<'de> for Streaming<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        let receiver = passage::enter().map_err(D::Error::custom)?;
        Ok(Self::received(receiver))
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}
