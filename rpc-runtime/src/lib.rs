//! How one process behaves: sockets, tasks, client, server, dispatch.
//!
//! The bytes and the rules of a connection are `rpc-core`'s; this crate gives them sockets, tasks
//! and a clock. `ARCHITECTURE.md` follows one request through it, file by file.

#![cfg_attr(
    not(feature = "fleet"),
    expect(
        dead_code,
        reason = "what only a fleet needs is in more places than are worth a word each"
    )
)]

#[doc(hidden)]
pub mod __private;

#[cfg(feature = "fleet")]
pub mod balance;
mod boxed;
mod client;
mod clock;
mod connect;
mod connection;
mod contain;
mod context;
#[cfg(feature = "fleet")]
pub mod discovery;
mod dispatch;
mod error;
mod invoke;
mod log;
pub mod many;
mod middleware;
#[cfg(feature = "fleet")]
pub mod registry;
pub mod resilience;
mod server;
mod stream;
pub mod transport;
#[cfg(feature = "fleet")]
mod watch;

pub use client::{
    CallOptions, Channel, ChannelBuilder, ChannelStats, ConnectionStats, EndpointStats,
};
#[cfg(feature = "fleet")]
pub use client::{ConnectionPool, IntoPolicy, Resilience};
pub use context::{Context, InCurrentContext, TraceParent, capture_metadata};
pub use dispatch::{InProcess, Incoming, Latency, MethodStats, Service};
pub use error::Error;
pub use invoke::{Invoke, Request, Response};
pub use middleware::{CallInfo, Interceptor};
pub use server::{Server, ServerBuilder, ServerLoad};
pub use stream::{Items, SendError, Sender, Streaming};
pub use transport::Peer;
