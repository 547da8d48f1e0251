//! Servers that enter themselves into etcd.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rpc_core::Status;

use super::cluster::Cluster;
use super::http::Failure;
use super::prefix_of;
use crate::discovery::Name;
use crate::error::{Error, Kind};
use crate::registry::entry::check_name;
use crate::registry::wire::Instance;
use crate::registry::{Entry, Registration, Registry};

/// A cluster of etcd, to enter oneself into. A cheap handle.
///
/// One lease for each entry, renewed while the server runs. Any member will do: if one does not
/// answer, the next is asked.
#[derive(Clone)]
pub struct EtcdRegistry {
    cluster: Arc<Cluster>,
    folder: Arc<str>,
}

impl EtcdRegistry {
    /// The cluster at `etcd://host:2379,host:2379/prefix`: keys are `prefix/name/address`. The ports
    /// and the prefix may be missing.
    ///
    /// # Errors
    /// The target is malformed.
    pub fn new(target: impl AsRef<str>) -> Result<Self, Error> {
        let name: Name = target.as_ref().parse()?;
        let invalid = |cause: &dyn fmt::Display| {
            Error::new(Kind::Target, format!("invalid target {name}: {cause}"))
        };
        if name.scheme() != "etcd" {
            return Err(invalid(&"the scheme is not etcd"));
        }
        if !name.path().is_empty() {
            check_name(name.path()).map_err(|error| invalid(&error))?;
        }
        let cluster = Cluster::new(&name).map_err(|error| invalid(&error))?;
        Ok(Self {
            cluster: Arc::new(cluster),
            folder: name.path().into(),
        })
    }
}

#[async_trait]
impl Registry for EtcdRegistry {
    async fn register(&self, entry: &Entry) -> Result<Box<dyn Registration>, Status> {
        let endpoint = &entry.endpoint;
        let prefix = prefix_of(&self.folder, &entry.name);
        let key = prefix + endpoint.address();
        let instance = Instance::new(endpoint.address(), endpoint.attributes().clone());
        let value = serde_json::to_vec(&instance);
        let value = value.map_err(|error| Status::internal(error.to_string()))?;
        let lease = self.cluster.grant(entry.ttl).await?;
        self.cluster.put(&key, &value, lease).await?;
        Ok(Box::new(Leased {
            cluster: self.cluster.clone(),
            key,
            value,
            lease,
        }))
    }
}

struct Leased {
    cluster: Arc<Cluster>,
    key: String,
    value: Vec<u8>,
    lease: i64,
}

#[async_trait]
impl Registration for Leased {
    async fn renew(&mut self) -> Result<(), Status> {
        self.cluster.keep_alive(self.lease).await?;
        // Somebody may have deleted it. One that is there may be that of a successor.
        let put = self
            .cluster
            .put_if_absent(&self.key, &self.value, self.lease);
        Ok(put.await?)
    }

    async fn deregister(&mut self) -> Result<(), Status> {
        Ok(self.cluster.revoke(self.lease).await?)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Member(_) => Self::unavailable(text),
            Failure::NotFound => Self::not_found(text),
            Failure::Final(_) => Self::failed_precondition(text),
        }
    }
}

impl fmt::Debug for EtcdRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdRegistry")
            .field("cluster", &self.cluster)
            .field("folder", &self.folder)
            .finish()
    }
}
