//! The read buffers of a worker thread.
//!
//! All connections that a thread drives read into the same memory, one after the other, so that an
//! idle connection holds none. There are two of them. What fills the small one is worth reading into
//! the large one, of which those who keep much of it keep parts instead of copies.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// How much one read takes at the most.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// How much a read takes of which parts may be kept.
const LARGE_READ_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static LARGE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Runs `f` with the buffer; a nested call gets memory of its own.
pub(super) fn with<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let taken = BUFFER.take();
    let mut buffer = taken.unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice());
    let result = f(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

/// An empty large buffer.
pub(super) fn take_large() -> BytesMut {
    LARGE
        .take()
        .unwrap_or_else(|| BytesMut::with_capacity(LARGE_READ_BYTES))
}

/// Gives a large buffer back that was not used.
pub(super) fn put_back(buffer: BytesMut) {
    LARGE.set(Some(buffer));
}

/// Gives back what was read, unless a part of it was kept.
pub(super) fn recycle(input: Bytes) {
    if let Ok(mut buffer) = input.try_into_mut()
        && buffer.capacity() >= LARGE_READ_BYTES
    {
        buffer.clear();
        LARGE.set(Some(buffer));
    }
}
