//! A write while the writer is out of the connection, and what becomes of both if user code panics.
//!
//! Why is it not left to whoever writes? That may be a caller or a handler of one call: the writer would
//! go down with it, and all others would wait until it is back. So a stream that panics has failed, as with
//! any other error, and the driver ends the connection for all.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rpc_core::wire::{Flat, Outgoing};
use tokio::io::AsyncWrite;

use super::Writer;
use crate::contain::{catch, into_text};
use crate::log;

/// Writes some `bytes`. A panic is an error, and leaves a writer that has failed. All that was to be written
/// counts as written then: nobody knows how much of it was, and no call in it may be sent again.
#[inline(always)]
pub(super) fn contained<B: Bytes>(
    writer: &mut Writer,
    bytes: &mut B,
    write: impl FnOnce(&mut Writer, &mut B) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    match catch_unwind(AssertUnwindSafe(|| write(writer, bytes))) {
        Ok(written) => written,
        Err(panic) => {
            give_up(writer, into_text(panic));
            bytes.skip();
            Poll::Ready(Err(panicked()))
        }
    }
}

#[cold]
fn give_up(writer: &mut Writer, panic: String) {
    log::error!(panic, "a stream panicked when it was written to");
    let given_up = std::mem::replace(writer, Box::new(Panicked));
    if let Err(panic) = catch(|| drop(given_up)) {
        log::error!(panic, "a stream panicked when it was dropped");
    }
}

/// A turn.
pub(super) trait Bytes {
    /// Leaves nothing to be written.
    fn skip(&mut self);
}

impl Bytes for Flat {
    #[cold]
    fn skip(&mut self) {
        self.advance(self.chunk().len());
    }
}

impl Bytes for Outgoing {
    #[cold]
    fn skip(&mut self) {
        while !self.chunk().is_empty() {
            self.advance(self.chunk().len());
        }
    }
}

/// Wakes whoever waits for what is about to be written.
#[cold]
pub(super) fn wake(waker: Waker) {
    if let Err(panic) = catch(|| waker.wake()) {
        log::error!(panic, "a waker panicked");
    }
}

/// What is left of a writer that panicked.
struct Panicked;

#[cold]
fn panicked() -> io::Error {
    io::Error::other("the stream panicked")
}

impl AsyncWrite for Panicked {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(panicked()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(panicked()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(panicked()))
    }
}
