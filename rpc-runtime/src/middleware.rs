//! Code of the user's own around every call, on either side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rpc_core::connection::Answered;
use rpc_core::{Deadline, Metadata, Status};

use crate::clock;
use crate::contain::{catch, contain};
use crate::log;
use crate::transport::Peer;

/// Sees every call before it is made or handled, and its outcome afterwards.
///
/// On a server it runs before the arguments are decoded, so a refused body costs nothing; on a
/// client, before they are encoded. Interceptors run in the order in which they were added and see
/// outcomes in the opposite order. A panic in one ends its call with `Internal`.
#[async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// Lets the call through, or refuses it. Changes of the metadata are what a client sends and
    /// what a handler finds in its [`Context`](crate::Context).
    ///
    /// # Errors
    /// What the caller gets instead of an answer.
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// Notes how the call ended and how long it took. Not called for a call that is given up.
    fn after(&self, call: &CallInfo, answered: Answered, elapsed: Duration) {
        let _ = (call, answered, elapsed);
    }
}

/// Which call an interceptor sees.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallInfo {
    /// The wire name of the service.
    pub service: String,
    /// The wire name of the method.
    pub method: String,
    /// Metadata of the request.
    pub metadata: Metadata,
    /// Who calls, on a server; `None` on a client and within a process.
    pub peer: Option<Peer>,
    /// When the caller stops waiting.
    pub deadline: Option<Deadline>,
}

/// The interceptors of one side at work on one call.
pub(crate) struct Chain<'a> {
    interceptors: &'a [Arc<dyn Interceptor>],
    /// How many have been asked: those see the outcome.
    asked: usize,
    started: Instant,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(interceptors: &'a [Arc<dyn Interceptor>]) -> Self {
        Self {
            interceptors,
            asked: 0,
            started: clock::now(),
        }
    }

    /// Asks one after the other until one refuses.
    pub(crate) async fn before(&mut self, call: &mut CallInfo) -> Result<(), Status> {
        for interceptor in self.interceptors {
            self.asked += 1;
            let contained = contain(interceptor.before(call)).await;
            contained.unwrap_or_else(|panic| {
                log::error!(service = ?call.service, method = ?call.method, panic, "interceptor panicked");
                Err(Status::internal("an interceptor panicked"))
            })?;
        }
        Ok(())
    }

    /// Tells those who were asked, the last first.
    pub(crate) fn after(&self, call: &CallInfo, answered: Answered) {
        let elapsed = clock::now().saturating_duration_since(self.started);
        for interceptor in self.interceptors[..self.asked].iter().rev() {
            if let Err(panic) = catch(|| interceptor.after(call, answered, elapsed)) {
                log::error!(service = ?call.service, method = ?call.method, panic, "interceptor panicked");
            }
        }
    }
}
