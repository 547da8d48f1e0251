//! Connections at work, and whether they leave their clients a processor.
//!
//! Why count them? A client on this machine that is sent a reply takes a processor to go on with it. If
//! the handlers of other connections have all of them, it takes it from them, and all that is won is lost
//! again with the switches.

use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crate::transport::Place;

/// Connections at work whose clients are near, where there is more than one processor. Of all servers, as
/// the processors are.
static NEAR: AtomicUsize = AtomicUsize::new(0);

/// The processors that this process may use.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// What a client may get on with while its connection is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Processor {
    /// Nothing is known of one.
    None,
    /// One that those who are near have left.
    Shared,
    Own,
}

impl Processor {
    pub(super) fn of(client: Place) -> Self {
        match client {
            Place::Near if *PROCESSORS > 1 => Self::Shared,
            Place::Near | Place::Unknown => Self::None,
            Place::Far => Self::Own,
        }
    }
}

/// A connection that runs what was read, until this is dropped.
pub(super) struct Work {
    client: Processor,
}

impl Work {
    #[inline]
    pub(super) fn begin(client: Processor) -> Self {
        if client == Processor::Shared {
            NEAR.fetch_add(1, Relaxed);
        }
        Self { client }
    }

    /// True if the client may be able to get on meanwhile.
    #[inline]
    pub(super) fn may_leave_a_processor(&self) -> bool {
        self.client != Processor::None
    }

    /// True if it is able to now.
    pub(super) fn leaves_a_processor(&self) -> bool {
        match self.client {
            Processor::None => false,
            Processor::Shared => NEAR.load(Relaxed) < *PROCESSORS,
            Processor::Own => true,
        }
    }
}

impl Drop for Work {
    #[inline]
    fn drop(&mut self) {
        if self.client == Processor::Shared {
            NEAR.fetch_sub(1, Relaxed);
        }
    }
}
