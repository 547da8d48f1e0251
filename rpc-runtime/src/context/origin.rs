//! Where calls come from: what all calls of a connection have in common.

use std::fmt;

use super::signal::Signal;
use crate::transport::Peer;

/// The connection that calls come by, as their handlers see it.
#[derive(Debug)]
pub(crate) struct Origin {
    peer: Peer,
    draining: Signal,
}

impl Origin {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            draining: Signal::default(),
        }
    }

    /// Who calls.
    pub(crate) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Tells handlers that the connection takes no more calls.
    pub(crate) fn note_draining(&self) {
        self.draining.give();
    }

    pub(super) const fn draining(&self) -> &Signal {
        &self.draining
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}
