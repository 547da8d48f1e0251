//! The way onto a connection: at once if there is room, else in line.

use std::sync::Arc;
use std::task::Context;

use rpc_core::connection::RequestHead;
use rpc_core::{Deadline, Status};

use super::attempt::{flush, flush_oneway};
use super::connection::{Client, Connection};
use super::waiters::Ticket;
use crate::clock;
use crate::connection::{MutexGuard, State};

/// What became of a caller that has a request to send.
pub(super) enum Entered<T> {
    /// There was room for it; with what sending it gave.
    Sent(T),
    /// It waits in line. Whoever goes away has to [leave](super::waiters::Waiters::leave).
    Waits(Ticket),
    /// Its time ran out in line.
    Late(Status),
    /// The connection is closed, and the request has not been written to it.
    Closed(Status),
}

/// Lets a caller send its request if there is room and nobody was there before it, or lines it up. A
/// timeout that has not begun begins in line. Nobody waits for the answer to a `oneway` call.
#[inline]
pub(super) fn enter<'a, T>(
    connection: &Arc<Connection>,
    ticket: Option<Ticket>,
    head: &mut RequestHead<'a>,
    cx: &Context<'_>,
    oneway: bool,
    send: impl FnOnce(&mut Client, &RequestHead<'a>) -> T,
) -> Entered<T> {
    let left;
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    if let Some(status) = &client.closed {
        return Entered::Closed(status.clone().with_not_processed());
    }
    let has_room = match oneway {
        true => client.has_room_for_oneway(),
        false => client.has_room(),
    };
    if !(has_room && client.waiters.is_next(ticket, client.calls_left())) {
        return wait(connection, state, ticket, head, cx, oneway);
    }
    if let Some(ticket) = ticket {
        // Time has passed in line; the server is to know what is left.
        let (deadline, now) = (head.deadline.map(Deadline::at), clock::now());
        if deadline.is_some_and(|deadline| deadline.has_passed(now)) {
            return wait(connection, state, Some(ticket), head, cx, oneway);
        }
        left = client.waiters.leave(ticket);
        *head = head.with_deadline(deadline, now);
    } else {
        left = None;
    }
    let sent = send(client, head);
    let next = ticket.and_then(|_| client.next_waiter());
    if oneway {
        flush_oneway(connection, state);
    } else {
        flush(connection, state, head.timeout.is_some());
    }
    drop(left);
    if let Some(next) = next {
        next.wake();
    }
    Entered::Sent(sent)
}

/// Lines up for room, or gives up if the deadline has passed.
#[cold]
fn wait<T>(
    connection: &Connection,
    mut state: MutexGuard<'_, State<Client>>,
    ticket: Option<Ticket>,
    head: &mut RequestHead<'_>,
    cx: &Context<'_>,
    oneway: bool,
) -> Entered<T> {
    if let Some(timeout) = head.timeout.filter(|_| head.anchored_later) {
        let now = clock::now();
        *head = head.with_deadline(Some(Deadline::after(now, timeout)), now);
    }
    let deadline = head.deadline;
    if ticket.is_some() && deadline.is_some_and(|deadline| deadline <= clock::now()) {
        let text = format!("no room on the connection to {} in time", connection.peer);
        return Entered::Late(Status::deadline_exceeded(text).with_not_processed());
    }
    let mut waker = cx.waker().clone();
    let ticket = state
        .protocol
        .waiters
        .wait(ticket, deadline, oneway, &mut waker);
    // All before it may have been called and not have come yet, and there is room for one more.
    let next = state.protocol.next_waiter();
    // The driver watches the deadline.
    connection.shared.watch_timer(state);
    drop(waker);
    if let Some(next) = next {
        next.wake();
    }
    Entered::Waits(ticket)
}
