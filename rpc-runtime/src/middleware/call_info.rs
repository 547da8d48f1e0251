//! Which call an interceptor sees.

use std::fmt;
use std::time::{Duration, Instant};

use rpc_core::{Deadline, Metadata, MethodDescriptor};

use super::Names;
use crate::clock;
use crate::transport::Peer;

/// Which call an interceptor sees.
///
/// It is filled for each call, so it is small, and what takes time is done when it is asked for. A copy is
/// for keeping, and not to be put in the place of what is known of another call.
#[derive(Clone)]
pub struct CallInfo {
    names: Names,
    metadata: Metadata,
    /// It may be other metadata than the call came with.
    is_changed: bool,
    peer: Option<Peer>,
    deadline: Option<Deadline>,
    began: Instant,
}

impl CallInfo {
    #[inline]
    pub(crate) fn new(
        names: Names,
        metadata: Metadata,
        peer: Option<Peer>,
        deadline: Option<Deadline>,
        began: Instant,
    ) -> Self {
        Self {
            names,
            metadata,
            is_changed: false,
            peer,
            deadline,
            began,
        }
    }

    /// The wire name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.names.service()
    }

    /// The wire name of the method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.names.method()
    }

    /// Metadata of the request.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Metadata of the request, to be changed before it is sent or handled.
    #[must_use]
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        self.is_changed = true;
        &mut self.metadata
    }

    /// Who calls, on a server; `None` on a client and within a process.
    #[must_use]
    pub const fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// When the caller stops waiting.
    #[must_use]
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// How long this side has known of the call: on a client since its future was first polled, on a
    /// server since it was read, with calls in front of it maybe. Looks at the clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    /// The metadata, if an interceptor may have changed it.
    #[inline]
    pub(crate) fn changed_metadata(&self) -> Option<&Metadata> {
        self.is_changed.then_some(&self.metadata)
    }

    /// Makes this the next call from the same peer.
    #[inline]
    pub(crate) fn renew(
        &mut self,
        names: &Names,
        metadata: Metadata,
        deadline: Option<Deadline>,
        began: Instant,
    ) {
        if !self.names.is(names) {
            self.names = names.clone();
        }
        self.metadata = metadata;
        self.is_changed = false;
        self.deadline = deadline;
        self.began = began;
    }
}

/// What is kept of a call on a client until its answer: its method is known. Small, 40 bytes, as it is a
/// part of the call.
pub(crate) struct Kept {
    metadata: Metadata,
    deadline: Option<Deadline>,
    began: Instant,
}

impl Kept {
    /// Takes it out of a call that the interceptors have seen; nothing that another call must not have
    /// is left there.
    #[inline]
    pub(crate) fn of(call: &mut CallInfo) -> Self {
        call.peer = None;
        Self {
            metadata: std::mem::take(&mut call.metadata),
            deadline: call.deadline,
            began: call.began,
        }
    }

    /// Metadata of the request.
    #[inline]
    pub(crate) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// When the caller stops waiting.
    #[inline]
    pub(crate) const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// What interceptors see of a call of this method. Its metadata counts as changed by them.
    #[inline]
    pub(crate) fn into_info(self, method: &'static MethodDescriptor) -> CallInfo {
        CallInfo {
            names: Names::Own(method),
            metadata: self.metadata,
            is_changed: true,
            peer: None,
            deadline: self.deadline,
            began: self.began,
        }
    }
}

impl fmt::Debug for CallInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallInfo")
            .field("service", &self.service())
            .field("method", &self.method())
            .field("metadata", &self.metadata)
            .field("peer", &self.peer)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
