//! Panics of the user's code, turned into values.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::log;

pin_project! {
    /// A future whose panics go no further.
    struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            if let Err(panic) = catch(|| future.set(None)) {
                log::error!(panic, "what was given up panicked when it was dropped");
            }
        }
    }
}

/// Runs a future; a panic in it is an error that carries the text of the panic. One that is given up may
/// panic as well, and then whoever did so goes on.
pub(crate) fn contain<F: Future>(future: F) -> impl Future<Output = Result<F::Output, String>> {
    Contained {
        future: Some(future),
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, String>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let polled = catch(|| match future.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx),
            None => Poll::Pending,
        });
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    struct Fragile;

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("it breaks");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_what_panics_goes_on() {
        let hangs = contain(async {
            let _fragile = Fragile;
            pending::<()>().await;
        });
        assert!(timeout(Duration::from_secs(1), hangs).await.is_err());
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panics = contain(async {
            let _fragile = Fragile;
        });
        assert_eq!(panics.await, Err("it breaks".to_owned()));
        assert_eq!(contain(async { 1 }).await, Ok(1));
    }
}
