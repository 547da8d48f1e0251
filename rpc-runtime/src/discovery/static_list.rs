//! Endpoints that stand in the name itself, or that the user sets.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Endpoint, Name, Resolver, Source, SourceError};

/// A list that the program itself keeps: whoever watches it sees each [`set`](Self::set).
///
/// As the resolver of `static://a:1,b:2/Greeter` it has nothing set, and gives what stands in the
/// name. Under a scheme of the user's own, what is set counts for every name of it. Clones share the
/// list.
#[derive(Clone, Debug, Default)]
pub struct StaticList {
    /// `None`: the list stands in the name.
    set: Option<Arc<watch::Sender<Vec<Endpoint>>>>,
}

impl StaticList {
    /// A list that begins with these.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let endpoints = endpoints.into_iter().collect();
        Self {
            set: Some(Arc::new(watch::Sender::new(endpoints))),
        }
    }

    /// Replaces the list. An empty one is obeyed.
    pub fn set(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        if let Some(set) = &self.set {
            set.send_replace(endpoints.into_iter().collect());
        }
    }
}

impl Resolver for StaticList {
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError> {
        if let Some(set) = &self.set {
            let mut changes = set.subscribe();
            // The list as it is now counts as a change.
            changes.mark_changed();
            return Ok(Box::new(Changing { changes }));
        }
        let endpoints = name.hosts().map(|host| {
            let endpoint = Endpoint::new(format!("tcp://{host}"));
            endpoint.map_err(SourceError::from)
        });
        Ok(Box::new(Fixed {
            endpoints: Some(endpoints.collect::<Result<_, _>>()?),
        }))
    }
}

/// What stood in the name.
struct Fixed {
    /// Until it is asked for.
    endpoints: Option<Vec<Endpoint>>,
}

#[async_trait]
impl Source for Fixed {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        match self.endpoints.take() {
            Some(endpoints) => Ok(endpoints),
            None => std::future::pending().await,
        }
    }
}

/// What the user sets.
struct Changing {
    changes: watch::Receiver<Vec<Endpoint>>,
}

#[async_trait]
impl Source for Changing {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        if self.changes.changed().await.is_err() {
            // The last handle is gone: what it said stays.
            std::future::pending::<()>().await;
        }
        Ok(self.changes.borrow_and_update().clone())
    }

    fn is_empty_believed(&self) -> bool {
        true
    }
}
