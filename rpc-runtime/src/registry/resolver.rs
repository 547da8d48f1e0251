//! `registry://host:port/name`: the endpoints of a name, from an embedded registry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rpc_core::Status;

use super::burst::Burst;
use super::entry::check_name;
use super::known::Known;
use super::remote::Line;
use super::wire::Changes;
use super::{Registrar, RegistrarClient};
use crate::discovery::{Endpoint, Name, Resolver, Source, SourceError};
use crate::stream::Streaming;

/// How long the registry may be silent; it says something every 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(7);
/// More pages than the longest list has.
const PAGES_MAX: usize = 64;

/// The resolver of `registry://host:port/name`.
///
/// A new server is seen at once. The registry is connected to while a name is watched.
#[derive(Clone, Debug, Default)]
pub struct RegistryResolver {
    at: At,
}

/// Which registry knows a name.
#[derive(Clone, Default)]
enum At {
    /// That of its authority.
    #[default]
    Name,
    Target(String),
    /// Whoever these clients call.
    Clients(Arc<dyn Fn() -> RegistrarClient + Send + Sync>),
}

impl RegistryResolver {
    /// A resolver for a scheme of the user's own, whose names are `scheme://name`, all of them in
    /// the registry at this target.
    #[must_use]
    pub fn at(target: impl Into<String>) -> Self {
        Self {
            at: At::Target(target.into()),
        }
    }

    /// The same, in a registry that is called by clients of the user's own making, one after the
    /// other: over another transport, or with settings of its own.
    #[must_use]
    pub fn over(connect: impl Fn() -> RegistrarClient + Send + Sync + 'static) -> Self {
        Self {
            at: At::Clients(Arc::new(connect)),
        }
    }
}

impl Resolver for RegistryResolver {
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError> {
        let whole = name.as_str().split_once("://").map_or("", |(_, rest)| rest);
        let (line, name) = match &self.at {
            At::Name => (
                Line::new(&format!("tcp://{}", name.authority()))?,
                name.path(),
            ),
            At::Target(target) => (Line::new(target)?, whole),
            At::Clients(connect) => {
                let connect = connect.clone();
                (Line::over(move || connect()), whole)
            }
        };
        check_name(name)?;
        Ok(Box::new(RegistrySource {
            line,
            name: name.to_owned(),
            watching: None,
            known: Known::default(),
        }))
    }
}

struct RegistrySource {
    line: Line,
    name: String,
    watching: Option<Streaming<Changes>>,
    known: Known,
}

impl RegistrySource {
    /// What the registry says next.
    async fn hear(&mut self) -> Result<Changes, Status> {
        let heard = tokio::time::timeout(SILENCE_MAX, self.listen()).await;
        let heard = heard.unwrap_or_else(|_| {
            let text = format!("the registry has said nothing for {SILENCE_MAX:?}");
            Err(Status::deadline_exceeded(text))
        });
        if heard.is_err() {
            self.watching = None;
        }
        self.line.judge(heard)
    }

    /// What it says at once behind that. After a failure it is asked anew, when the list is done.
    async fn hear_along(&mut self, burst: &Burst) -> Option<Changes> {
        let watching = self.watching.as_mut()?;
        let heard = burst.more(watching.next()).await?;
        if !matches!(heard, Some(Ok(_))) {
            self.watching = None;
        }
        self.line.judge(heard?).ok()
    }

    async fn listen(&mut self) -> Result<Changes, Status> {
        if let Some(watching) = &mut self.watching
            && let Some(changes) = watching.next().await
        {
            return changes;
        }
        // Not yet, or it is about to go: somebody else may be there already.
        let client = self.line.client()?;
        let watching = client.watch(self.name.clone(), self.known.mark()).await?;
        let first = self.watching.insert(watching).next().await;
        let gone = || Status::unavailable("the registry has gone before it said anything");
        first.ok_or_else(gone)?
    }
}

#[async_trait]
impl Source for RegistrySource {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        let (mut pages, mut burst) = (0, None);
        while pages < PAGES_MAX {
            let changes = match &burst {
                None => self.hear().await?,
                Some(burst) => match self.hear_along(burst).await {
                    Some(changes) => changes,
                    None => return self.known.list(),
                },
            };
            burst = if self.known.apply(changes)? {
                pages += 1;
                None
            } else {
                Some(burst.unwrap_or_else(Burst::begin))
            };
        }
        // Begin anew: the pages of this list do not end.
        self.known = Known::default();
        self.watching = None;
        Err("the list does not end".into())
    }
}

impl fmt::Debug for RegistrySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySource")
            .field("name", &self.name)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the registry of its authority"),
            Self::Target(target) => f.write_str(target),
            Self::Clients(_) => f.write_str("a registry"),
        }
    }
}
