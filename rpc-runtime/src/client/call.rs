//! One call of a channel: encode, send, wait, decode.

use std::any::TypeId;

use bytes::Bytes;
use rpc_core::codec::CodecError;
use rpc_core::connection::RequestHead;
use rpc_core::{DecodeLimits, MethodDescriptor, MethodId, Status, split_path};
use serde::de::DeserializeOwned;

use super::attempt::guard;
use super::slot::{Answer, Failure, RawReply, ReplyBody};
use super::{Channel, Route};
use crate::context;
use crate::invoke::{Invoke, Request};

/// A method by its names and id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodRef<'a> {
    service: &'a str,
    name: &'a str,
    id: MethodId,
}

impl<'a> MethodRef<'a> {
    /// From `Service.method`, split at the last dot.
    pub(super) fn parse(path: &'a str) -> Result<Self, Status> {
        let Some((service, name)) = split_path(path) else {
            return Err(Status::invalid_argument(format!(
                "ill-formed method {path:?}: expected Service.method"
            ))
            .with_not_processed());
        };
        Ok(Self {
            service,
            name,
            id: MethodId::of(service, name),
        })
    }
}

impl From<&'static MethodDescriptor> for MethodRef<'static> {
    fn from(method: &'static MethodDescriptor) -> Self {
        Self {
            service: method.service,
            name: method.name,
            id: method.id,
        }
    }
}

impl Channel {
    /// Sends a request and waits for its answer; oneway, for the request to be queued.
    ///
    /// `encode` may be called again if the connection was lost before the request was written.
    #[inline]
    pub(crate) async fn exchange<F>(
        &self,
        method: MethodRef<'_>,
        oneway: bool,
        encode: F,
    ) -> Result<RawReply, Status>
    where
        F: Fn(&mut Vec<u8>) -> Result<(), CodecError> + Send + Sync,
    {
        let answer = match &*self.route {
            Route::Remote(remote) => {
                let head = RequestHead::new(method.id)
                    .with_timeout(self.options.timeout())
                    .with_metadata(Some(self.options.metadata()));
                remote.exchange(method.service, head, oneway, &encode).await
            }
            Route::Invoke(_, invoke) => self.invoke(&**invoke, method, oneway, &encode).await,
        };
        match answer {
            Ok(reply) => {
                context::capture(&reply.metadata);
                Ok(reply)
            }
            Err(failure) => {
                context::capture(failure.status.metadata());
                Err(failure.status)
            }
        }
    }

    async fn invoke<F>(
        &self,
        invoke: &dyn Invoke,
        method: MethodRef<'_>,
        oneway: bool,
        encode: &F,
    ) -> Answer
    where
        F: Fn(&mut Vec<u8>) -> Result<(), CodecError> + Sync,
    {
        let mut body = Vec::new();
        guard(&mut body, encode).map_err(|error| {
            Status::internal("the arguments could not be encoded")
                .with_not_processed()
                .with_source(error)
        })?;
        let (service, name) = (method.service.to_owned(), method.name.to_owned());
        let mut request = Request::new(service, name, Bytes::from(body));
        request.oneway = oneway;
        request.timeout = self.options.timeout();
        request.metadata = self.options.metadata().clone();
        let response = invoke.invoke(request).await.map_err(Failure::from)?;
        Ok(RawReply {
            metadata: response.metadata,
            body: ReplyBody::Shared(response.body),
        })
    }

    /// Decodes the reply of a method.
    #[inline]
    pub(crate) fn decode_reply<T: DeserializeOwned + 'static>(
        &self,
        method: MethodRef<'_>,
        reply: RawReply,
    ) -> Result<T, Status> {
        let decoded = self.codec().decode(&reply.body, &DecodeLimits::default());
        decoded.map_err(|error| {
            Status::internal(format!(
                "the reply of {}.{} could not be decoded: {error}",
                method.service, method.name
            ))
        })
    }

    /// The typed error that a status carries, or the status as such an error.
    pub(crate) fn decode_error<E>(&self, status: Status) -> E
    where
        E: DeserializeOwned + From<Status> + 'static,
    {
        let is_typed = TypeId::of::<E>() != TypeId::of::<Status>();
        let Some(body) = status.error_body().filter(|_| is_typed) else {
            return status.into();
        };
        let decoded = self.codec().decode(body, &DecodeLimits::default());
        decoded.unwrap_or_else(|_| status.into())
    }
}
