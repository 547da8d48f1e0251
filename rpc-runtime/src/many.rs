//! One call to many servers: all have to succeed, one is enough, or every outcome counts.
//!
//! Each takes clients, for example those that [`Channel::each`](crate::Channel::each) gives, and what
//! to do with each of them; all do it at the same time. Dropping the future gives up all the calls.
//!
//! ```no_run
//! # #[rpc_macros::service(crate = rpc_runtime)]
//! # trait Cache { async fn forget(&self, key: String) -> Result<(), rpc_core::Status>; }
//! # async fn f(client: CacheClient) -> Result<(), rpc_core::Status> {
//! let all = client.channel().each().await?.into_iter().map(CacheClient::new);
//! rpc_runtime::many::broadcast(all, async |one: CacheClient| one.forget("ann".into()).await).await?;
//! # Ok(())
//! # }
//! ```

use std::future::Future;

use rpc_core::Status;
use tokio::task::{JoinError, JoinSet};

use crate::context::Context;

/// Calls all; gives the first reply once all have succeeded.
///
/// # Errors
/// The first error, at once: the calls that have not ended are given up. `Unavailable` if there is
/// nobody to call.
pub async fn broadcast<C, F, T, E>(
    clients: impl IntoIterator<Item = C>,
    call: impl Fn(C) -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    let mut calls = start(clients, call);
    let mut first = None;
    while let Some(ended) = calls.join_next().await {
        let reply = outcome(ended)?;
        first.get_or_insert(reply);
    }
    first.ok_or_else(|| nobody().into())
}

/// Calls all; gives the first reply, and gives the other calls up.
///
/// # Errors
/// The last error, if no call succeeds. `Unavailable` if there is nobody to call.
pub async fn fork<C, F, T, E>(
    clients: impl IntoIterator<Item = C>,
    call: impl Fn(C) -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    let mut calls = start(clients, call);
    let mut last = None;
    while let Some(ended) = calls.join_next().await {
        match outcome(ended) {
            Ok(reply) => return Ok(reply),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| nobody().into()))
}

/// Calls all, and gives every outcome, in the order of the clients.
pub async fn inform<C, F, T, E>(
    clients: impl IntoIterator<Item = C>,
    call: impl Fn(C) -> F,
) -> Vec<Result<T, E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let call = Context::current().scope(call(client));
        calls.spawn(async move { (index, call.await) });
    }
    let mut outcomes: Vec<_> = (0..calls.len()).map(|_| Err(lost().into())).collect();
    while let Some(ended) = calls.join_next().await {
        // One that panicked has the outcome that all begin with.
        if let Ok((index, outcome)) = ended {
            outcomes[index] = outcome;
        }
    }
    outcomes
}

fn start<C, F, T, E>(
    clients: impl IntoIterator<Item = C>,
    call: impl Fn(C) -> F,
) -> JoinSet<Result<T, E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let mut calls = JoinSet::new();
    for client in clients {
        calls.spawn(Context::current().scope(call(client)));
    }
    calls
}

fn outcome<T, E: From<Status>>(ended: Result<Result<T, E>, JoinError>) -> Result<T, E> {
    ended.unwrap_or_else(|_| Err(lost().into()))
}

fn nobody() -> Status {
    Status::unavailable("there is nobody to call").with_not_processed()
}

fn lost() -> Status {
    Status::internal("the call panicked, or the runtime is shutting down")
}
