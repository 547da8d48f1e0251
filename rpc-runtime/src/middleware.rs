//! Code of the user's own around every call.

use std::time::Duration;

use async_trait::async_trait;
use rpc_core::connection::Answered;
use rpc_core::{MethodDescriptor, Status};

/// Sees every call of a server before its arguments are decoded, and its outcome afterwards.
///
/// [`Context::current`](crate::Context::current) gives peer, metadata and deadline. Interceptors
/// run in the order in which they were added, and see outcomes in the opposite order.
#[async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// Lets the call through, or refuses it.
    ///
    /// # Errors
    /// What the caller gets instead of an answer; neither decoder nor handler run.
    async fn before(&self, call: &CallInfo) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// Notes how the call ended and how long it took. Not called for a call that was cancelled.
    fn after(&self, call: &CallInfo, answered: Answered, elapsed: Duration) {
        let _ = (call, answered, elapsed);
    }
}

/// Which call an interceptor sees.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallInfo {
    /// The name the service is registered under.
    pub service: String,
    /// The method as its trait declares it.
    pub method: &'static MethodDescriptor,
}

impl CallInfo {
    pub(crate) const fn new(service: String, method: &'static MethodDescriptor) -> Self {
        Self { service, method }
    }
}
