//! An embedded registry in another process, to enter oneself into.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rpc_core::{Code, Status};

use super::wire::{Instance, Lease};
use super::{Entry, Registrar, RegistrarClient, Registration, Registry};
use crate::error::Error;

/// How long a call to the registry may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a registry that is down for a while is made anew at the pace of whoever asks, not
/// at that of the channel, which grows slower than a registry that comes back should wait.
pub(super) struct Line {
    /// Where to; for a person.
    shown: String,
    connect: Box<Connect>,
    client: Mutex<Option<RegistrarClient>>,
}

type Connect = dyn Fn() -> Result<RegistrarClient, Error> + Send + Sync;

impl Line {
    /// A line to `registry://host:port`, or to any target.
    pub(super) fn new(target: &str) -> Result<Self, Error> {
        let target = match target.strip_prefix("registry://") {
            Some(place) => format!("tcp://{}", place.trim_end_matches('/')),
            None => target.to_owned(),
        };
        let client = RegistrarClient::connect_lazy(&target)?;
        Ok(Self {
            shown: target.clone(),
            connect: Box::new(move || RegistrarClient::connect_lazy(&target)),
            client: Mutex::new(Some(client)),
        })
    }

    /// A line over clients that somebody else makes.
    pub(super) fn over(connect: impl Fn() -> RegistrarClient + Send + Sync + 'static) -> Self {
        Self {
            shown: "a registry".to_owned(),
            connect: Box::new(move || Ok(connect())),
            client: Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> Result<RegistrarClient, Status> {
        if let Some(client) = &*self.current() {
            return Ok(client.clone());
        }
        let client = (self.connect)();
        let client = client.map_err(|error| Status::internal(error.to_string()))?;
        Ok(self.current().insert(client).clone())
    }

    /// Hangs up after a failure that another connection may not have.
    pub(super) fn judge<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        if let Err(status) = &answer
            && matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        {
            self.current().take();
        }
        answer
    }

    fn current(&self) -> MutexGuard<'_, Option<RegistrarClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An embedded registry in another process. A cheap handle.
#[derive(Clone)]
pub struct RemoteRegistry {
    line: Arc<Line>,
    authorization: Option<Arc<str>>,
}

impl RemoteRegistry {
    /// The registry at `registry://host:port`, or at any target. It is connected to when it is first
    /// used, and again whenever that is needed.
    ///
    /// # Errors
    /// The target is malformed.
    pub fn new(target: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self {
            line: Arc::new(Line::new(target.as_ref())?),
            authorization: None,
        })
    }

    /// A registry that is called by clients of the user's own making, one after the other: over
    /// another transport, or with settings of its own. Asked for one when the registry is first
    /// used, and again when the last one did not reach it.
    pub fn over(connect: impl Fn() -> RegistrarClient + Send + Sync + 'static) -> Self {
        Self {
            line: Arc::new(Line::over(connect)),
            authorization: None,
        }
    }

    /// Says who writes.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}").into());
        self
    }

    fn client(&self) -> Result<RegistrarClient, Status> {
        let client = self.line.client()?.with_timeout(CALL_TIMEOUT);
        let Some(authorization) = &self.authorization else {
            return Ok(client);
        };
        let client = client.with_metadata("authorization", authorization);
        client.map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[async_trait]
impl Registry for RemoteRegistry {
    async fn register(&self, entry: &Entry) -> Result<Box<dyn Registration>, Status> {
        let endpoint = &entry.endpoint;
        let instance = Instance::new(endpoint.address(), endpoint.attributes().clone());
        let client = self.client()?;
        let answer = client.register(entry.name.clone(), instance, entry.ttl);
        let lease = self.line.judge(answer.await)?;
        Ok(Box::new(Leased {
            registry: self.clone(),
            lease,
        }))
    }
}

struct Leased {
    registry: RemoteRegistry,
    lease: Lease,
}

#[async_trait]
impl Registration for Leased {
    async fn renew(&mut self) -> Result<(), Status> {
        let answer = self.registry.client()?.renew(self.lease).await;
        self.registry.line.judge(answer)
    }

    async fn deregister(&mut self) -> Result<(), Status> {
        let answer = self.registry.client()?.deregister(self.lease).await;
        self.registry.line.judge(answer)
    }
}

impl fmt::Debug for RemoteRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRegistry")
            .field("line", &self.line)
            .field("has_token", &self.authorization.is_some())
            .finish()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
