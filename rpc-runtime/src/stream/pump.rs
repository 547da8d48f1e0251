//! Moves items from their source into a connection, as fast as the peer takes them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rpc_core::connection::{CallId, Sent};
use rpc_core::wire::Batch;
use rpc_core::{Codec, Status};

use super::source::{Filled, fill_contained};
use super::{Source, Terms};

/// The connection that items are sent over.
pub(crate) trait Uplink: Send + Sync {
    /// Sends what can be sent of a batch now; if something is left, the task is woken when more can
    /// be. It need not be on its way before [`flush`](Self::flush).
    fn send(&self, call: CallId, batch: &mut Batch, cx: &mut Context<'_>) -> Sent;
    /// Sees to it that what was sent gets on its way.
    fn flush(&self, call: CallId);
    /// Ready once the end of the stream can be said.
    fn poll_end(&self, call: CallId, cx: &mut Context<'_>) -> Poll<()>;
    /// The longest item that the peer accepts.
    fn item_bytes_max(&self) -> usize;
    /// The stream waits for nothing any more.
    fn leave(&self, call: CallId);
}

/// The future that moves items. The source is polled only when the peer takes what it gave before.
pub(crate) struct Pump {
    link: Arc<dyn Uplink>,
    call: CallId,
    source: Box<dyn Source>,
    terms: Terms,
    batch: Batch,
    /// Nothing more is ready: the source wakes the task.
    drained: bool,
    /// What was sent is to be flushed.
    unflushed: bool,
    end: Option<Result<(), Status>>,
}

/// How a stream ended at its producer's side.
#[derive(Debug)]
pub(crate) enum PumpEnd {
    /// All items are on their way, and the end of the stream is to be said.
    Ended(Result<(), Status>),
    /// Nobody wants more of them.
    Over,
}

impl Pump {
    /// What is encoded at once, give or take an item: two batches of short items fill a frame.
    const BATCH_BYTES: usize = 30 * 1024;
    /// What one stream sends before others have their turn; short items in one write.
    const TURN_BATCHES: usize = 4;
    /// The same of batches that are long: more items of 64 KiB than the shipped window takes. Whoever
    /// gives way wakes a sleeping worker of the runtime, which costs as much as several of them.
    const LONG_TURN_BATCHES: usize = 16;
    const LONG_BATCH_BYTES: usize = 32 * 1024;

    pub(crate) fn new(
        link: Arc<dyn Uplink>,
        call: CallId,
        source: Box<dyn Source>,
        codec: Codec,
    ) -> Self {
        let terms = Terms {
            codec,
            item_bytes_max: link.item_bytes_max(),
            batch_bytes: Self::BATCH_BYTES,
        };
        Self {
            link,
            call,
            source,
            terms,
            batch: Batch::new(),
            drained: false,
            unflushed: false,
            end: None,
        }
    }

    /// How many batches like this one are a turn.
    fn turn_batches(&self) -> usize {
        match self.batch.len() > Self::LONG_BATCH_BYTES {
            true => Self::LONG_TURN_BATCHES,
            false => Self::TURN_BATCHES,
        }
    }

    /// Asks the source for more.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let Self {
            source,
            terms,
            batch,
            ..
        } = self;
        match fill_contained(&mut **source, cx, terms, batch) {
            Filled::Full => {}
            Filled::Pending => self.drained = true,
            Filled::Ended(end) => self.end = Some(end),
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.link.leave(self.call);
    }
}

impl Pump {
    /// Moves what one turn allows.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<PumpEnd> {
        self.drained = false;
        let mut filled = 0;
        while filled < self.turn_batches() {
            if !self.batch.is_empty() {
                match self.link.send(self.call, &mut self.batch, cx) {
                    Sent::All => self.unflushed = true,
                    Sent::Over => return Poll::Ready(PumpEnd::Over),
                    _ => return Poll::Pending,
                }
            }
            if self.end.is_some() {
                std::task::ready!(self.link.poll_end(self.call, cx));
                // The end is said at once, and flushes what is before it.
                self.unflushed = false;
                return Poll::Ready(PumpEnd::Ended(self.end.take().unwrap_or(Ok(()))));
            }
            if self.drained {
                return Poll::Pending;
            }
            self.fill(cx);
            filled += 1;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Pump {
    type Output = PumpEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PumpEnd> {
        let polled = self.poll_turn(cx);
        if std::mem::take(&mut self.unflushed) {
            self.link.flush(self.call);
        }
        polled
    }
}
