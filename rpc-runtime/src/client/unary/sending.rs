//! The first poll of a typed call: it is sent, if nothing is in the way.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use rpc_core::connection::{RequestHead, StartError};
use rpc_core::{Deadline, Metadata, MethodDescriptor};

use super::super::attempt::{Failed, flush, start, start_status};
use super::super::balanced::{Balanced, Tracked};
use super::super::call::Encode;
use super::super::connection::{Client, Connection};
use super::super::intercepted::{self, Asked, Said};
use super::super::near::Held;
use super::super::pickup::Pending;
use super::super::remote::Remote;
use super::super::slot::Failure;
use super::super::{Channel, Route};
use super::in_line::InLine;
use super::progress::{Followers, HowFar, Progress, Stage, Tried};
use crate::clock;
use crate::connection::{MutexGuard, State};
use crate::context;

/// Where a call goes, and what it asks for.
pub(super) type Call<'a> = (&'a Channel, &'static MethodDescriptor);

/// Sends a request on the connection there is, and leaves it in its `stage`; `None`, without having
/// done anything, if there is more to be thought of.
#[inline]
pub(super) fn send<'a>(
    call @ (channel, _): Call<'a>,
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Option<Result<(), Box<StartError>>> {
    let Route::Remote(remote) = &channel.inner.route else {
        return None;
    };
    if channel.options.service_name().is_some() {
        return None;
    }
    // Lent to whoever reads it: a copy is read in wide words before the narrow ones are stored.
    let mut head = head(call);
    if !hold(&mut head) {
        return None;
    }
    send_head(channel.near.get(remote)?, remote, &head, encode, stage, cx)
}

/// Sends a request on the connection that is near, or on the current one if that is closed.
#[inline(always)]
fn send_head<'a>(
    near: &'a Arc<Connection>,
    remote: &Remote,
    head: &RequestHead<'_>,
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Option<Result<(), Box<StartError>>> {
    let state = near.shared.lock();
    if state.protocol.closed.is_some() {
        drop(state);
        return send_on_current(remote, head, encode, stage, cx);
    }
    let started = append(near, state, head, encode, cx)?;
    Some(started.map(|pending| stage.note_sent(Held::Near(near), pending)))
}

/// The same, where the connection that is near is closed.
#[cold]
fn send_on_current(
    remote: &Remote,
    head: &RequestHead<'_>,
    encode: &Encode<'_>,
    stage: &mut Stage<'_>,
    cx: &Context<'_>,
) -> Option<Result<(), Box<StartError>>> {
    let current = remote.current()?;
    let state = current.shared.lock();
    if state.protocol.closed.is_some() {
        return None;
    }
    let started = append(&current, state, head, encode, cx)?;
    Some(started.map(|pending| stage.note_sent(Held::Own(current), pending)))
}

/// Appends a request on a connection that is open; `None`, without having done anything, if it has no
/// room.
#[inline(always)]
fn append(
    connection: &Arc<Connection>,
    mut state: MutexGuard<'_, State<Client>>,
    head: &RequestHead<'_>,
    encode: &Encode<'_>,
    cx: &Context<'_>,
) -> Option<Result<Pending, Box<StartError>>> {
    let client = &mut state.protocol;
    if !client.admits_newcomers() {
        return None;
    }
    let started = start(connection, client, head, encode, cx);
    flush(connection, state, head.timeout.is_some());
    match started {
        Err(error) if matches!(*error, StartError::Closed) => None,
        started => Some(started),
    }
}

/// Sends a request to one server as [`send`] does, or lines up for room on its connection; `None` if
/// there is still more to be thought of.
#[cold]
pub(super) fn send_in_line<'a>(
    call @ (channel, _): Call<'a>,
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Option<Sending> {
    let Route::Remote(remote) = &channel.inner.route else {
        return None;
    };
    if channel.options.service_name().is_some() {
        return None;
    }
    let mut head = head(call);
    if !hold(&mut head) {
        return None;
    }
    let line = InLine::new(channel.near.open(remote)?);
    Some(Box::new(line).advance(head, encode, stage, cx))
}

/// Sends a request on a connection to one of a fleet; else how far it came, if anything was done.
///
/// Not inlined: a call to a single server does without it.
#[inline(never)]
pub(super) fn send_to_one<'a>(
    call @ (channel, _): Call<'a>,
    encode: &Encode<'_>,
    progress: &mut Progress<'a>,
    cx: &Context<'_>,
) -> Result<(), Option<Box<HowFar>>> {
    if !cfg!(feature = "fleet") {
        return Err(None);
    }
    let Route::Balanced(balanced) = &channel.inner.route else {
        return Err(None);
    };
    if channel.options.service_name().is_some() {
        return Err(None);
    }
    let mut head = head(call);
    if !hold(&mut head) {
        return Err(None);
    }
    let head = (&head, channel.options.metadata());
    let tracked = send_head_to_one(call, balanced, head, encode, &mut progress.stage, cx)?;
    progress.followers = Some(Followers::Fleet(tracked));
    Ok(())
}

