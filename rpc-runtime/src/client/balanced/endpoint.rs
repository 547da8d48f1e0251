//! One place of a list, and the connections to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::super::dialer::Dialer;
use super::super::glance::Hearing;
use super::super::pool::{ConnectionPool, Listener, Pool};
use crate::balance::Backend;
use crate::resilience::Health;
use crate::watch;

/// A gate that the pool of the endpoint opens, and nobody else.
const UNTIL_CONNECTED: Duration = Duration::MAX;

/// One place of a list, and the connections to it.
pub(in crate::client) struct Endpoint {
    /// What is known about the place, when it was listed for the first time. How it fares is shared
    /// with every later list.
    pub(super) backend: Arc<Backend>,
    /// Where its calls are counted, if outliers are looked for.
    pub(super) health: Option<Arc<Health>>,
    pub(super) hearing: Arc<Hearing>,
    pub(super) calls: AtomicU64,
    pub(in crate::client) pool: Arc<Pool>,
}

/// Has calls go elsewhere while there is no connection.
struct Gatekeeper {
    backend: Arc<Backend>,
    /// Told when something became better.
    news: watch::Sender<()>,
}

impl Listener for Gatekeeper {
    fn unreachable(&self) {
        self.backend.set_unreachable(UNTIL_CONNECTED);
    }

    fn connected(&self) {
        self.backend.set_reachable();
        self.news.send_replace(());
    }
}

impl Endpoint {
    pub(super) fn new(
        (backend, health, hearing): (Arc<Backend>, Option<Arc<Health>>, Arc<Hearing>),
        dialer: Dialer,
        connections: ConnectionPool,
        news: watch::Sender<()>,
    ) -> Self {
        let gatekeeper = Gatekeeper {
            backend: backend.clone(),
            news,
        };
        Self {
            backend,
            health,
            hearing,
            calls: AtomicU64::new(0),
            pool: Pool::new(dialer, connections, Box::new(gatekeeper)),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.backend.address())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
