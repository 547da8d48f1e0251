#![doc = include_str!("../README.md")]

#[doc(inline)]
pub use rpc_core::connection::{Answered, KeepAlive, Refusal};
#[doc(inline)]
pub use rpc_core::wire::Verdict;
#[doc(inline)]
pub use rpc_core::{
    Code, Codec, CodecError, CodecId, CustomCodec, Deadline, DecodeLimits, ErrorCode, Metadata,
    MetadataError, MethodDescriptor, MethodId, ServiceDescriptor, Status, StreamLimits, codec,
};
#[doc(inline)]
pub use rpc_macros::service;
#[doc(inline)]
pub use rpc_runtime::{
    CallInfo, CallOptions, Channel, ChannelBuilder, ChannelStats, ConnectionPool, ConnectionStats,
    Context, EndpointStats, Error, InCurrentContext, InProcess, Interceptor, IntoPolicy, Invoke,
    Items, Latency, MethodStats, Peer, Request, Resilience, Response, SendError, Sender, Server,
    ServerBuilder, ServerLoad, Service, Streaming, TraceParent, balance, capture_metadata,
    discovery, many, registry, resilience, transport,
};

/// Encoded bodies, in [`Invoke`] and [`Channel::call_raw`].
pub use bytes::Bytes;

/// Lets a type implement [`Interceptor`], [`Invoke`] and the transport traits.
pub use async_trait::async_trait;

#[doc(hidden)]
pub use rpc_runtime::__private;

/// The result of a call: a reply, or the [`Status`] that says why there is none.
pub type Result<T, E = Status> = std::result::Result<T, E>;
