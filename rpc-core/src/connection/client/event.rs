//! What a client learns from the bytes it is fed.

use crate::connection::CallId;
use crate::wire::Body;
use crate::{Metadata, Status};

/// The reply of a handler.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply<'a> {
    /// Metadata of the response.
    pub metadata: Metadata,
    /// The encoded reply.
    pub body: Body<'a>,
    /// Items of a stream follow; the call is open until their end.
    pub items: bool,
}

/// What came of the bytes that were fed in.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The server accepted; [`peer`](super::ClientConnection::peer) tells what it said.
    Opened,
    /// A call succeeded. Its data stays until [`release`](super::ClientConnection::release).
    Replied(CallId, Reply<'a>),
    /// Items of the stream behind a reply, each behind its length.
    Items(CallId, Body<'a>),
    /// The stream behind a reply has ended well. The data of the call stays until
    /// [`release`](super::ClientConnection::release).
    Ended(CallId),
    /// The server has taken items of the stream behind a request: more can be sent.
    Credited(CallId),
    /// The server wants no more items of the stream behind a request.
    Stopped(CallId),
    /// A call failed. Its data stays until [`release`](super::ClientConnection::release).
    Failed {
        /// Which call.
        call: CallId,
        /// Why.
        status: Status,
        /// The server knows no method with that id.
        unknown_method: bool,
    },
    /// The server takes no calls above this id; the open ones above it are to be failed with
    /// [`close_above`](super::ClientConnection::close_above).
    GoAway {
        /// The last id it accepted; `u64::MAX` while it takes what is on its way.
        last: u64,
        /// Why, in words.
        reason: String,
    },
}
