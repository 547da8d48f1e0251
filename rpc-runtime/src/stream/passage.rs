//! How the items of a stream find their call while its message is encoded or decoded.
//!
//! A codec knows nothing of streams. So the call says on this thread that it is encoding, and the
//! stream that is serialized leaves its source here; and it puts what it received here while it is
//! decoding, and the stream that is deserialized takes it.

use std::cell::{Cell, RefCell};

use super::{Receiver, Source};

/// Whether a stream may be serialized now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// No call is encoding.
    Closed,
    /// A call is encoding.
    Open,
    /// A stream has left its source.
    Passed,
}

thread_local! {
    static GATE: Cell<Gate> = const { Cell::new(Gate::Closed) };
    static SOURCE: RefCell<Option<Box<dyn Source>>> = const { RefCell::new(None) };
    static RECEIVER: RefCell<Option<Receiver>> = const { RefCell::new(None) };
}

/// Encodes a message of a call, and gives the source of the stream in it, if there is one. `encode`
/// must not panic.
#[inline]
pub(crate) fn capturing<R>(encode: impl FnOnce() -> R) -> (R, Option<Box<dyn Source>>) {
    let outer = GATE.replace(Gate::Open);
    let result = encode();
    let source = match GATE.replace(outer) {
        Gate::Passed => left(),
        Gate::Open | Gate::Closed => None,
    };
    (result, source)
}

/// What the stream in a message has left.
#[cold]
fn left() -> Option<Box<dyn Source>> {
    SOURCE.take()
}

/// A stream is being serialized.
pub(super) fn leave(source: Box<dyn Source>) -> Result<(), &'static str> {
    match GATE.get() {
        Gate::Open => {
            SOURCE.set(Some(source));
            GATE.set(Gate::Passed);
            Ok(())
        }
        Gate::Passed => Err("a message has one stream at the most"),
        Gate::Closed => Err("a stream can only be an argument or the reply of a call"),
    }
}

/// Decodes a message of a call that came with items.
#[inline]
pub(crate) fn delivering<R>(receiver: Receiver, decode: impl FnOnce() -> R) -> R {
    let _delivery = Delivery::begin(receiver);
    decode()
}

/// Puts back what was delivered before, also if decoding panics: items must not get to the next
/// message that is decoded on this thread.
pub(crate) struct Delivery(Option<Receiver>);

impl Delivery {
    /// What is decoded until this is dropped came with these items.
    #[cold]
    pub(crate) fn begin(receiver: Receiver) -> Self {
        Self(RECEIVER.replace(Some(receiver)))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Items that nobody asked for are stopped by this.
        drop(RECEIVER.replace(self.0.take()));
    }
}

/// A stream is being deserialized.
pub(super) fn enter() -> Result<Receiver, &'static str> {
    let receiver = RECEIVER.take();
    receiver.ok_or("no items come with this message, or another stream in it has them")
}
