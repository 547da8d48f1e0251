//! What the fuzz targets do with their input; `rpc-core/tests/corpus.rs` includes this file as well.

#![forbid(unsafe_code)]

mod client;
mod decoder;
mod script;
mod server;
mod values;

pub use client::client;
pub use decoder::decoder;
pub use server::server;
pub use values::{bincode, json};
