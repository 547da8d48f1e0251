#![doc = include_str!("../README.md")]

#[cfg(feature = "codecs")]
#[doc(inline)]
pub use rpc_core::CustomCodec;
#[doc(inline)]
pub use rpc_core::connection::{Answered, KeepAlive, Refusal};
#[doc(inline)]
pub use rpc_core::wire::Verdict;
#[doc(inline)]
pub use rpc_core::{
    Code, Codec, CodecError, CodecId, Deadline, DecodeLimits, ErrorCode, Metadata, MetadataError,
    MethodDescriptor, MethodId, ServiceDescriptor, Status, StreamLimits, codec,
};
#[doc(inline)]
pub use rpc_macros::service;
#[doc(inline)]
pub use rpc_runtime::{
    CallInfo, CallOptions, Channel, ChannelBuilder, ChannelStats, ConnectionStats, Context,
    EndpointStats, Error, InCurrentContext, InProcess, Interceptor, Invoke, Items, Latency,
    MethodStats, Peer, Request, Response, SendError, Sender, Server, ServerBuilder, ServerLoad,
    Service, Streaming, TraceParent, capture_metadata, many, resilience, transport,
};
#[cfg(feature = "fleet")]
#[doc(inline)]
pub use rpc_runtime::{ConnectionPool, IntoPolicy, Resilience, balance, discovery, registry};

/// Encoded bodies, in [`Invoke`] and [`Channel::call_raw`].
pub use bytes::Bytes;

/// Lets a type implement [`Invoke`] and the transport traits. Feature `async-trait`.
#[cfg(feature = "async-trait")]
pub use async_trait::async_trait;

#[doc(hidden)]
pub use rpc_runtime::__private;

/// The result of a call: a reply, or the [`Status`] that says why there is none.
pub type Result<T, E = Status> = std::result::Result<T, E>;
