//! A typed call, as one future.
//!
//! Why is there another way than [`Channel::exchange`]? Most calls find an open connection with room,
//! and are answered. Such a call is sent with the first poll of this future and decoded with the last
//! one, and nothing is handed from layer to layer in between, each of which would copy it. Whatever
//! else there is (nobody connected, no room, interceptors, a fleet, a connection that is lost) takes
//! the other way, from the beginning or from where this one ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use rpc_core::codec::EncodeArguments;
use rpc_core::connection::{CallId, RequestHead, StartError};
use rpc_core::{Deadline, Metadata, MethodDescriptor};

use super::attempt::{Failed, Started, flush, give_up, name_missing_service, start, start_status};
use super::call::capture;
use super::connection::Connection;
use super::near::Held;
use super::pickup::{Picked, poll_answer};
use super::slot::{Answer, Arrived, Failure, ShortReply};
use super::{Channel, Route};
use crate::clock;
use crate::context;

/// A first attempt that failed with its connection.
pub(crate) struct Tried {
    pub(super) connection: Arc<Connection>,
    pub(super) failed: Failed,
}

pin_project! {
    /// A call of a typed client. `G` is the other way, which `general` makes; `decode` makes what the
    /// caller gets of the answer.
    pub(crate) struct UnaryCall<'a, A, M, G, D> {
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
        stage: Stage<'a>,
        general: M,
        #[pin]
        other: Option<G>,
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
    call: Option<CallId>,
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

impl<'a, A, M, G, D> UnaryCall<'a, A, M, G, D>
where
    M: Fn(&'a Channel, &'static MethodDescriptor, &'a A, Option<Tried>) -> G,
{
    #[inline]
    pub(crate) fn new(
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
        general: M,
        decode: D,
    ) -> Self {
        Self {
            channel,
            method,
            arguments,
            stage: Stage::New,
            general,
            other: None,
            decode,
        }
    }
}

impl<'a, A, R, M, G, D> Future for UnaryCall<'a, A, M, G, D>
where
    A: EncodeArguments + Sync,
    M: Fn(&'a Channel, &'static MethodDescriptor, &'a A, Option<Tried>) -> G,
    G: Future<Output = Answer>,
    D: Fn(&Channel, &'static MethodDescriptor, Arrived<'_>) -> R,
{
    type Output = R;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let mut this = self.project();
        let call = (*this.channel, *this.method);
        let decode = |answer| (this.decode)(call.0, call.1, Arrived::Answer(answer));
        let tried = match this.stage {
            Stage::New => match send(call, *this.arguments, this.stage, cx) {
                Some(Ok(())) => return Poll::Pending,
                Some(Err(error)) => {
                    *this.stage = Stage::Other;
                    let answer = Err(start_status(error).into());
                    capture(&answer);
                    return Poll::Ready(decode(answer));
                }
                None => None,
            },
            Stage::Sent(sent) => {
                let Some(id) = sent.call else {
                    return Poll::Pending;
                };
                let mut short = ShortReply::EMPTY;
                let picked = ready!(poll_answer(&sent.connection, id, cx, &mut short));
                sent.call = None;
                match picked {
                    Picked::Short => {
                        context::capture(&Metadata::new());
                        let short = Arrived::Short(&short);
                        return Poll::Ready((this.decode)(call.0, call.1, short));
                    }
                    Picked::Reply(reply) => {
                        context::capture(&reply.metadata);
                        return Poll::Ready(decode(Ok(reply)));
                    }
                    Picked::Failure(failure, deadline) => {
                        match sent.fail(call.1, failure, deadline) {
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
        let other = (this.general)(call.0, call.1, *this.arguments, tried);
        this.other.set(Some(other));
        poll_other(this.other, cx).map(decode)
    }
}

/// Where a call goes, and what it asks for.
type Call<'a> = (&'a Channel, &'static MethodDescriptor);

/// Sends a request on the connection there is, and leaves it in its `stage`; `None`, without having
/// done anything, if there is more to be thought of.
#[inline]
fn send<'a, A: EncodeArguments>(
    (channel, method): Call<'a>,
    arguments: &A,
    stage: &mut Stage<'a>,
    cx: &Context<'_>,
) -> Option<Result<(), StartError>> {
    let Route::Remote(remote) = &channel.inner.route else {
        return None;
    };
    if channel.options.service_name().is_some() || !channel.inner.settings.interceptors.is_empty() {
        return None;
    }
    let timeout = channel.timeout(method.timeout);
    let metadata = channel.options.metadata();
    let head = if context::is_present() {
        head_within(RequestHead::of_call(method.id, metadata, None), timeout)?
    } else if timeout == Some(Duration::ZERO) {
        return None;
    } else {
        RequestHead::of_call(method.id, metadata, timeout)
    };
    let codec = remote.codec();
    let encode = |out: &mut Vec<u8>| codec.encode_arguments(method.argument_names, arguments, out);
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
        let started = start(&connection, client, head, encode, cx);
        flush(&connection, state, head.timeout.is_some());
        return match started {
            Ok(Started { call, has_items }) => {
                *stage = Stage::Sent(Sent {
                    connection,
                    call: Some(call),
                    has_items,
                });
                Some(Ok(()))
            }
            Err(StartError::Closed) => None,
            Err(error) => Some(Err(error)),
        };
    }
}

/// The head of a request that is part of another call, if there is time left for it and it belongs
/// to no trace.
#[inline(never)]
fn head_within(head: RequestHead<'_>, timeout: Option<Duration>) -> Option<RequestHead<'_>> {
    let ambient = context::ambient().unwrap_or_default();
    if ambient.trace.is_some() {
        return None;
    }
    let now = clock::now();
    let own = timeout.map(|timeout| Deadline::after(now, timeout));
    let deadline = match (own, ambient.deadline) {
        (Some(own), Some(ambient)) => Some(own.min(ambient)),
        (one, other) => one.or(other),
    };
    if deadline.is_some_and(|deadline| deadline.has_passed(now)) {
        return None;
    }
    Some(head.with_deadline(deadline, now))
}

impl Sent<'_> {
    /// Why the call failed, if its connection goes on; else the attempt, after which another may be
    /// made.
    #[cold]
    fn fail(
        &self,
        method: &MethodDescriptor,
        failure: Failure,
        deadline: Option<Instant>,
    ) -> Result<Failure, Tried> {
        if self.has_items || self.connection.accepts_calls() {
            return Ok(name_missing_service(
                &self.connection,
                method.service,
                failure,
            ));
        }
        let failed = Failed::sent(failure, deadline, false);
        Err(Tried {
            connection: self.connection.clone(),
            failed,
        })
    }
}

/// Polls the other way, which sees to the metadata of the response by itself.
fn poll_other(
    mut other: Pin<&mut Option<impl Future<Output = Answer>>>,
    cx: &mut Context<'_>,
) -> Poll<Answer> {
    let Some(polled) = other.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    let answer = ready!(polled.poll(cx));
    other.set(None);
    Poll::Ready(answer)
}
