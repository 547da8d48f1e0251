//! The way to somebody who answers without a connection: a server in this process, a test double.
//!
//! Why does a type stand behind it, and not a pointer to it? What is done for it is compiled with the
//! programs that have such a channel, and all others do without.

use std::fmt::Debug;

use bytes::Bytes;
use rpc_core::{Codec, Status};

use super::attempt::guard;
use super::call::{Encode, Outbound, in_time, late};
use super::slot::{Answer, Failure, RawReply, ReplyBody};
use crate::boxed::Boxed;
use crate::invoke::{Invoke, Request};
use crate::stream::{self, Items, Receiver, capturing, in_current_context};

/// Answers the calls of a channel.
pub(super) trait Answers: Debug + Send + Sync {
    fn codec(&self) -> &Codec;

    /// Answers one call, which knows when it is to be over.
    fn exchange<'a>(&'a self, call: &'a Outbound<'_>, encode: &'a Encode<'_>) -> Boxed<'a, Answer>;
}

#[derive(Debug)]
pub(super) struct Invoked<I> {
    codec: Codec,
    invoke: I,
}

impl<I: Invoke> Invoked<I> {
    pub(super) fn new(invoke: I) -> Self {
        let codec = invoke.codec();
        Self { codec, invoke }
    }
}

impl<I: Invoke> Answers for Invoked<I> {
    fn codec(&self) -> &Codec {
        &self.codec
    }

    fn exchange<'a>(&'a self, call: &'a Outbound<'_>, encode: &'a Encode<'_>) -> Boxed<'a, Answer> {
        Box::pin(async move {
            let mut body = Vec::new();
            let (encoded, source) = capturing(|| guard(&mut body, encode));
            encoded.map_err(|error| {
                Status::internal("the arguments could not be encoded")
                    .with_not_processed()
                    .with_source(error)
            })?;
            let (service, name) = (call.method.service.to_owned(), call.method.name.to_owned());
            let mut request = Request::new(service, name, Bytes::from(body));
            request.oneway = call.oneway;
            request.timeout = call.head().timeout;
            request.metadata = call.metadata.clone().into_owned();
            let bound = |source| stream::in_time(call.deadline, source);
            request.items = source.map(|source| Items::new(bound(in_current_context(source))));
            let response = in_time(call.deadline, self.invoke.invoke(request)).await;
            let response = response.unwrap_or_else(|| Err(late("no answer in time")));
            let response = response.map_err(Failure::from)?;
            let source = response.items.and_then(|items| items.take());
            let items = source.map(|source| {
                let limit = rpc_core::MESSAGE_BYTES_MAX as usize;
                Box::new(Receiver::direct(self.invoke.codec(), bound(source), limit))
            });
            Ok(RawReply {
                metadata: response.metadata,
                body: ReplyBody::Shared(response.body),
                items,
            })
        })
    }
}
