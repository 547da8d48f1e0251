//! Response metadata, for the caller that wants it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;

use rpc_core::Metadata;

thread_local! {
    /// Where the metadata of responses goes while a capturing future is polled on this thread.
    static CAPTURED: RefCell<Option<Metadata>> = const { RefCell::new(None) };
    /// There is a place; by itself, because it is asked with each call.
    static CAPTURES: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call and gives its output together with the metadata of its response.
///
/// Works for any future: with several calls in it, the metadata of the last response stays.
///
/// ```
/// # use rpc_runtime as rpc;
/// # async fn example(hello: impl std::future::Future<Output = ()>) {
/// // let hello = client.hello("Ann".into());
/// let (reply, metadata) = rpc::capture_metadata(hello).await;
/// # }
/// ```
pub async fn capture_metadata<F: Future>(future: F) -> (F::Output, Metadata) {
    let mut future = pin!(future);
    let mut captured = Metadata::new();
    std::future::poll_fn(move |cx| {
        let capturing = Capturing::begin(&mut captured);
        let polled = future.as_mut().poll(cx);
        drop(capturing);
        polled.map(|output| (output, std::mem::take(&mut captured)))
    })
    .await
}

/// Ends the capture on this thread when dropped, also by a panic.
struct Capturing<'a> {
    captured: &'a mut Metadata,
    outer: Option<Metadata>,
}

impl<'a> Capturing<'a> {
    fn begin(captured: &'a mut Metadata) -> Self {
        let outer = CAPTURED.replace(Some(std::mem::take(captured)));
        CAPTURES.set(true);
        Self { captured, outer }
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        CAPTURES.set(self.outer.is_some());
        *self.captured = CAPTURED.replace(self.outer.take()).unwrap_or_default();
    }
}

/// Hands over the metadata of a response.
#[inline]
pub(crate) fn capture(metadata: &Metadata) {
    if CAPTURES.get() {
        capture_here(metadata);
    }
}

#[cold]
fn capture_here(metadata: &Metadata) {
    CAPTURED.with_borrow_mut(|captured| {
        if let Some(captured) = captured {
            captured.clone_from(metadata);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::contain::catch;

    #[test]
    fn a_panic_ends_the_capture() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut inner = pin!(capture_metadata(async { panic!("within") }));
        let mut outer = pin!(capture_metadata(std::future::poll_fn(|cx| {
            catch(|| inner.as_mut().poll(cx)).unwrap_err();
            let mut metadata = Metadata::new();
            metadata.append("key", "outer").unwrap();
            capture(&metadata);
            std::task::Poll::Ready(())
        })));
        let std::task::Poll::Ready(((), captured)) = outer.as_mut().poll(&mut cx) else {
            panic!("it does not wait");
        };
        assert_eq!(captured.get("key"), Some("outer"));
        assert!(CAPTURED.take().is_none(), "nobody captures any more");
    }
}
