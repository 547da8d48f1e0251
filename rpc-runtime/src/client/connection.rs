//! The client's end of a connection: callers on one side, the driver on the other.

mod side;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rpc_core::connection::{Arriving, CallId, ClientConfig, ClientConnection, Streams};
use rpc_core::wire::Outgoing;
use rpc_core::{Codec, Status};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::glance::{Hearing, Reports};
use super::letterbox::{Lender, Letterboxes};
use super::slot::Entry;
use super::waiters::{Waiters, earlier};
use super::woken::{Spares, Woken};
use crate::clock;
use crate::connection::{Carrier, Closed, Driver, Flush, Protocol, Shared, Turns};
use crate::transport::{Duplex, Peer};
pub(super) use side::ClientSide;

/// An open connection. Dropping it closes it, and ends the calls that are still open.
pub(crate) struct Connection {
    pub(super) shared: Arc<Shared<Client>>,
    /// Where short replies are.
    pub(super) letterboxes: Arc<Letterboxes>,
    pub(super) peer: Peer,
    pub(super) codec: Codec,
    /// Where tasks run that send streams.
    pub(super) runtime: Option<Handle>,
    started: Instant,
}

/// What callers and the driver share.
///
/// In the order of its fields in memory: what each call touches is in the middle, where the first fields of
/// `core` follow.
#[repr(C)]
pub(super) struct Client {
    /// Whom to tell that no further call can be made.
    pub(super) watcher: Option<Waker>,
    /// Calls whose items wait until the server has said how many it takes.
    pub(super) early: Vec<CallId>,
    turns: Turns,
    pub(super) waiters: Waiters,
    /// Why no further call can be made.
    pub(super) closed: Option<Status>,
    /// The server has accepted.
    pub(super) opened: bool,
    /// A call has been processed.
    answered: bool,
    /// Nobody holds the connection any more.
    abandoned: bool,
    /// What is told to those who want to know when something was heard.
    reports: Reports,
    /// Lends the letterboxes of the connection.
    pub(super) lender: Lender,
    /// For the next calls of those who were answered.
    pub(super) spares: Spares,
    pub(super) core: ClientConnection<Entry>,
}

/// Tells that the server accepted, or why the connection ended before it did.
pub(super) type Opened = oneshot::Receiver<Result<(), Closed>>;

impl Connection {
    /// A connection that lasts as long was worth making, also without a call.
    const USEFUL_AGE: Duration = Duration::from_secs(1);

    /// A connection, and the future that drives it. Calls may be made before the server has answered.
    pub(super) fn new(
        duplex: Duplex,
        config: ClientConfig,
        codec: Codec,
        hearing: Option<Arc<Hearing>>,
    ) -> (Self, Opened, Driver<ClientSide>) {
        let Duplex {
            reader,
            writer,
            peer,
            place: _,
        } = duplex;
        let started = clock::now();
        let client = Client {
            core: ClientConnection::new(config, started),
            waiters: Waiters::default(),
            lender: Lender::default(),
            spares: Spares::default(),
            turns: Turns::default(),
            early: Vec::new(),
            closed: None,
            opened: false,
            answered: false,
            abandoned: false,
            watcher: None,
            reports: Reports::to(hearing),
        };
        let letterboxes = client.lender.letterboxes();
        let shared = Arc::new(Shared::new(client, writer));
        let (sender, opened) = oneshot::channel();
        let side = ClientSide {
            peer: peer.clone(),
            opened: Some(sender),
            woken: Woken::default(),
        };
        shared.flush_soon(shared.lock(), false);
        let driver = Driver::new(shared.clone(), side, reader);
        let connection = Self {
            shared,
            letterboxes,
            peer,
            codec,
            runtime: Handle::try_current().ok(),
            started,
        };
        (connection, opened, driver)
    }

    /// True while new calls are accepted.
    pub(super) fn accepts_calls(&self) -> bool {
        let state = self.shared.lock();
        state.protocol.closed.is_none() && state.protocol.core.accepts_calls()
    }

