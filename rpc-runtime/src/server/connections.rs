//! The connections of a server, so that it can drain them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::Notify;

use super::connection::ServerShared;

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Slab<Arc<ServerShared>>>,
    emptied: Notify,
}

/// Keeps a connection among the open ones until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    connections: Arc<Connections>,
    key: usize,
}

impl Connections {
    pub(super) fn add(self: &Arc<Self>, connection: Arc<ServerShared>) -> Ticket {
        Ticket {
            connections: self.clone(),
            key: self.lock().insert(connection),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Lets every connection finish its calls and close.
    pub(super) fn drain(&self) {
        self.each(ServerShared::drain);
    }

    /// Closes every connection, whatever runs on it.
    pub(super) fn abandon(&self) {
        self.each(ServerShared::abandon);
    }

    pub(super) async fn wait_until_empty(&self) {
        loop {
            // Created before looking: a notification in between is not lost.
            let emptied = self.emptied.notified();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn each(&self, act: impl Fn(&ServerShared)) {
        // Outside of the lock: acting may end a connection.
        let open: Vec<_> = self.lock().iter().map(|(_, c)| c.clone()).collect();
        open.iter().for_each(|connection| act(connection));
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<ServerShared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let connection = open.remove(self.key);
        let emptied = open.is_empty();
        drop(open);
        drop(connection);
        if emptied {
            self.connections.emptied.notify_waiters();
        }
    }
}
