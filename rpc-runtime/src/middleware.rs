//! Code of the user's own around every call, on either side.

mod call_info;
mod inquiry;
mod names;

pub use call_info::CallInfo;
pub(crate) use call_info::Kept;
pub(crate) use inquiry::{Inquiry, Interceptors};
pub(crate) use names::Names;

use std::future::{Future, ready};

use rpc_core::Status;
use rpc_core::connection::Answered;

/// Sees every call before it is made or handled, and its outcome afterwards.
///
/// On a server it runs before the arguments are decoded, so a refused body costs nothing; on a
/// client, before they are encoded. Interceptors run in the order in which they were added and see
/// outcomes in the opposite order. A panic in `before` ends its call with `Internal`, one in `after` is
/// logged. As it has an `async fn`, there is no `dyn Interceptor`: code that is chosen at run time
/// belongs behind one, as a field.
pub trait Interceptor: Send + Sync + 'static {
    /// Lets the call through, or refuses it. Changes of the metadata are what a client sends and
    /// what a handler finds in its [`Context`](crate::Context).
    ///
    /// One that waits holds up its own call and no other, until the deadline of that. Dropped when
    /// the call is given up meanwhile.
    ///
    /// # Errors
    /// What the caller gets instead of an answer.
    fn before(&self, call: &mut CallInfo) -> impl Future<Output = Result<(), Status>> + Send {
        let _ = call;
        ready(Ok(()))
    }

    /// Notes how the call ended; [`CallInfo::elapsed`] says how long it took. Not called for a call
    /// that is given up: on a client by its caller, on a server also by its deadline.
    fn after(&self, call: &CallInfo, answered: Answered) {
        let _ = (call, answered);
    }
}
