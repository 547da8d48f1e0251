//! Endpoints that a host name stands for.
//!
//! Why not a resolver of our own, which would know how long an answer is good for? The system's
//! knows the files, the search list and the daemons of this machine, and needs no crate. It does
//! not tell the time to live, so names are asked for anew at an interval; a [`Lookup`] of the
//! user's own may tell it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Endpoint, Name, Resolver, Source, SourceError};
use crate::clock;

/// How long an answer is used if nobody says how long it is good for: a new server is seen within
/// 10 s.
const REFRESH: Duration = Duration::from_secs(10);
/// What the time to live of an answer is held to: neither a flood of questions nor a list for ever.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);
/// Longer is for ever, and no clock shows when that is over.
const REFRESH_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a lookup may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Finds the addresses of a host.
#[async_trait]
pub trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// Asks for the addresses of a `host:port`. Given up after 5 s.
    ///
    /// # Errors
    /// The host is unknown, or nobody could be asked.
    async fn lookup(&self, host: &str) -> io::Result<Answer>;
}

/// What a [`Lookup`] found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Answer {
    /// The addresses, with the port that was asked for.
    pub addresses: Vec<SocketAddr>,
    /// How long they are good for, if it is known.
    pub ttl: Option<Duration>,
}

impl Answer {
    /// Addresses that are good for an unknown time.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            addresses: addresses.into_iter().collect(),
            ttl: None,
        }
    }

    /// Sets how long they are good for.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// The resolver of the system: `getaddrinfo`, on a thread of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Answer> {
        Ok(Answer::new(tokio::net::lookup_host(host).await?))
    }
}

/// The resolver of `dns://name:port`: every address of the name is an endpoint.
///
/// Asks anew every 10 s, or when the time to live is over where that is known; up to a fifth
/// earlier, so that many clients do not ask at the same time.
#[derive(Clone, Debug)]
pub struct DnsResolver {
    lookup: Arc<dyn Lookup>,
    refresh: Duration,
}

impl Default for DnsResolver {
    fn default() -> Self {
        Self::new(SystemLookup)
    }
}

impl DnsResolver {
    /// A resolver that asks this lookup.
    #[must_use]
    pub fn new(lookup: impl Lookup) -> Self {
        Self {
            lookup: Arc::new(lookup),
            refresh: REFRESH,
        }
    }

    /// How long an answer is used if its time to live is not known; 10 s unless it is said, at least
    /// 1 s, at most a year.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh.clamp(TTL_MIN, REFRESH_MAX);
        self
    }
}

impl Resolver for DnsResolver {
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError> {
        let host = name.authority();
        // The shape of `host:port` is that of a target.
        Endpoint::new(format!("tcp://{host}"))?;
        Ok(Box::new(DnsSource {
            resolver: self.clone(),
            host: host.to_owned(),
            due: None,
        }))
    }
}

struct DnsSource {
    resolver: DnsResolver,
    host: String,
    /// When the last answer is to be replaced; `None` before the first and after an error.
    due: Option<Instant>,
}

#[async_trait]
impl Source for DnsSource {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        if let Some(due) = self.due.take() {
            tokio::time::sleep_until(due.into()).await;
        }
        let lookup = self.resolver.lookup.lookup(&self.host);
        let answer = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await??;
        let good_for = good_for(answer.ttl, self.resolver.refresh, fastrand::f64());
        self.due = Some(clock::now() + good_for);
        let endpoints = answer.addresses.iter();
        let endpoints = endpoints.map(|address| Endpoint::new(format!("tcp://{address}")));
        endpoints
            .map(|e| e.map_err(SourceError::from))
            .collect::<Result<_, _>>()
    }
}

/// How long an answer is used; `random` is from 0.0 to 1.0.
fn good_for(ttl: Option<Duration>, refresh: Duration, random: f64) -> Duration {
    let whole = ttl.map_or(refresh, |ttl| ttl.clamp(TTL_MIN, TTL_MAX));
    whole.mul_f64(1.0 - 0.2 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_used_no_longer_than_it_is_good_for() {
        let seconds = Duration::from_secs;
        for (ttl, random, expected) in [
            (None, 0.0, REFRESH),
            (None, 1.0, seconds(8)),
            (Some(seconds(60)), 0.0, seconds(60)),
            (Some(seconds(60)), 0.5, seconds(54)),
            (Some(seconds(0)), 0.0, TTL_MIN),
            (Some(seconds(86_400)), 0.0, TTL_MAX),
        ] {
            assert_eq!(good_for(ttl, REFRESH, random), expected);
        }
    }
}
