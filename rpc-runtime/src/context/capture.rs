//! Response metadata, for the caller that wants it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;

use rpc_core::Metadata;

thread_local! {
    /// Where the metadata of responses goes while a capturing future is polled on this thread.
    static CAPTURED: RefCell<Option<Metadata>> = const { RefCell::new(None) };
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
        let outer = CAPTURED.replace(Some(std::mem::take(&mut captured)));
        let polled = future.as_mut().poll(cx);
        captured = CAPTURED.replace(outer).unwrap_or_default();
        polled.map(|output| (output, std::mem::take(&mut captured)))
    })
    .await
}

/// Hands over the metadata of a response.
#[inline]
pub(crate) fn capture(metadata: &Metadata) {
    CAPTURED.with_borrow_mut(|captured| {
        if let Some(captured) = captured {
            captured.clone_from(metadata);
        }
    });
}
