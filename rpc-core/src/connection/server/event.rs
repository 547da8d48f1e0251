//! What a server learns from the bytes it is fed, and what it has answered.

use std::time::Duration;

use bytes::Bytes;

use crate::connection::CallId;
use crate::wire::Body;
use crate::{Code, Metadata, MethodId, Status};

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
    /// The encoded arguments; nothing yet if they follow.
    pub body: Body<'a>,
    /// The arguments follow as [`ServerEvent::Body`]. The call has to be parked for that.
    pub more: bool,
    /// Items of a stream follow as [`ServerEvent::Items`], if the call is parked then.
    pub items: bool,
}

/// What came of the bytes that were fed in; `T` is what the caller keeps for each parked call.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a, T> {
    /// The hello was accepted; bodies are in the codec with this id.
    Opened {
        /// The codec of the connection.
        codec: u8,
    },
    /// A call to run.
    Request(ServerRequest<'a>),
    /// The arguments of a parked call.
    Body(CallId, Bytes),
    /// Items of the stream behind the request of a parked call, each behind its length.
    Items(CallId, Body<'a>),
    /// The stream behind the request of a parked call has ended, well or not.
    ItemsEnded(CallId, Result<(), Status>),
    /// The client has taken items of the stream behind a reply: more can be sent.
    Credited(CallId),
    /// A parked call was cancelled and is answered; its handler should stop.
    Cancelled(T),
}

/// What was sent as the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// The reply.
    Reply,
    /// The reply, and the call goes on: items of a stream follow.
    Items,
    /// An error with this code.
    Error(Code),
}
