//! `etcd://host:2379,host:2379/prefix/name`: the endpoints of a name, from etcd.
//!
//! Is a watch that is silent alive? Nothing may happen to a name for days, and a member that is
//! frozen or cut off ends no connection. So while there is nothing to tell, the member is asked
//! something that it cannot answer without the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::api::{self, Event, Pair, Told, Watching};
use super::cluster::Cluster;
use super::http::Failure;
use crate::clock;
use crate::discovery::{Endpoint, Name, Resolver, Source, SourceError};
use crate::log;
use crate::registry::burst::Burst;
use crate::registry::entry::check_name;
use crate::registry::wire::Instance;

/// How long a watch is silent before its member is asked whether it is there; up to a fifth less.
const SILENCE: Duration = Duration::from_secs(5);
/// A watch that ends earlier is a short one.
const SHORT: Duration = Duration::from_secs(1);
/// After as many short watches in a row, the next is not begun at once.
const SHORT_MAX: u32 = 3;

/// The resolver of `etcd://host:2379,host:2379/prefix/name`. The ports and the prefix may be missing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EtcdResolver;

impl Resolver for EtcdResolver {
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError> {
        check_name(name.path())?;
        Ok(Box::new(EtcdSource {
            cluster: Cluster::new(name)?,
            prefix: format!("{}/", name.path()),
            following: None,
            short: 0,
        }))
    }
}

struct EtcdSource {
    cluster: Cluster,
    prefix: String,
    /// `None`: the keys have to be listed first.
    following: Option<Following>,
    /// How many watches in a row were short.
    short: u32,
}

/// A list, and the watch that keeps it up to date.
struct Following {
    host: String,
    watching: Watching,
    since: Instant,
    entries: Entries,
}

/// The endpoints by their keys; `None` for a value that makes no sense.
type Entries = BTreeMap<Vec<u8>, Option<Endpoint>>;

#[async_trait]
impl Source for EtcdSource {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        let Some(following) = &mut self.following else {
            return self.begin().await;
        };
        let mut told = following.wait(&self.prefix).await;
        let burst = Burst::begin();
        loop {
            match told {
                Ok(Told::Events(events)) => {
                    for event in events {
                        apply(&mut following.entries, &self.prefix, event);
                    }
                }
                Ok(Told::Cancelled) => {
                    let why = "etcd cancelled the watch".into();
                    self.lost(why)?;
                    break;
                }
                Err(failure) => {
                    self.cluster.turn_away_from(&following.host);
                    self.lost(failure.into())?;
                    break;
                }
            }
            // etcd tells of each change by itself.
            told = match burst.more(following.watching.next()).await {
                Some(more) => more,
                None => return list(&following.entries),
            };
        }
        self.begin().await
    }
}

impl EtcdSource {
    /// The watch is over. Another is begun at once, unless that does not help.
    fn lost(&mut self, why: SourceError) -> Result<(), SourceError> {
        log::debug!(prefix = self.prefix, %why, "the watch is over");
        let lost = self.following.take();
        let lasted = |lost: Following| clock::now().saturating_duration_since(lost.since);
        let is_short = lost.is_some_and(|lost| lasted(lost) < SHORT);
        self.short = if is_short { self.short + 1 } else { 0 };
        if self.short > SHORT_MAX {
            return Err(why);
        }
        Ok(())
    }

    /// Lists the keys, and watches them from that revision on.
    async fn begin(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        self.following = None;
        let listing = self.cluster.list(&self.prefix).await?;
        let host = listing.host;
        let watching = Watching::start(&host, &self.prefix, listing.revision + 1).await;
        let watching = watching.inspect_err(|_| self.cluster.turn_away_from(&host))?;
        let entries = listing.entries.into_iter();
        let entries = entries.filter_map(|pair| endpoint(&self.prefix, pair));
        let entries: Entries = entries.collect();
        let endpoints = list(&entries);
        self.following = Some(Following {
            host,
            watching,
            since: clock::now(),
            entries,
        });
        endpoints
    }
}

impl Following {
    /// Waits for something to be told, and sees to it that somebody is there to tell it.
    async fn wait(&mut self, prefix: &str) -> Result<Told, Failure> {
        loop {
            let silence = SILENCE.mul_f64(1.0 - 0.2 * fastrand::f64());
            match tokio::time::timeout(silence, self.watching.next()).await {
                Ok(Ok(Told::Events(events))) if events.is_empty() => {}
                Ok(told) => return told,
                Err(_) => api::check(&self.host, prefix).await?,
            }
        }
    }
}

fn apply(entries: &mut Entries, prefix: &str, event: Event) {
    if event.is_delete() {
        entries.remove(&event.kv.key);
    } else if let Some((key, endpoint)) = endpoint(prefix, event.kv) {
        entries.insert(key, endpoint);
    }
}

/// What a key and its value say; nothing if they are of a name that begins with this one.
fn endpoint(prefix: &str, pair: Pair) -> Option<(Vec<u8>, Option<Endpoint>)> {
    let instance = serde_json::from_slice::<Instance>(&pair.value);
    let parsed = instance.map_err(SourceError::from).and_then(|instance| {
        let endpoint = Endpoint::new(&instance.address)?;
        Ok((
            instance.address,
            endpoint.with_attributes(instance.attributes),
        ))
    });
    match parsed {
        Ok((address, endpoint)) => {
            let is_own = pair.key.strip_prefix(prefix.as_bytes()) == Some(address.as_bytes());
            is_own.then_some((pair.key, Some(endpoint)))
        }
        Err(error) => {
            let key = String::from_utf8_lossy(&pair.key);
            log::warn!(key = %key.escape_debug(), %error, "a key of etcd is not used");
            Some((pair.key, None))
        }
    }
}

fn list(entries: &Entries) -> Result<Vec<Endpoint>, SourceError> {
    let endpoints: Vec<_> = entries.values().flatten().cloned().collect();
    if endpoints.is_empty() && !entries.is_empty() {
        return Err(format!("none of its {} keys is an endpoint", entries.len()).into());
    }
    Ok(endpoints)
}
