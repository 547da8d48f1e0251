//! How a channel connects to places: as usual, or in a way of the user's own.

use std::fmt;
use std::sync::Arc;

use super::{Connector, Target, connector};

/// Makes the connector of a place, or leaves it to those that come with this crate.
type Make = dyn Fn(&str) -> Option<Arc<dyn Connector>> + Send + Sync;

/// How a channel connects to places. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Connectors(Option<Arc<Make>>);

impl Connectors {
    pub(crate) fn new(
        make: impl Fn(&str) -> Option<Arc<dyn Connector>> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(make)))
    }

    /// The connector for a target.
    pub(crate) fn of(&self, target: &Target) -> Arc<dyn Connector> {
        let own = self.0.as_ref().and_then(|make| make(&target.to_string()));
        own.unwrap_or_else(|| connector(target))
    }
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connectors")
            .field("own", &self.0.is_some())
            .finish()
    }
}
