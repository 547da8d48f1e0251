//! What goes in front of the arguments, and why a call may not be sent.

use std::time::{Duration, Instant};

use crate::codec::CodecError;
use crate::wire::FrameError;
use crate::{Deadline, Metadata, MethodId};

/// What goes in front of the arguments.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// Which method.
    pub method: MethodId,
    /// The time that is left for the call.
    pub timeout: Option<Duration>,
    /// When the call is over here, answered or not.
    pub deadline: Option<Instant>,
    /// The deadline is the timeout after the next
    /// [`anchor`](super::ClientConnection::anchor).
    pub anchored_later: bool,
    /// Metadata to send along.
    pub metadata: Option<&'a Metadata>,
}

impl<'a> RequestHead<'a> {
    /// A request without deadline and metadata.
    #[must_use]
    pub const fn new(method: MethodId) -> Self {
        Self {
            method,
            timeout: None,
            deadline: None,
            anchored_later: false,
            metadata: None,
        }
    }

    /// Tells the server the time that is left; this side waits without end.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends the call at a deadline, here and at the server.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Deadline>, now: Instant) -> Self {
        self.timeout = deadline.map(|deadline| deadline.remaining(now));
        self.deadline = deadline.map(Deadline::instant);
        self.anchored_later = false;
        self
    }

    /// Ends the call when the timeout has passed, here and at the server, counted from the next
    /// [`anchor`](super::ClientConnection::anchor): many calls that begin in one moment need the
    /// time only once.
    #[must_use]
    pub const fn with_timeout_anchored_later(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.deadline = None;
        self.anchored_later = true;
        self
    }

    /// As [`with_timeout_anchored_later`](Self::with_timeout_anchored_later), if there is a timeout;
    /// all at once, as most requests begin.
    #[inline]
    #[must_use]
    pub const fn of_call(
        method: MethodId,
        metadata: &'a Metadata,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            method,
            timeout,
            deadline: None,
            anchored_later: timeout.is_some(),
            metadata: Some(metadata),
        }
    }

    /// Adds metadata.
    #[must_use]
    pub const fn with_metadata(mut self, metadata: Option<&'a Metadata>) -> Self {
        self.metadata = metadata;
        self
    }
}

/// Why a call was not sent. In every case the server has not seen it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The connection takes no new calls: closed, or the server said go-away.
    Closed,
    /// As many calls are open as the table holds.
    Full,
    /// The arguments could not be encoded.
    Encode(CodecError),
    /// The arguments have more bytes than the server accepts.
    TooLarge {
        /// Bytes of the encoded arguments.
        length: usize,
        /// Bytes that the server accepts.
        limit: usize,
    },
}

impl FrameError<CodecError> {
    #[cold]
    pub(super) fn into_start_error(self, limit: usize) -> StartError {
        match self {
            Self::Body(error) => StartError::Encode(error),
            Self::TooLarge(length) => StartError::TooLarge { length, limit },
        }
    }
}
