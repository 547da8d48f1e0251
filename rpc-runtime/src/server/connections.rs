//! The connections of a server, so that it can drain them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::Notify;

use super::connection::ServerShared;
use super::orphans::Orphans;

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
    orphans: Arc<Orphans>,
    emptied: Notify,
    refused: AtomicU64,
}

/// How many connections a server takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) all_max: usize,
    pub(super) per_ip_max: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: Slab<Arc<ServerShared>>,
    per_ip: HashMap<IpAddr, usize>,
    /// The server is gone: a connection that was accepted meanwhile goes too.
    abandoned: bool,
}

/// Keeps a connection among the open ones until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    connections: Arc<Connections>,
    key: usize,
    ip: Option<IpAddr>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
            orphans: Arc::default(),
            emptied: Notify::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes note of a connection, and turns it away if there are too many.
    pub(super) fn add(self: &Arc<Self>, connection: Arc<ServerShared>) -> Ticket {
        let ip = connection.peer().address().map(|address| address.ip());
        let mut open = self.lock();
        let refusal = self.refusal(&open, ip);
        let key = open.all.insert(connection.clone());
        if let Some(ip) = ip {
            *open.per_ip.entry(ip).or_default() += 1;
        }
        let abandoned = open.abandoned;
        drop(open);
        if abandoned {
            connection.abandon();
        } else if let Some(reason) = refusal {
            self.refused.fetch_add(1, Relaxed);
            connection.refuse(&reason);
        }
        Ticket {
            connections: self.clone(),
            key,
            ip,
        }
    }

    fn refusal(&self, open: &Open, ip: Option<IpAddr>) -> Option<String> {
        let limits = &self.limits;
        if open.all.len() >= limits.all_max {
            return Some(format!("the server takes {} connections", limits.all_max));
        }
        let of_ip = ip.and_then(|ip| open.per_ip.get(&ip)).copied();
        if of_ip.unwrap_or(0) >= limits.per_ip_max {
            let limit = limits.per_ip_max;
            return Some(format!(
                "the server takes {limit} connections from one address"
            ));
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.lock().all.len()
    }

    /// Connections that were turned away so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Lets every connection finish its calls and close.
    pub(super) fn drain(&self) {
        self.each(|connection| connection.drain("the server is shutting down"));
    }

    /// Closes every connection, whatever runs on it or has outlived it.
    pub(super) fn abandon(&self) {
        // First: what the connections leave now is not to run on.
        self.orphans.stop();
        self.lock().abandoned = true;
        self.each(ServerShared::abandon);
    }

    /// Where connections leave what outlives them.
    pub(super) fn orphans(&self) -> Arc<Orphans> {
        self.orphans.clone()
    }

    /// Waits until no connection is open and nothing runs that one has left.
    pub(super) async fn wait_until_empty(&self) {
        self.wait_until_closed().await;
        self.orphans.wait_until_none().await;
    }

    async fn wait_until_closed(&self) {
        loop {
            // Created before looking: a notification in between is not lost.
            let emptied = self.emptied.notified();
            if self.lock().all.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn each(&self, act: impl Fn(&ServerShared)) {
        // Outside of the lock: acting may end a connection.
        let open: Vec<_> = self.lock().all.iter().map(|(_, c)| c.clone()).collect();
        open.iter().for_each(|connection| act(connection));
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let connection = open.all.remove(self.key);
        if let Some(Entry::Occupied(mut count)) = self.ip.map(|ip| open.per_ip.entry(ip)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let emptied = open.all.is_empty();
        drop(open);
        drop(connection);
        if emptied {
            self.connections.emptied.notify_waiters();
        }
    }
}
