//! An RPC framework: one annotated trait is the client, the server and the contract between them.

pub use rpc_core::{Code, ErrorCode, Metadata, MetadataError, Status};
pub use rpc_macros::service;
pub use rpc_runtime::{CallOptions, Channel, Error};

#[doc(hidden)]
pub use rpc_runtime::__private;

/// The result of a call: a reply, or the [`Status`] that says why there is none.
pub type Result<T, E = Status> = std::result::Result<T, E>;
