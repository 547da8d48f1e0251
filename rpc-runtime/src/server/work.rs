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

/// Connections at work whose clients are near. Of all servers, as the processors are.
static NEAR: AtomicUsize = AtomicUsize::new(0);

/// The processors that this process may use.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// A connection that runs what was read, until this is dropped.
pub(super) struct Work {
    client: Place,
}

impl Work {
    #[inline]
    pub(super) fn begin(client: Place) -> Self {
        if client == Place::Near {
            NEAR.fetch_add(1, Relaxed);
        }
        Self { client }
    }

    /// True if the client may be able to get on meanwhile.
    #[inline]
    pub(super) fn may_leave_a_processor(&self) -> bool {
        match self.client {
            Place::Unknown => false,
            Place::Near => *PROCESSORS > 1,
            Place::Far => true,
        }
    }

    /// True if it is able to now.
    pub(super) fn leaves_a_processor(&self) -> bool {
        match self.client {
            Place::Unknown => false,
            Place::Near => NEAR.load(Relaxed) < *PROCESSORS,
            Place::Far => true,
        }
    }
}

impl Drop for Work {
    #[inline]
    fn drop(&mut self) {
        if self.client == Place::Near {
            NEAR.fetch_sub(1, Relaxed);
        }
    }
}