/// Picks one of a fleet, and sends a request on the connection to it.
#[inline]
fn send_head_to_one<'a>(
    (channel, method): Call<'a>,
    balanced: &'a Balanced,
    (head, metadata): (&RequestHead<'_>, &Metadata),
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Result<Tracked<'a>, Option<Box<HowFar>>> {
    let on_the_way = |begun| Some(HowFar::Fleet(begun).boxed());
    let set_out = balanced.set_out(method, &channel.options, metadata);
    let (connection, trip) = set_out.ok_or(None)?.map_err(on_the_way)?;
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    if client.closed.is_some() || !client.admits_newcomers() {
        drop(state);
        return Err(on_the_way(trip.interrupted(connection)));
    }
    let started = start(&connection, client, head, encode, cx);
    flush(&connection, state, head.timeout.is_some());
    match started {
        Ok(pending) => {
            stage.note_sent(Held::Own(connection), pending);
            Ok(trip.sent())
        }
        Err(error) if matches!(*error, StartError::Closed) => {
            Err(on_the_way(trip.interrupted(connection)))
        }
        Err(error) => {
            let failed = Failed::sent(start_status(*error).into(), head.deadline, false);
            Err(on_the_way(trip.failed(
                connection,
                (method.service, method.name),
                failed,
            )))
        }
    }
}

/// What became of a call that is not sent the shortest way.
pub(super) enum Sending {
    /// It was sent, or is in line.
    UnderWay,
    /// They have refused it, or it cannot be sent.
    Ended(Failure),
    Elsewhere(Option<Tried>),
}

/// As [`send`] and [`send_to_one`], if the interceptors let the call through at once.
///
/// Not inlined: without any, calls do without it.
#[inline(never)]
pub(super) fn send_intercepted<'a>(
    call @ (channel, method): Call<'a>,
    encode: &Encode<'_>,
    progress: &mut Progress<'a>,
    cx: &mut Context<'_>,
) -> Sending {
    let (kept, held) = match channel.ask(method, cx) {
        Some(Said::LetThrough(kept, held)) => (kept, held),
        Some(Said::Refused(failure)) => return Sending::Ended(failure),
        Some(Said::Waits(inquiry)) => {
            let (asked, how_far) = (Some(Asked::Waiting(inquiry)), HowFar::Unsent.boxed());
            return Sending::Elsewhere(Some(Tried { asked, how_far }));
        }
        None => return Sending::Elsewhere(None),
    };
    let Progress { stage, followers } = progress;
    let head = intercepted::head(&kept, method, &held);
    let sent = match &channel.inner.route {
        _ if held.is_late(&kept) => Err(None),
        Route::Remote(remote) => {
            let near = channel.near.get(remote);
            match near.and_then(|near| send_head(near, remote, &head, encode, stage, cx)) {
                Some(Ok(())) => Ok(None),
                Some(Err(error)) => {
                    let failure = start_status(*error).into();
                    channel.tell(kept, method, &Err(&failure));
                    return Sending::Ended(failure);
                }
                None => Err(None),
            }
        }
        Route::Balanced(balanced) => {
            let head = (&head, kept.metadata());
            send_head_to_one(call, balanced, head, encode, stage, cx).map(Some)
        }
        _ => Err(None),
    };
    *followers = Some(match sent {
        Ok(None) => Followers::Interceptors(kept),
        Ok(Some(tracked)) => Followers::Both(Box::new((tracked, kept))),
        Err(how_far) => {
            let asked = Some(Asked::let_through(kept, method));
            let how_far = how_far.unwrap_or_else(|| HowFar::Unsent.boxed());
            return Sending::Elsewhere(Some(Tried { asked, how_far }));
        }
    });
    Sending::UnderWay
}

/// The head of a request that has nothing around it; [`hold`] says whether it may go the short way.
#[inline]
pub(super) fn head<'a>((channel, method): Call<'a>) -> RequestHead<'a> {
    let timeout = channel.timeout(method.timeout);
    RequestHead::of_call(method.id, channel.options.metadata(), timeout)
}

/// Holds a request to what the call that it is part of is held to, if there is one. False if there is
/// no time left for it, or it belongs to a trace.
#[inline]
fn hold(head: &mut RequestHead<'_>) -> bool {
    if context::is_present() {
        return hold_within(head);
    }
    head.timeout != Some(Duration::ZERO)
}

#[inline(never)]
fn hold_within(head: &mut RequestHead<'_>) -> bool {
    let Some(within) = context::untraced_deadline() else {
        return false;
    };
    let now = clock::now();
    let own = head.timeout.map(|timeout| Deadline::after(now, timeout));
    let deadline = match (own, within) {
        (Some(own), Some(within)) => Some(own.min(within)),
        (one, other) => one.or(other),
    };
    *head = head.with_deadline(deadline, now);
    !deadline.is_some_and(|deadline| deadline.has_passed(now))
}
