//! The seam between a typed client and whatever answers its calls.
//!
//! A connection is one answer, a server in the same process another, a test double a third.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rpc_core::{Codec, Metadata, Status};

use crate::boxed::Boxed;
use crate::stream::Items;

/// Answers calls. Implement it to record or to fake what a client does, with `#[rpc::async_trait]` and
/// `async fn`.
pub trait Invoke: fmt::Debug + Send + Sync + 'static {
    /// Answers one call. The caller may drop the future: it has lost interest then.
    ///
    /// # Errors
    /// Whatever the caller is to see. A typed error travels as [`Status::with_error_body`], encoded
    /// with [`codec`](Self::codec).
    fn invoke<'i, 'f>(&'i self, request: Request) -> Boxed<'f, Result<Response, Status>>
    where
        'i: 'f,
        Self: 'f;

    /// The codec of all bodies.
    fn codec(&self) -> Codec {
        Codec::default()
    }
}

/// A call, encoded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The wire name of the service.
    pub service: Cow<'static, str>,
    /// The wire name of the method.
    pub method: Cow<'static, str>,
    /// The caller does not wait for an answer.
    pub oneway: bool,
    /// The time the caller gives.
    pub timeout: Option<Duration>,
    /// Metadata of the request.
    pub metadata: Metadata,
    /// The encoded arguments.
    pub body: Bytes,
    /// The items of the stream among the arguments, if there is one.
    pub items: Option<Items>,
}

impl Request {
    /// A request for a method with encoded arguments.
    #[must_use]
    pub fn new(
        service: impl Into<Cow<'static, str>>,
        method: impl Into<Cow<'static, str>>,
        body: Bytes,
    ) -> Self {
        Self {
            service: service.into(),
            method: method.into(),
            oneway: false,
            timeout: None,
            metadata: Metadata::new(),
            body,
            items: None,
        }
    }
}

/// The answer to a call, encoded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Response {
    /// Metadata of the response.
    pub metadata: Metadata,
    /// The encoded reply.
    pub body: Bytes,
    /// The items of the stream in the reply, if there is one.
    pub items: Option<Items>,
}

impl Response {
    /// A response with an encoded reply.
    #[must_use]
    pub const fn new(body: Bytes) -> Self {
        Self {
            metadata: Metadata::new(),
            body,
            items: None,
        }
    }

    /// Adds metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}