    /// True once the server has accepted, also after the connection has ended.
    pub(super) fn was_opened(&self) -> bool {
        self.shared.lock().protocol.opened
    }

    /// True if the connection was worth making: it answered a call, or lasted for a while.
    pub(super) fn was_of_use(&self) -> bool {
        let age = clock::now().saturating_duration_since(self.started);
        self.shared.lock().protocol.answered || age >= Self::USEFUL_AGE
    }

    /// Why no further call can be made, in words.
    pub(super) fn why_closed(&self) -> String {
        let state = self.shared.lock();
        let closed = state.protocol.closed.as_ref();
        let text = closed.map_or("the connection ended", |status| status.message());
        text.to_owned()
    }

    /// How many calls the server takes at once.
    pub(super) fn calls_max(&self) -> u32 {
        let calls_max = self.shared.lock().protocol.core.calls_max();
        u32::try_from(calls_max).unwrap_or(u32::MAX)
    }

    /// Tells once that no further call can be made; at once if that is so already.
    pub(super) fn when_closed(&self, watcher: Waker) {
        let mut state = self.shared.lock();
        if state.protocol.closed.is_none() {
            state.protocol.watcher = Some(watcher);
            return;
        }
        drop(state);
        watcher.wake();
    }

    /// True if the server has said what services it has, and this is not among them.
    pub(super) fn lacks_service(&self, name: &str) -> bool {
        let state = self.shared.lock();
        let peer = state.protocol.core.peer();
        let services = peer.map_or(&[][..], |ack| &ack.services);
        // An empty list says nothing: one that is too long is not sent.
        !services.is_empty() && services.iter().all(|service| service != name)
    }

    /// Ends the connection and every call on it.
    #[cfg(feature = "fleet")]
    pub(super) fn close(&self, status: &Status) {
        close(&self.shared, status);
    }
}

/// Ends a connection and every call on it.
pub(super) fn close(shared: &Shared<Client>, status: &Status) {
    let mut woken = Vec::new();
    let mut state = shared.lock();
    state.protocol.fail_all(status, &mut woken);
    state.protocol.abandoned = true;
    shared.wake_driver(state);
    woken.into_iter().for_each(Waker::wake);
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.protocol.abandoned = true;
        self.shared.wake_driver(state);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Bytes that may wait to be written before callers wait.
    const OUTGOING_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// The same for oneway calls, large bodies left out. They come as fast as they are made, and not as the
    /// server takes them, and others that come then wait for all of these bytes.
    const ONEWAY_BYTES_MAX: usize = 512 * 1024;

    /// True if one more call fits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "to call it costs as much as it does")]
    pub(super) fn has_room(&mut self) -> bool {
        self.calls_left() > 0 && self.core.outgoing().backlog() < Self::OUTGOING_BYTES_MAX
    }

    /// The same for an oneway call. What comes in pieces is in flight at the server from the first of them on, and
    /// until the last one it can make no room.
    pub(super) fn has_room_for_oneway(&mut self) -> bool {
        let outgoing = self.core.outgoing();
        let (buffered, in_pieces) = (outgoing.buffered(), outgoing.large_bodies());
        buffered < Self::ONEWAY_BYTES_MAX && self.has_room() && in_pieces < self.calls_left()
    }

    /// How many more calls the server takes at once.
    #[inline]
    pub(super) fn calls_left(&self) -> usize {
        self.core.calls_max().saturating_sub(self.core.in_flight())
    }

    /// True if a call that has not waited may be sent.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "to call it costs as much as it does")]
    pub(super) fn admits_newcomers(&mut self) -> bool {
        self.has_room()
            && (self.waiters.is_empty() || self.waiters.admits_newcomers(self.calls_left()))
    }

    /// The next caller to wake because there is room.
    #[inline]
    pub(super) fn next_waiter(&mut self) -> Option<Waker> {
        if self.waiters.is_empty() {
            return None;
        }
        self.call_waiter()
    }

    #[cold]
    fn call_waiter(&mut self) -> Option<Waker> {
        if !self.has_room() {
            return None;
        }
        let (left, takes_oneway) = (self.calls_left(), self.has_room_for_oneway());
        self.waiters.call(left, takes_oneway)
    }

    /// Calls those for whom there is room.
    #[inline]
    pub(super) fn call_waiters(&mut self, woken: &mut Vec<Waker>) {
        while let Some(waiter) = self.next_waiter() {
            woken.push(waiter);
        }
    }

    /// Forgets a call and takes its letterbox back; gives what was kept for it.
    pub(super) fn release(&mut self, call: CallId) -> Option<Entry> {
        let entry = self.core.release(call)?;
        self.lender.take_back(entry.letterbox);
        Some(entry)
    }

    /// Ends every call; gives the callers to wake.
    fn fail_all(&mut self, status: &Status, woken: &mut Vec<Waker>) {
        self.closed.get_or_insert_with(|| status.clone());
        self.reports.end_turn();
        // First of all: callers who are woken look for another connection.
        woken.extend(self.watcher.take());
        self.core.close(|entry, unsent| {
            let status = status.clone();
            // What was not written to the end, the server cannot have processed.
            let status = if unsent {
                status.with_not_processed()
            } else {
                status
            };
            fail(entry, status, woken);
        });
        woken.extend(self.waiters.drain());
        // To be dropped without the lock; to be woken once too often does a task no harm.
        woken.extend(self.spares.take_all().into_iter().flatten());
    }
}

