//! What two processes that speak `rpc` agree on.
//!
//! Everything here is sans-io: bytes and the current time come in as arguments, bytes and events go
//! out. There is no socket, no task, no clock and no randomness in this crate or in its tree.

pub mod codec;
pub mod connection;
mod deadline;
pub mod hint;
mod limits;
mod metadata;
mod method;
pub mod spare;
mod status;
pub mod wire;

#[cfg(feature = "codecs")]
pub use codec::CustomCodec;
pub use codec::{Codec, CodecError, CodecId, DecodeLimits};
pub(crate) use deadline::Packer;
pub use deadline::{Deadline, WireTimeout};
pub use limits::{
    CALLS_PER_CONNECTION_MAX, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, MESSAGE_BYTES_MAX,
    OVERHEAD_BYTES_MAX, STREAMS_PER_CONNECTION_MAX, StreamLimits,
};
pub use metadata::{Metadata, MetadataError};
pub use method::{MethodDescriptor, MethodId, ServiceDescriptor, split_path};
pub use status::{Code, ErrorCode, Status};
