//! A typed call, as one future.
//!
//! Why is there another way than [`Channel::exchange`]? Most calls find an open connection with room,
//! and are answered by a short message. Such a call is sent with the first poll of this future and
//! decoded with the last one, and nothing is handed from layer to layer in between, each of which would
//! copy it. Whatever else there is (nobody connected, no room, an interceptor that waits, a long reply,
//! a connection that is lost) is apart, in [`progress`], which knows nothing of the types of a call.

mod in_line;
mod progress;
mod sending;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use rpc_core::MethodDescriptor;
use rpc_core::codec::EncodeArguments;

use self::progress::Progress;
use super::Channel;
use super::slot::Answer;

pub(crate) use self::progress::Tried;
pub(super) use self::progress::{HowFar, LostCall};

pin_project! {
    /// A call of a typed client. `D` makes what the caller gets of the answer.
    pub(crate) struct UnaryCall<'a, A, D> {
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
        progress: Progress<'a>,
        decode: PhantomData<fn() -> D>,
    }
}

/// What the caller of a method gets.
pub(crate) trait Decode {
    type Output;

    /// Of a short reply, as most are.
    fn short(channel: &Channel, method: &'static MethodDescriptor, body: &[u8]) -> Self::Output;

    /// Of any other answer.
    fn answer(channel: &Channel, method: &'static MethodDescriptor, answer: Answer)
    -> Self::Output;
}

impl<'a, A, D> UnaryCall<'a, A, D> {
    #[inline]
    pub(crate) const fn new(
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        arguments: &'a A,
    ) -> Self {
        Self {
            channel,
            method,
            arguments,
            progress: Progress::new(),
            decode: PhantomData,
        }
    }
}

impl<A: EncodeArguments + Sync, D: Decode> Future for UnaryCall<'_, A, D> {
    type Output = D::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<D::Output> {
        let this = self.project();
        let (channel, method, arguments) = (*this.channel, *this.method, *this.arguments);
        let call = (channel, method);
        if let Some(short) = this.progress.take_short(call) {
            return Poll::Ready(D::short(channel, method, &short));
        }
        let names = method.argument_names;
        let encode = |out: &mut Vec<u8>| channel.codec().encode_arguments(names, arguments, out);
        let polled = this.progress.poll(call, &encode, arguments, cx);
        polled.map(|answer| D::answer(channel, method, answer))
    }
}
