//! Items as they are received, on their way to a consumer.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rpc_core::codec::sharing;
use rpc_core::connection::CallId;
use rpc_core::wire::Batch;
use rpc_core::{Code, Codec, DecodeLimits, Status};
use serde::de::DeserializeOwned;

use super::source::{Filled, fill_contained};
use super::{Inbox, Source, Terms};

/// The connection that the items come from.
pub(crate) trait Downlink: Send + Sync {
    /// Items of so many bytes, lengths included, were consumed.
    fn consumed(&self, call: CallId, bytes: usize);
    /// The consumer has gone: at the end of the stream, or before.
    fn abandon(&self, call: CallId);
}

/// Is told how a stream ends. Dropped before, its consumer had enough.
pub(crate) trait Follower: Send {
    /// The items have ended, or the stream has failed.
    fn ended(self: Box<Self>, end: Result<(), &Status>);
}

/// The consumer's end of a stream, not yet decoded.
pub(crate) struct Receiver {
    feed: Feed,
    codec: Codec,
    /// What it means that an item cannot be decoded.
    undecodable: Code,
    /// The row of items that is being consumed.
    row: Bytes,
    /// Bytes consumed of which the feed was not told.
    consumed: usize,
    followers: Vec<Box<dyn Follower>>,
}

enum Feed {
    Connection {
        inbox: Arc<Inbox>,
        call: CallId,
        link: Arc<dyn Downlink>,
    },
    /// Within the process, from the source itself.
    Source {
        source: Box<dyn Source>,
        terms: Terms,
        end: Option<Result<(), Status>>,
    },
}

impl Receiver {
    /// The consumer reports at the latest when it has taken so much.
    const REPORT_BYTES: usize = 16 * 1024;

    /// Items that a connection receives.
    pub(crate) const fn new(
        codec: Codec,
        inbox: Arc<Inbox>,
        call: CallId,
        link: Arc<dyn Downlink>,
    ) -> Self {
        Self::of(codec, Feed::Connection { inbox, call, link })
    }

    /// Items of a source in this process. They are encoded and decoded as any others.
    pub(crate) fn direct(codec: Codec, source: Box<dyn Source>, item_bytes_max: usize) -> Self {
        let terms = Terms {
            codec: codec.clone(),
            item_bytes_max,
            // One item: nothing is gained by running ahead.
            batch_bytes: 1,
        };
        let end = None;
        Self::of(codec, Feed::Source { source, terms, end })
    }

    const fn of(codec: Codec, feed: Feed) -> Self {
        Self {
            feed,
            codec,
            undecodable: Code::Internal,
            row: Bytes::new(),
            consumed: 0,
            followers: Vec::new(),
        }
    }

    /// The items come with a request: to send others than are expected is a mistake of the caller's,
    /// as it is with arguments.
    pub(crate) const fn of_request(mut self) -> Self {
        self.undecodable = Code::InvalidArgument;
        self
    }

    /// Lets somebody know how the stream ends.
    pub(crate) fn follow(&mut self, follower: impl Follower + 'static) {
        self.followers.push(Box::new(follower));
    }

    #[cold]
    fn end(&mut self, end: Result<(), &Status>) {
        let followers = std::mem::take(&mut self.followers);
        followers.into_iter().for_each(|one| one.ended(end));
    }

    #[inline]
    pub(super) fn poll_next<T: DeserializeOwned + 'static>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Status>>> {
        while self.row.is_empty() {
            self.report();
            match std::task::ready!(self.feed.poll_row(cx)) {
                Some(Ok(row)) => self.row = row,
                Some(Err(status)) => {
                    self.end(Err(&status));
                    return Poll::Ready(Some(Err(status)));
                }
                None => {
                    self.end(Ok(()));
                    return Poll::Ready(None);
                }
            }
        }
        Poll::Ready(Some(self.decode_item()))
    }

    #[inline]
    fn decode_item<T: DeserializeOwned + 'static>(&mut self) -> Result<T, Status> {
        const LENGTH_BYTES: usize = 4;
        // The connection has checked the lengths.
        let length = self.row.try_get_u32_le().unwrap_or(0) as usize;
        let length = length.min(self.row.len());
        let decoded = sharing(&self.row, || {
            let limits = DecodeLimits::for_message(length);
            self.codec.decode(&self.row[..length], &limits)
        });
        self.row.advance(length);
        self.consumed += LENGTH_BYTES + length;
        if self.consumed >= Self::REPORT_BYTES {
            self.report();
        }
        decoded.map_err(|error| {
            let text = format!("an item of the stream could not be decoded: {error}");
            Status::new(self.undecodable, text)
        })
    }

    fn report(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        if let Feed::Connection { call, link, .. } = &self.feed
            && consumed > 0
        {
            link.consumed(*call, consumed);
        }
    }
}

impl Feed {
    fn poll_row(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        match self {
            Self::Connection { inbox, .. } => inbox.poll_row(cx),
            Self::Source { source, terms, end } => {
                if let Some(end) = end.take() {
                    return Poll::Ready(end.err().map(Err));
                }
                let mut batch = Batch::new();
                match fill_contained(&mut **source, cx, terms, &mut batch) {
                    Filled::Full => {}
                    Filled::Pending if batch.is_empty() => return Poll::Pending,
                    Filled::Pending => {}
                    Filled::Ended(ended) => *end = Some(ended),
                }
                if batch.is_empty() {
                    let end = end.take().unwrap_or(Ok(()));
                    return Poll::Ready(end.err().map(Err));
                }
                Poll::Ready(Some(Ok(batch.into_row())))
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Feed::Connection { call, link, .. } = &self.feed {
            link.abandon(*call);
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
