//! How one process behaves: sockets, tasks, client, server, dispatch.

#[doc(hidden)]
pub mod __private;
mod channel_stub;

pub use channel_stub::{CallOptions, Channel, Error};
