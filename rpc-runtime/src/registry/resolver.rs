//! `registry://host:port/name`: the endpoints of a name, from an embedded registry.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rpc_core::Status;

use super::Registrar;
use super::entry::check_name;
use super::known::Known;
use super::remote::Line;
use super::wire::Changes;
use crate::discovery::{Endpoint, Name, Resolver, Source, SourceError};

/// How long the registry waits for changes before it answers. Shorter than the grace in which a
/// server shuts down: watchers do not hold it up.
const WAIT: Duration = Duration::from_secs(5);
/// What the call may take beside the waiting.
const SLACK: Duration = Duration::from_secs(2);
/// More pages than the longest list has.
const PAGES_MAX: usize = 64;

/// The resolver of `registry://host:port/name`.
///
/// A new server is seen at once. The registry is connected to while a name is watched.
#[derive(Clone, Debug, Default)]
pub struct RegistryResolver {
    at: Option<String>,
}

impl RegistryResolver {
    /// A resolver for a scheme of the user's own, whose names are `scheme://name`, all of them in
    /// the registry at this target.
    #[must_use]
    pub fn at(target: impl Into<String>) -> Self {
        Self {
            at: Some(target.into()),
        }
    }
}

impl Resolver for RegistryResolver {
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError> {
        let (line, name) = match &self.at {
            Some(target) => {
                let whole = name.as_str().split_once("://").map_or("", |(_, rest)| rest);
                (Line::new(target)?, whole)
            }
            None => (
                Line::new(&format!("tcp://{}", name.authority()))?,
                name.path(),
            ),
        };
        check_name(name)?;
        Ok(Box::new(RegistrySource {
            feed: Box::new(Polled {
                line,
                name: name.to_owned(),
            }),
            known: Known::default(),
        }))
    }
}

/// Where changes come from: a stream could be another.
#[async_trait]
trait Feed: Send {
    /// Everything that happened since the mark of what is known; waits until there is something, or
    /// a while.
    async fn changes(&mut self, known: &Known) -> Result<Changes, Status>;
}

/// One call after the other, each of which waits for changes.
struct Polled {
    line: Line,
    name: String,
}

#[async_trait]
impl Feed for Polled {
    async fn changes(&mut self, known: &Known) -> Result<Changes, Status> {
        let client = self.line.client()?.with_timeout(WAIT + SLACK);
        let answer = client.changes(self.name.clone(), known.mark(), WAIT).await;
        self.line.judge(answer)
    }
}

struct RegistrySource {
    feed: Box<dyn Feed>,
    known: Known,
}

#[async_trait]
impl Source for RegistrySource {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        for _ in 0..PAGES_MAX {
            let changes = self.feed.changes(&self.known).await?;
            if !self.known.apply(changes)? {
                return self.known.list();
            }
        }
        // Begin anew: the pages of this list do not end.
        self.known = Known::default();
        Err("the list does not end".into())
    }
}

impl fmt::Debug for RegistrySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySource")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}
