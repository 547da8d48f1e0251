//! The service that an embedded registry is, written as any other.

use std::time::Duration;

use rpc_core::Status;

use super::wire::{Changes, Instance, Lease, Mark};
use crate::stream::Streaming;

/// The embedded registry, as its clients see it.
///
/// [`RemoteRegistry`](super::RemoteRegistry) and [`RegistryResolver`](super::RegistryResolver) are
/// the comfortable way to it; this is for tools. Whoever writes says who it is in the metadata:
/// `authorization: Bearer <token>`.
#[rpc_macros::service(name = "rpc.Registrar", crate = crate)]
pub trait Registrar {
    /// Enters a server under a name until `ttl` is over; in place of an entry of the same name and
    /// address by the same caller. Fails with `InvalidArgument` if the entry makes no sense,
    /// `PermissionDenied` if the caller may not make it, `ResourceExhausted` if there are too many.
    #[rpc(idempotent)]
    async fn register(
        &self,
        name: String,
        instance: Instance,
        ttl: Duration,
    ) -> Result<Lease, Status>;

    /// Starts the time of an entry anew. Fails with `NotFound` if there is none.
    #[rpc(idempotent)]
    async fn renew(&self, lease: Lease) -> Result<(), Status>;

    /// Takes an entry out. Fails with `NotFound` if there is none.
    #[rpc(idempotent)]
    async fn deregister(&self, lease: Lease) -> Result<(), Status>;

    /// The servers under a name, sorted by address: up to 1,024 of those whose address comes after
    /// `after`.
    #[rpc(idempotent)]
    async fn list(&self, name: String, after: String) -> Result<Vec<Instance>, Status>;

    /// What happens to a name from a mark on. The first answer comes at once, also if nothing has
    /// happened, then one for each change, at least one in 5 s; a listener who is slow is told less
    /// often, and always the newest. The stream ends when the server of the registry shuts down: who
    /// goes on from the last mark misses nothing.
    #[rpc(idempotent)]
    async fn watch(&self, name: String, since: Mark) -> Result<Streaming<Changes>, Status>;
}
