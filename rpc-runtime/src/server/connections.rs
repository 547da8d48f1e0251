//! The connections of a server: how many there may be, and draining them.
//!
//! Who has to go when there are too many? The newcomer, except among those that have not said hello:
//! of these the oldest. A client says hello at once, so that the oldest is the least likely to be
//! one; and strangers who stay silent keep nobody out. But in a crowd many clients may be about to:
//! so each has a second, in which nobody new is let in.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use super::connection::ServerShared;
use super::orphans::Orphans;
use crate::clock;

/// Connections that are turned away stay for up to a second, to read why. As many may do so at a
/// time, beside those that are let in; others are closed without a word.
const REFUSED_MAX: usize = 256;

/// How long a client may take to say hello however many there are.
const HELLO_GRACE: Duration = Duration::from_secs(1);

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
    orphans: Orphans,
    emptied: Notify,
    /// There is room again for one that has not said hello.
    greeted: Notify,
    refused: AtomicU64,
}

/// How many connections a server takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) all_max: usize,
    pub(super) per_ip_max: usize,
    /// Those that have not said hello.
    pub(super) handshakes_max: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: Slab<Member>,
    /// Those of `all` that were turned away: refused <= REFUSED_MAX
    refused: usize,
    /// Those of `all` that have not said hello, the oldest first, by number.
    handshakes: VecDeque<Handshake>,
    per_ip: HashMap<IpAddr, usize>,
    /// The number of the next connection.
    next: u64,
    /// The server is gone: a connection that was accepted meanwhile goes too.
    abandoned: bool,
}

#[derive(Debug)]
struct Member {
    connection: Arc<ServerShared>,
    /// Counted in `per_ip`; none once it was turned away.
    ip: Option<IpAddr>,
    refused: bool,
}

#[derive(Debug)]
struct Handshake {
    number: u64,
    key: usize,
    began: Instant,
}

/// Keeps a connection among the open ones until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    connections: Arc<Connections>,
    key: usize,
    number: u64,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
            orphans: Orphans::default(),
            emptied: Notify::new(),
            greeted: Notify::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes note of a connection, and turns it away if there are too many; `None` if there are even
    /// too many of those.
    pub(super) fn add(self: &Arc<Self>, connection: Arc<ServerShared>) -> Option<Ticket> {
        let ip = connection.peer().address().map(|address| address.ip());
        let mut open = self.lock();
        let refusal = self.refusal(&open, ip);
        let crowded = open.crowded_since(&self.limits).is_some();
        if refusal.is_some() || crowded {
            self.refused.fetch_add(1, Relaxed);
            if open.refused >= REFUSED_MAX {
                return None;
            }
        }
        let pushed_out = if refusal.is_none() && crowded {
            open.refuse_oldest_handshake()
        } else {
            None
        };
        let (key, number) = open.insert(connection.clone(), ip, refusal.is_some());
        let abandoned = open.abandoned;
        drop(open);
        if let Some(pushed_out) = pushed_out {
            pushed_out.refuse("too many connections are waited for to say hello");
        }
        if abandoned {
            connection.abandon();
        } else if let Some(reason) = refusal {
            connection.refuse(&reason);
        }
        Some(Ticket {
            connections: self.clone(),
            key,
            number,
        })
    }

    fn refusal(&self, open: &Open, ip: Option<IpAddr>) -> Option<String> {
        let limits = &self.limits;
        if open.len() >= limits.all_max {
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

    /// Waits until one more connection can be added without harm to one that may be about to say
    /// hello.
    pub(super) async fn wait_for_room(&self) {
        loop {
            // Created before looking: a notification in between is not lost.
            let greeted = self.greeted.notified();
            let Some(began) = self.lock().crowded_since(&self.limits) else {
                return;
            };
            let patience = began + HELLO_GRACE;
            if patience <= clock::now() {
                return;
            }
            // Over or not: looks again.
            let _ = tokio::time::timeout_at(patience.into(), greeted).await;
        }
    }

    /// Those that were let in.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
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
        let open: Vec<_> = {
            let open = self.lock();
            open.all.iter().map(|(_, m)| m.connection.clone()).collect()
        };
        open.iter().for_each(|connection| act(connection));
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// When the oldest came of those that have not said hello, if there can be no more of them.
    fn crowded_since(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let oldest = self.handshakes.front()?;
        (self.handshakes.len() >= limits.handshakes_max).then_some(oldest.began)
    }

    fn len(&self) -> usize {
        self.all.len() - self.refused
    }

    fn insert(
        &mut self,
        connection: Arc<ServerShared>,
        ip: Option<IpAddr>,
        refused: bool,
    ) -> (usize, u64) {
        let ip = ip.filter(|_| !refused);
        let key = self.all.insert(Member {
            connection,
            ip,
            refused,
        });
        let number = self.next;
        self.next += 1;
        if let Some(ip) = ip {
            *self.per_ip.entry(ip).or_default() += 1;
        }
        if refused {
            self.refused += 1;
        } else {
            let began = clock::now();
            let handshake = Handshake { number, key, began };
            self.handshakes.push_back(handshake);
        }
        (key, number)
    }

    /// The connection to turn away that has waited for its hello the longest.
    fn refuse_oldest_handshake(&mut self) -> Option<Arc<ServerShared>> {
        let oldest = self.handshakes.pop_front()?;
        let member = self.all.get_mut(oldest.key)?;
        member.refused = true;
        let (connection, ip) = (member.connection.clone(), member.ip.take());
        self.refused += 1;
        self.release_ip(ip);
        Some(connection)
    }

    fn remove(&mut self, key: usize, number: u64) -> Arc<ServerShared> {
        let member = self.all.remove(key);
        self.end_handshake(number);
        self.refused -= usize::from(member.refused);
        self.release_ip(member.ip);
        member.connection
    }

    /// The connection has said hello, or is closed.
    fn end_handshake(&mut self, number: u64) {
        self.handshakes.retain(|one| one.number != number);
    }

    fn release_ip(&mut self, ip: Option<IpAddr>) {
        if let Some(Entry::Occupied(mut count)) = ip.map(|ip| self.per_ip.entry(ip)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Ticket {
    /// The client has said hello.
    pub(super) fn note_hello(&self) {
        self.connections.lock().end_handshake(self.number);
        self.connections.greeted.notify_waiters();
    }

    /// Where the connection leaves what outlives it.
    pub(super) fn orphans(&self) -> &Orphans {
        &self.connections.orphans
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let connection = open.remove(self.key, self.number);
        let emptied = open.all.is_empty();
        drop(open);
        drop(connection);
        self.connections.greeted.notify_waiters();
        if emptied {
            self.connections.emptied.notify_waiters();
        }
    }
}
