//! Items as they are received, on their way to a consumer.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rpc_core::codec::CodecError;
use rpc_core::connection::CallId;
use rpc_core::wire::Batch;
use rpc_core::{Code, Codec, Status};
use serde_core::de::DeserializeOwned;
use tokio::task::coop;

use super::source::{Filled, fill_contained};
use super::{Inbox, Source, Terms};

/// The connection that the items come from.
pub(crate) trait Downlink: Send + Sync {
    /// Items of so many bytes, lengths included, were consumed. Gives how many more may be until the
    /// next report, while there are more to consume.
    fn consumed(&self, call: CallId, bytes: usize) -> usize;
    /// The consumer has gone: at the end of the stream, or before.
    fn abandon(&self, call: CallId);
}

/// Is told how a stream ends. Dropped before, its consumer had enough.
#[cfg(feature = "fleet")]
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
    /// Where the next item is in the row: at <= `row.len()`
    at: usize,
    /// Where the row ends, or the feed is to be told: at <= stop <= `row.len()`
    stop: usize,
    /// From where on the feed was not told of the row: told <= at
    told: usize,
    /// Bytes of rows before it that the feed was not told of.
    untold: usize,
    /// How much the feed may be left untold of while there is more.
    report_bytes: usize,
    #[cfg(feature = "fleet")]
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

/// Of the length in front of an item.
const LENGTH_BYTES: usize = 4;

impl Receiver {
    /// The first report, which is answered with when the next is due.
    const FIRST_REPORT_BYTES: usize = 16 * 1024;

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
            at: 0,
            stop: 0,
            told: 0,
            untold: 0,
            report_bytes: Self::FIRST_REPORT_BYTES,
            #[cfg(feature = "fleet")]
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
    #[cfg(feature = "fleet")]
    pub(crate) fn follow(&mut self, follower: impl Follower + 'static) {
        self.followers.push(Box::new(follower));
    }

    #[cfg(feature = "fleet")]
    #[cold]
    fn tell_followers(&mut self, end: Result<(), &Status>) {
        let followers = std::mem::take(&mut self.followers);
        followers.into_iter().for_each(|one| one.ended(end));
    }

    /// The next item, if it is here and nothing else is to be done.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over an item costs more than reading it"
    )]
    pub(super) fn next_in_row<T: DeserializeOwned + 'static>(&mut self) -> Option<T> {
        if self.at >= self.stop {
            return None;
        }
        let (length, items) = self.row.get(self.at..)?.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let item = self.codec.decode_short(items.get(..length)?)?;
        self.at += LENGTH_BYTES + length;
        Some(item)
    }

    /// The next item, whatever it takes.
    pub(super) fn poll_next<T: DeserializeOwned + 'static>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Status>>> {
        self.report_if_due();
        while self.at == self.row.len() {
            // However fast items come: the task of their consumer gives others a turn now and then.
            let budget = ready!(coop::poll_proceed(cx));
            let polled = self.feed.poll_row(cx);
            if polled.is_ready() {
                budget.made_progress();
            }
            match polled {
                Poll::Pending => {
                    self.report();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(row))) => self.set_row(row),
                Poll::Ready(Some(Err(status))) => {
                    #[cfg(feature = "fleet")]
                    self.tell_followers(Err(&status));
                    return Poll::Ready(Some(Err(status)));
                }
                Poll::Ready(None) => {
                    #[cfg(feature = "fleet")]
                    self.tell_followers(Ok(()));
                    return Poll::Ready(None);
                }
            }
        }
        Poll::Ready(Some(self.decode_item()))
    }

    fn set_row(&mut self, row: Bytes) {
        self.untold += self.at - self.told;
        (self.at, self.told) = (0, 0);
        self.row = row;
        self.set_stop();
    }

    fn set_stop(&mut self) {
        let left = self.report_bytes.saturating_sub(self.untold);
        self.stop = self.row.len().min(self.told + left.max(1));
    }

    fn decode_item<T: DeserializeOwned + 'static>(&mut self) -> Result<T, Status> {
        let rest = &self.row[self.at..];
        // The connection has checked the lengths.
        let (length, items) = rest
            .split_first_chunk()
            .unwrap_or((&[0; LENGTH_BYTES], &[]));
        let length = u32::from_le_bytes(*length) as usize;
        let item = items.get(..length).unwrap_or(items);
        let decoded = self.codec.decode_item(&self.row, item);
        self.at += rest.len() - items.len() + item.len();
        self.report_if_due();
        decoded.map_err(|error| self.undecodable(&error))
    }

    #[cold]
    fn undecodable(&self, error: &CodecError) -> Status {
        let text = format!("an item of the stream could not be decoded: {error}");
        Status::new(self.undecodable, text)
    }

    fn report_if_due(&mut self) {
        if self.untold + self.at - self.told >= self.report_bytes {
            self.report();
        }
    }

    /// Tells the feed what was consumed.
    fn report(&mut self) {
        let consumed = std::mem::take(&mut self.untold) + self.at - self.told;
        self.told = self.at;
        if let Feed::Connection { call, link, .. } = &self.feed
            && consumed > 0
        {
            self.report_bytes = link.consumed(*call, consumed);
        }
        self.set_stop();
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
