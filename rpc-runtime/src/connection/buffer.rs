//! The read buffer of a worker thread.
//!
//! All connections that a thread drives read into the same memory, one after the other, so that an
//! idle connection holds none.

use std::cell::Cell;

use rpc_core::hint::cold_path;

/// How much one read takes at the most: a dozen bodies of some KiB together, and no more than what a peer
/// on another core can be at work on meanwhile. Connections that have less to read touch no more of it.
pub(super) const READ_BYTES: usize = 96 * 1024;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Runs `f` with the buffer; a nested call gets memory of its own.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take().unwrap_or_else(allocate);
    let result = f(&mut buffer);
    if let Some(nested) = BUFFER.replace(Some(buffer)) {
        cold_path();
        drop(nested);
    }
    result
}

#[cold]
fn allocate() -> Box<[u8]> {
    vec![0; READ_BYTES].into_boxed_slice()
}