fn fail(entry: &mut Entry, status: Status, woken: &mut Vec<Waker>) {
    if entry.streams.is_some() {
        woken.extend(entry.end(Err(status.clone())));
    }
    woken.extend(entry.answer(Err(status.into())));
}

impl Protocol for Client {
    #[inline]
    fn outgoing(&mut self) -> &mut Outgoing {
        self.core.outgoing()
    }

    #[inline]
    fn arriving(&mut self) -> Arriving<'_> {
        self.core.arriving()
    }

    #[inline]
    fn anchor(&mut self) {
        self.reports.end_turn();
        if self.core.has_unanchored() {
            self.core.anchor(clock::now());
        }
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.core.poll_timeout(), self.waiters.earliest_deadline())
    }

    fn handle_progress(&mut self, now: Instant) {
        self.core.handle_progress(now);
    }

    fn is_finished(&self) -> bool {
        self.abandoned || self.core.is_drained()
    }

    fn is_abandoned(&self) -> bool {
        // Oneway calls are still written when nobody holds the connection any more.
        self.abandoned && self.closed.is_some()
    }

    /// Oneway calls are not answered, so that no answer would wake who waits for their bytes.
    #[inline]
    fn handle_flushed(&mut self) -> [Option<Waker>; 2] {
        [self.next_waiter(), self.turns.next()]
    }

    #[inline]
    fn leftovers(&mut self) -> Vec<Option<Waker>> {
        if self.spares.is_empty() || self.core.open_calls() > 0 {
            return Vec::new();
        }
        self.spares.take_all()
    }

    #[inline]
    fn handle_taken(&mut self) -> Option<Waker> {
        self.turns.next()
    }
}

impl Carrier for Client {
    fn streams(&mut self) -> Streams<'_> {
        self.core.streams()
    }

    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn await_credit(&mut self, call: CallId, waker: &Waker) {
        if let Some(entry) = self.core.data(call) {
            entry.streams().uploader = Some(waker.clone());
        }
    }

    fn item_bytes_max(&self) -> usize {
        self.core.request_bytes_max()
    }

    fn flush(&self, _: CallId) -> Flush {
        if self.core.open_calls() <= 1 {
            Flush::Now
        } else {
            Flush::Soon
        }
    }
}
