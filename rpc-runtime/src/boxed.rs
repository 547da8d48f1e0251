//! Futures whose code is made here.
//!
//! Why not leave that to `async fn`? Its code is made in the crate that awaits it: in each program that
//! uses this one, and again whenever that is built. Behind a pointer it is made once, with this crate.
//! That takes an allocation, so it is for what is not done with each call.

use std::future::Future;
use std::pin::Pin;

/// A future behind a pointer.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Puts a future behind a pointer. So all tasks are of one type, and what Tokio does with a task is
/// compiled for one.
pub(crate) fn boxed<'a, F: Future + Send + 'a>(future: F) -> Boxed<'a, F::Output> {
    Box::pin(future)
}
