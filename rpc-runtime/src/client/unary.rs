//! A typed call, as one future.
//!
//! Why is there another way than [`Channel::exchange`]? Most calls find an open connection with room,
//! and are answered. Such a call is sent with the first poll of this future and decoded with the last
//! one, and nothing is handed from layer to layer in between, each of which would copy it. Whatever
//! else there is (nobody connected, no room, an interceptor that waits, a connection that is lost)
//! takes the other way, from the beginning or from where this one ended.

mod sending;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use rpc_core::codec::EncodeArguments;
use rpc_core::{Metadata, MethodDescriptor};

use self::sending::{Call, Sending, send, send_intercepted, send_to_one};
use super::Channel;
use super::attempt::{Failed, give_up, name_missing_service, start_status};
use super::balanced::{Begun, Tracked};
use super::call::capture;
use super::connection::Connection;
use super::general::general;
use super::intercepted::Asked;
use super::near::Held;
use super::pickup::{Pending, Picked, poll_answer};
use super::slot::{Answer, Arrived, Failure, ShortReply};
use crate::boxed::Boxed;
use crate::context;
use crate::middleware::Kept;

/// A call that has left the short way.
pub(crate) struct Tried {
    /// The interceptors that know of it.
    pub(super) asked: Option<Asked>,
    pub(super) how_far: Box<HowFar>,
}

/// How far a call came.
pub(super) enum HowFar {
    /// It was not sent yet.
    Unsent,
    One(LostCall),
    Fleet(Begun),
}

impl HowFar {
    #[cold]
    fn boxed(self) -> Box<Self> {
        Box::new(self)
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
        // What interceptors are told of with the answer.
        kept: Option<Kept>,
        // The other way. Apart, because it is large and rarely needed: a caller's task is small
        // without it, and few cache lines are touched for a call.
        other: Option<Boxed<'a, Answer>>,
        decode: D,
    }
}

/// What is left to be done for a call when it is answered.
struct After<'s, 'a> {
    tracked: &'s mut Option<Tracked<'a>>,
    kept: &'s mut Option<Kept>,
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
            kept: None,
            other: None,
            decode,
        }
    }
}

impl<'a, A, R, D> Future for UnaryCall<'a, A, D>
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
        let decode_short = |after: After<'_, 'a>, short: &ShortReply| {
            if let Some(tracked) = after.tracked.take() {
                tracked.replied();
            }
            if after.kept.is_some() {
                tell_reply(call, after.kept);
            }
            context::capture(&Metadata::new());
            (this.decode)(call.0, call.1, Arrived::Short(short))
        };
        let after = After {
            tracked: this.tracked,
            kept: this.kept,
        };
        let (names, arguments) = (call.1.argument_names, *this.arguments);
        let encode = |out: &mut Vec<u8>| call.0.codec().encode_arguments(names, arguments, out);
        let tried = match this.stage {
            Stage::New if !call.0.inner.settings.interceptors.is_empty() => {
                match send_intercepted(call, &encode, this.stage, after, cx) {
                    Sending::Sent => return Poll::Pending,
                    Sending::Ended(failure) => {
                        *this.stage = Stage::Other;
                        let answer = Err(failure);
                        capture(&answer);
                        return Poll::Ready(decode(answer));
                    }
                    Sending::Elsewhere(tried) => tried,
                }
            }
            Stage::New => match send(call, &encode, this.stage, cx) {
                Some(Ok(())) => return Poll::Pending,
                Some(Err(error)) => {
                    *this.stage = Stage::Other;
                    let answer = Err(start_status(error).into());
                    capture(&answer);
                    return Poll::Ready(decode(answer));
                }
                None => match send_to_one(call, &encode, this.stage, after.tracked, cx) {
                    Ok(()) => return Poll::Pending,
                    Err(how_far) => how_far.map(|how_far| Tried {
                        asked: None,
                        how_far,
                    }),
                },
            },
            Stage::Sent(sent) => {
                let Some(pending) = sent.call else {
                    return Poll::Pending;
                };
                if let Some(short) = pending.take_short(&sent.connection) {
                    sent.call = None;
                    return Poll::Ready(decode_short(after, &short));
                }
                let picked = ready!(poll_answer(&sent.connection, pending, cx));
                sent.call = None;
                match picked {
                    Picked::Short(short) => {
                        return Poll::Ready(decode_short(after, &short));
                    }
                    Picked::Reply(mut reply) => {
                        if let Some(tracked) = after.tracked.take() {
                            tracked.answered(&sent.connection, &mut reply);
                        }
                        if after.kept.is_some() {
                            tell_reply(call, after.kept);
                        }
                        context::capture(&reply.metadata);
                        return Poll::Ready(decode(Ok(reply)));
                    }
                    Picked::Failure(failure, deadline) => {
                        let kept = after.kept.take();
                        match sent.fail(call.1, failure, deadline, after.tracked.take()) {
                            Ok(failure) => {
                                if let Some(kept) = kept {
                                    call.0.tell(kept, call.1, &Err(&failure));
                                }
                                let answer = Err(failure);
                                capture(&answer);
                                return Poll::Ready(decode(answer));
                            }
                            Err(how_far) => {
                                let asked = kept.map(|kept| Asked::let_through(kept, call.1));
                                Some(Tried { asked, how_far })
                            }
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

impl Sent<'_> {
    /// Why the call failed, if that is the end of it; else how far it came.
    #[cold]
    fn fail(
        &self,
        method: &MethodDescriptor,
        failure: Failure,
        deadline: Option<Instant>,
        tracked: Option<Tracked<'_>>,
    ) -> Result<Failure, Box<HowFar>> {
        let connection = Arc::clone(&self.connection);
        if let Some(tracked) = tracked {
            let failed = Failed::sent(failure, deadline, self.has_items);
            let begun = tracked.lost(connection, method.service, failed);
            return Err(HowFar::Fleet(begun).boxed());
        }
        if self.has_items || self.connection.accepts_calls() {
            return Ok(name_missing_service(
                &self.connection,
                method.service,
                failure,
            ));
        }
        let failed = Failed::sent(failure, deadline, false);
        Err(HowFar::One(LostCall { connection, failed }).boxed())
    }
}

/// Tells the interceptors of a call that it was answered. Not in the way of calls without any.
#[inline(never)]
fn tell_reply((channel, method): Call<'_>, kept: &mut Option<Kept>) {
    if let Some(kept) = kept.take() {
        channel.tell(kept, method, &Ok(()));
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
