//! A directory in the memory of a server.
//!
//! What if it is restarted? It knows nobody then, and everybody comes back: servers within a third of
//! their time, because renewing fails. Until all have had the time to, it says so with each answer,
//! and clients add what it lists to what they knew.

mod watching;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rpc_core::Status;

use super::entry::check_name;
use super::policy::{Policy, RegistryBuilder};
use super::table::Table;
use super::wire::{Changes, Instance, Lease, Mark};
use super::{Entry, Registrar, RegistrarServer, Registration, Registry};
use crate::clock;
use crate::context::Context;
use crate::stream::Streaming;
use crate::watch;
use watching::Watching;

/// The owner of what this process enters without calling.
const THIS_PROCESS: &str = "this process";

/// A directory that runs inside any server, or alone. A cheap handle.
///
/// Everybody may read it; who may write what is said when it is [built](Self::builder). Its entries
/// are in memory only: it is meant for one machine, a test, or a fleet whose clients may live on
/// their last list for the seconds it takes to start it again.
#[derive(Clone)]
pub struct EmbeddedRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Policy,
    table: Mutex<Table>,
    /// Sent to whenever something has changed.
    news: watch::Sender<()>,
}

impl EmbeddedRegistry {
    /// A registry to be set up. As it is, nobody may write.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    pub(super) fn new(builder: RegistryBuilder) -> Self {
        let settling = builder.policy.settling();
        let epoch = fastrand::u64(1..);
        let table = Table::new(clock::now(), epoch, settling, builder.entries_max);
        let shared = Shared {
            policy: builder.policy,
            table: Mutex::new(table),
            news: watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The registry as a service, for [`ServerBuilder::add_service`](crate::ServerBuilder).
    #[must_use]
    pub fn service(&self) -> RegistrarServer<Self> {
        RegistrarServer::new(self.clone())
    }

    /// Enters what may be entered, for who may.
    fn enter(
        &self,
        owner: &str,
        name: &str,
        instance: Instance,
        ttl: Option<Duration>,
    ) -> Result<Lease, Status> {
        self.change(|table, now| table.register(now, owner, name, instance, ttl))
    }

    /// Does something with the entries, and tells who waits if they changed.
    fn change<R>(&self, work: impl FnOnce(&mut Table, Instant) -> R) -> R {
        let table = self.shared.table.lock();
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        // Asked for under the lock: the table never sees the time go back.
        let now = clock::now();
        let before = table.revision();
        let result = work(&mut table, now);
        let changed = table.revision() != before;
        drop(table);
        if changed {
            self.shared.news.send_replace(());
        }
        result
    }

    fn writer(&self) -> Result<Arc<str>, Status> {
        let context = Context::current();
        let authorization = context.metadata().get("authorization");
        self.shared.policy.writer(authorization)
    }
}

impl Registrar for EmbeddedRegistry {
    async fn register(
        &self,
        name: String,
        instance: Instance,
        ttl: Duration,
    ) -> Result<Lease, Status> {
        let owner = self.writer()?;
        let ttl = self.shared.policy.check_ttl(ttl)?;
        let context = Context::current();
        let source = context.peer().and_then(|peer| peer.address());
        let source = source.map(|address| address.ip());
        let instance = self.shared.policy.check_entry(&name, instance, source)?;
        self.enter(&owner, &name, instance, ttl)
    }

    async fn renew(&self, lease: Lease) -> Result<(), Status> {
        let owner = self.writer()?;
        self.change(|table, now| table.renew(now, &owner, lease))
    }

    async fn deregister(&self, lease: Lease) -> Result<(), Status> {
        let owner = self.writer()?;
        self.change(|table, now| table.deregister(now, &owner, lease))
    }

    async fn list(&self, name: String, after: String) -> Result<Vec<Instance>, Status> {
        Ok(self.change(|table, now| {
            table.expire(now);
            table.list(&name, &after)
        }))
    }

    async fn watch(&self, name: String, since: Mark) -> Result<Streaming<Changes>, Status> {
        check_name(&name).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Streaming::new(Watching::new(self.clone(), name, since)))
    }
}

/// From within the process, without a token: whoever holds the registry may write.
#[async_trait]
impl Registry for EmbeddedRegistry {
    async fn register(&self, entry: &Entry) -> Result<Box<dyn Registration>, Status> {
        let endpoint = &entry.endpoint;
        let instance = Instance::new(endpoint.address(), endpoint.attributes().clone());
        let policy = &self.shared.policy;
        let instance = policy.check_entry(&entry.name, instance, None)?;
        let ttl = policy.check_ttl(entry.ttl)?;
        let lease = self.enter(THIS_PROCESS, &entry.name, instance, ttl)?;
        Ok(Box::new(Entered {
            registry: self.clone(),
            lease,
        }))
    }
}

struct Entered {
    registry: EmbeddedRegistry,
    lease: Lease,
}

#[async_trait]
impl Registration for Entered {
    async fn renew(&mut self) -> Result<(), Status> {
        let lease = self.lease;
        let renew = |table: &mut Table, now| table.renew(now, THIS_PROCESS, lease);
        self.registry.change(renew)
    }

    async fn deregister(&mut self) -> Result<(), Status> {
        let lease = self.lease;
        let remove = |table: &mut Table, now| table.deregister(now, THIS_PROCESS, lease);
        self.registry.change(remove)
    }
}

impl fmt::Debug for EmbeddedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedRegistry")
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}
