//! The connection at hand: what a handle of a channel found first, and what a call holds.
//!
//! Why not look for the connection with each call? To share it with whoever replaces it takes four
//! locked operations, a tenth of the time of a short call. A call borrows its handle for as long as
//! it lives, so it may borrow what the handle keeps. Once that connection is closed, calls ask for the
//! current one; a clone that is made then finds it anew.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::connection::Connection;
use super::remote::Remote;

/// The first connection that calls of a handle were made on; nothing before.
#[derive(Debug, Default)]
pub(super) struct Near(OnceLock<Arc<Connection>>);

impl Near {
    /// The connection, which may be closed; if none was found yet, the current one of `remote`.
    #[inline]
    pub(super) fn get(&self, remote: &Remote) -> Option<&Arc<Connection>> {
        self.0.get().or_else(|| self.find(remote))
    }

    /// This connection if it takes calls, else the current one, if that does.
    pub(super) fn open(&self, remote: &Remote) -> Option<Held<'_>> {
        match self.get(remote).filter(|near| near.accepts_calls()) {
            Some(near) => Some(Held::Near(near)),
            None => remote
                .current()
                .filter(|current| current.accepts_calls())
                .map(Held::Own),
        }
    }

    #[cold]
    fn find(&self, remote: &Remote) -> Option<&Arc<Connection>> {
        let current = remote.current()?;
        Some(self.0.get_or_init(|| current))
    }
}

impl Clone for Near {
    fn clone(&self) -> Self {
        let open = self.0.get().filter(|near| near.accepts_calls());
        Self(open.cloned().map(OnceLock::from).unwrap_or_default())
    }
}

/// A connection, for as long as a call is on it.
#[derive(Clone)]
pub(super) enum Held<'a> {
    Near(&'a Arc<Connection>),
    Own(Arc<Connection>),
}

impl Deref for Held<'_> {
    type Target = Arc<Connection>;

    #[inline]
    fn deref(&self) -> &Arc<Connection> {
        match self {
            Self::Near(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}
