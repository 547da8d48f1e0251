//! A typed call, as one future.
//!
//! Why is there another way than [`Channel::exchange`]? Most calls find an open connection with room,
//! and are answered. Such a call is sent with the first poll of this future and decoded with the last
//! one, and nothing is handed from layer to layer in between, each of which would copy it. Whatever
//! else there is (nobody connected, no room, interceptors, a connection that is lost) takes the other
//! way, from the beginning or from where this one ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use rpc_core::codec::EncodeArguments;
use rpc_core::connection::{RequestHead, StartError};
use rpc_core::{Deadline, Metadata, MethodDescriptor};

use super::attempt::{Failed, Started, flush, give_up, name_missing_service, start, start_status};
use super::balanced::{Begun, Tracked};
use super::call::{Encode, capture};
use super::connection::Connection;
use super::general::general;
use super::near::Held;
use super::pickup::{Pending, Picked, poll_answer};
use super::slot::{Answer, Arrived, Failure, ShortReply};
use super::{Channel, Route};
use crate::boxed::Boxed;
use crate::clock;
use crate::context;

/// How far a call came on the short way.
pub(crate) struct Tried(pub(super) Box<HowFar>);

pub(super) enum HowFar {
    One(LostCall),
    Fleet(Begun),
}

impl Tried {
    #[cold]
    fn of(how_far: HowFar) -> Self {
        Self(Box::new(how_far))
    }
}

/// A first attempt that failed with its connection.
pub(super) struct LostCall {
    pub(super) connection: Arc<Connection>,
    pub(super) failed: Failed,
}

pin_project! {
    /// A call of a typed client. `decode` makes what the caller gets of the answer.
    pub(crate) struct UnaryCall<'a, A, D> {
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
        stage: Stage<'a>,
        // What its fleet knows of it, once it was sent.
        tracked: Option<Tracked<'a>>,
        // The other way. Apart, because it is large and rarely needed: a caller's task is small
        // without it, and few cache lines are touched for a call.
        other: Option<Boxed<'a, Answer>>,
        decode: D,
    }
}

enum Stage<'a> {
    New,
    Sent(Sent<'a>),
    /// On the other way.
    Other,
}

/// A request that was sent. Dropping it is giving it up.
struct Sent<'a> {
    connection: Held<'a>,
    /// Absent once it is answered.
    call: Option<Pending>,
    has_items: bool,
}

impl Drop for Sent<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.call.is_some() {
            give_up(&self.connection, self.call, None);
        }
    }
}

impl<'a, A, D> UnaryCall<'a, A, D> {
    #[inline]
    pub(crate) fn new(
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
        decode: D,
    ) -> Self {
        Self {
            channel,
            method,
            arguments,
            stage: Stage::New,
            tracked: None,
            other: None,
            decode,
        }
    }
}

impl<A, R, D> Future for UnaryCall<'_, A, D>
where
    A: EncodeArguments + Sync,
    D: Fn(&Channel, &'static MethodDescriptor, Arrived<'_>) -> R,
{
    type Output = R;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = self.project();
        let call = (*this.channel, *this.method);
        let decode = |answer| (this.decode)(call.0, call.1, Arrived::Answer(answer));
        let decode_short = |tracked: &mut Option<Tracked<'_>>, short: &ShortReply| {
            if let Some(tracked) = tracked.take() {
                tracked.replied();
            }
            context::capture(&Metadata::new());
            (this.decode)(call.0, call.1, Arrived::Short(short))
        };
        let (names, arguments) = (call.1.argument_names, *this.arguments);
        let encode = |out: &mut Vec<u8>| call.0.codec().encode_arguments(names, arguments, out);
        let tried = match this.stage {
            Stage::New => match send(call, &encode, this.stage, cx) {
                Some(Ok(())) => return Poll::Pending,
                Some(Err(error)) => {
                    *this.stage = Stage::Other;
                    let answer = Err(start_status(error).into());
                    capture(&answer);
                    return Poll::Ready(decode(answer));
                }
                None => match send_to_one(call, &encode, this.stage, this.tracked, cx) {
                    Ok(()) => return Poll::Pending,
                    Err(tried) => tried,
                },
            },
            Stage::Sent(sent) => {
                let Some(pending) = sent.call else {
                    return Poll::Pending;
                };
                if let Some(short) = pending.take_short(&sent.connection) {
                    sent.call = None;
                    return Poll::Ready(decode_short(this.tracked, &short));
                }
                let picked = ready!(poll_answer(&sent.connection, pending, cx));
                sent.call = None;
                match picked {
                    Picked::Short(short) => {
                        return Poll::Ready(decode_short(this.tracked, &short));
                    }
                    Picked::Reply(mut reply) => {
                        if let Some(tracked) = this.tracked.take() {
                            tracked.answered(&sent.connection, &mut reply);
                        }
                        context::capture(&reply.metadata);
                        return Poll::Ready(decode(Ok(reply)));
                    }
                    Picked::Failure(failure, deadline) => {
                        match sent.fail(call.1, failure, deadline, this.tracked.take()) {
                            Ok(failure) => {
                                let answer = Err(failure);
                                capture(&answer);
                                return Poll::Ready(decode(answer));
                            }
                            Err(tried) => Some(tried),
                        }
                    }
                }
            }
            Stage::Other => return poll_other(this.other, cx).map(decode),
        };
        *this.stage = Stage::Other;
        *this.other = Some(general(call.0, call.1, *this.arguments, tried));
        poll_other(this.other, cx).map(decode)
    }
}

