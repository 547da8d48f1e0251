//! Who serves here: entering a server into a directory, and a directory to enter it into.
//!
//! What keeps an entry true? Time: it stands for as long as it is renewed. A server renews while it
//! runs and takes itself out before it drains; one that dies is forgotten when its time is over. A
//! directory may fail for as long as it likes: servers enter themselves again, clients keep their
//! last list ([`discovery`](crate::discovery)).

mod burst;
mod contract;
mod embedded;
mod entry;
#[cfg(feature = "etcd")]
mod etcd;
mod keeper;
mod known;
mod policy;
mod remote;
mod resolver;
mod table;
mod wire;

pub use contract::{Registrar, RegistrarClient, RegistrarServer};
pub use embedded::EmbeddedRegistry;
pub use entry::Entry;
pub(crate) use entry::check_name;
#[cfg(feature = "etcd")]
pub use etcd::{EtcdRegistry, EtcdResolver};
pub(crate) use keeper::Keeper;
pub use policy::RegistryBuilder;
pub use remote::RemoteRegistry;
pub use resolver::RegistryResolver;
pub use wire::{Changes, Instance, Lease, Mark};

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rpc_core::Status;

use crate::discovery::Resolvers;

/// Every scheme that comes with this crate: those of [`Resolvers::default`], `registry://`, and with
/// the feature `etcd` also `etcd://`.
#[must_use]
pub fn resolvers() -> Resolvers {
    let all = Resolvers::default().with("registry", RegistryResolver::default());
    #[cfg(feature = "etcd")]
    let all = all.and_then(|all| all.with("etcd", EtcdResolver::default()));
    all.expect("these schemes are written correctly")
}

/// A directory that servers enter themselves into. Implement it for one of your own.
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Enters an endpoint until its time is over; in place of an entry of the same name and address
    /// that this server has made before. Dropping the future may leave the entry behind, to be
    /// forgotten when its time is over.
    ///
    /// # Errors
    /// The directory cannot be reached, or refuses the entry. It is tried again after a pause.
    async fn register(&self, entry: &Entry) -> Result<Box<dyn Registration>, Status>;
}

/// One that is shared, or chosen while the program runs.
#[async_trait]
impl<R: Registry + ?Sized> Registry for Arc<R> {
    async fn register(&self, entry: &Entry) -> Result<Box<dyn Registration>, Status> {
        (**self).register(entry).await
    }
}

/// An entry in a directory. Dropping it lets the entry run out.
#[async_trait]
pub trait Registration: Send + 'static {
    /// Starts the time of the entry anew.
    ///
    /// # Errors
    /// `NotFound` if the entry is gone: it is made again at once. After any other it is renewed
    /// again after a pause.
    async fn renew(&mut self) -> Result<(), Status>;

    /// Takes the entry out.
    ///
    /// # Errors
    /// The directory cannot be reached; the entry runs out by itself.
    async fn deregister(&mut self) -> Result<(), Status>;
}
