//! What a server learns from the bytes it is fed, and what it has answered.

use std::time::Duration;

use crate::connection::CallId;
use crate::wire::Body;
use crate::{Code, Metadata, MethodId};

/// A request that was admitted. It has to be answered once, unless it is oneway.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerRequest<'a> {
    /// Names the call when it is answered.
    pub id: CallId,
    /// Which method.
    pub method: MethodId,
    /// The time the caller gives.
    pub timeout: Option<Duration>,
    /// The caller does not wait for an answer.
    pub oneway: bool,
    /// Metadata of the request.
    pub metadata: Metadata,
    /// The encoded arguments.
    pub body: Body<'a>,
}

/// What came of the bytes that were fed in; `T` is what the caller keeps for each parked call.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent<'a, T> {
    /// The hello was accepted; bodies are in the codec with this id.
    Opened {
        /// The codec of the connection.
        codec: u8,
    },
    /// A call to run.
    Request(ServerRequest<'a>),
    /// A parked call was cancelled and is answered; its handler should stop.
    Cancelled(T),
}

/// What was sent as the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// The reply.
    Reply,
    /// An error with this code.
    Error(Code),
}