/// Where a call goes, and what it asks for.
type Call<'a> = (&'a Channel, &'static MethodDescriptor);

/// Sends a request on the connection there is, and leaves it in its `stage`; `None`, without having
/// done anything, if there is more to be thought of.
fn send<'a>(
    call @ (channel, _): Call<'a>,
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Option<Result<(), StartError>> {
    let Route::Remote(remote) = &channel.inner.route else {
        return None;
    };
    if channel.options.service_name().is_some() || !channel.inner.settings.interceptors.is_empty() {
        return None;
    }
    // Lent to whoever reads it: a copy is read in wide words before the narrow ones are stored.
    let mut head = head(call);
    if !hold(&mut head) {
        return None;
    }
    let mut connection = Held::Near(channel.near.get(remote)?);
    loop {
        let mut state = connection.shared.lock();
        let client = &mut state.protocol;
        if client.closed.is_some() {
            drop(state);
            match connection {
                Held::Near(_) => connection = Held::Own(remote.current()?),
                Held::Own(_) => return None,
            }
            continue;
        }
        if !client.waiters.is_next(None) || !client.has_room() {
            return None;
        }
        let started = start(&connection, client, &head, encode, cx);
        flush(&connection, state, head.timeout.is_some());
        return match started {
            Ok(Started { pending, has_items }) => {
                *stage = Stage::Sent(Sent {
                    connection,
                    call: Some(pending),
                    has_items,
                });
                Some(Ok(()))
            }
            Err(StartError::Closed) => None,
            Err(error) => Some(Err(error)),
        };
    }
}

/// Sends a request on a connection to one of a fleet; else how far it came, if anything was done.
///
/// Not inlined: a call to a single server does without it.
#[inline(never)]
fn send_to_one<'a>(
    call @ (channel, method): Call<'a>,
    encode: &Encode<'_>,
    stage: &mut Stage<'a>,
    tracked: &mut Option<Tracked<'a>>,
    cx: &Context<'_>,
) -> Result<(), Option<Tried>> {
    if !cfg!(feature = "fleet") {
        return Err(None);
    }
    let Route::Balanced(balanced) = &channel.inner.route else {
        return Err(None);
    };
    if channel.options.service_name().is_some() || !channel.inner.settings.interceptors.is_empty() {
        return Err(None);
    }
    let mut head = head(call);
    if !hold(&mut head) {
        return Err(None);
    }
    let on_the_way = |begun| Some(Tried::of(HowFar::Fleet(begun)));
    let set_out = balanced.set_out(method, &channel.options).ok_or(None)?;
    let (connection, trip) = set_out.map_err(on_the_way)?;
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    if client.closed.is_some() || !client.waiters.is_next(None) || !client.has_room() {
        drop(state);
        return Err(on_the_way(trip.interrupted(connection)));
    }
    let started = start(&connection, client, &head, encode, cx);
    flush(&connection, state, head.timeout.is_some());
    match started {
        Ok(Started { pending, has_items }) => {
            *tracked = Some(trip.sent());
            *stage = Stage::Sent(Sent {
                connection: Held::Own(connection),
                call: Some(pending),
                has_items,
            });
            Ok(())
        }
        Err(StartError::Closed) => Err(on_the_way(trip.interrupted(connection))),
        Err(error) => {
            let failed = Failed::sent(start_status(error).into(), head.deadline, false);
            Err(on_the_way(trip.failed(connection, method.service, failed)))
        }
    }
}

/// The head of a request that has nothing around it; [`hold`] says whether it may go the short way.
#[inline]
fn head<'a>((channel, method): Call<'a>) -> RequestHead<'a> {
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
    let ambient = context::ambient().unwrap_or_default();
    if ambient.trace.is_some() {
        return false;
    }
    let now = clock::now();
    let own = head.timeout.map(|timeout| Deadline::after(now, timeout));
    let deadline = match (own, ambient.deadline) {
        (Some(own), Some(ambient)) => Some(own.min(ambient)),
        (one, other) => one.or(other),
    };
    *head = head.with_deadline(deadline, now);
    !deadline.is_some_and(|deadline| deadline.has_passed(now))
}

impl Sent<'_> {
    /// Why the call failed, if that is the end of it; else how far it came.
    #[cold]
    fn fail(
        &self,
        method: &MethodDescriptor,
        failure: Failure,
        deadline: Option<Instant>,
        tracked: Option<Tracked<'_>>,
    ) -> Result<Failure, Tried> {
        let connection = Arc::clone(&self.connection);
        if let Some(tracked) = tracked {
            let failed = Failed::sent(failure, deadline, self.has_items);
            let begun = tracked.lost(connection, method.service, failed);
            return Err(Tried::of(HowFar::Fleet(begun)));
        }
        if self.has_items || self.connection.accepts_calls() {
            return Ok(name_missing_service(
                &self.connection,
                method.service,
                failure,
            ));
        }
        let failed = Failed::sent(failure, deadline, false);
        Err(Tried::of(HowFar::One(LostCall { connection, failed })))
    }
}

/// Polls the other way, which sees to the metadata of the response by itself.
fn poll_other(other: &mut Option<Boxed<'_, Answer>>, cx: &mut Context<'_>) -> Poll<Answer> {
    let Some(polled) = other else {
        return Poll::Pending;
    };
    let answer = ready!(polled.as_mut().poll(cx));
    *other = None;
    Poll::Ready(answer)
}
