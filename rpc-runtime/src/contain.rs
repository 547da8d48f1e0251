//! Panics of the user's code, turned into values.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future; a panic in it is an error that carries the text of the panic.
pub(crate) async fn contain<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Runs a function; a panic in it is an error that carries the text of the panic.
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(into_text)
}

/// What a panic says. Its value is of the user's as well, and may panic again when it is dropped.
#[cold]
pub(crate) fn into_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic_text(&*panic).to_owned();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // It could go on like this for ever.
        std::mem::forget(again);
    }
    text
}

/// What a panic says.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
    text.unwrap_or("a value that is not text")
}
