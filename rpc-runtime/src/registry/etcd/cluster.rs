//! The members of a cluster, of which any will do.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{self, Failure};
use crate::discovery::{Endpoint, Name, SourceError};
use crate::log;

const PORT: u16 = 2379;

/// The members, and which of them is asked first.
#[derive(Debug)]
pub(super) struct Cluster {
    /// `host:port` each; at least one.
    hosts: Vec<String>,
    /// Whoever answered last. Counts on and on, modulo the members.
    first: AtomicUsize,
}

impl Cluster {
    /// The members in `etcd://host:2379,host/…`; the port may be missing.
    pub(super) fn new(name: &Name) -> Result<Self, SourceError> {
        let hosts = name.hosts().map(|host| {
            let has_port = host
                .rsplit_once(':')
                .is_some_and(|(_, port)| !port.ends_with(']'));
            let host = if has_port {
                host.to_owned()
            } else {
                format!("{host}:{PORT}")
            };
            // The shape of `host:port` is that of a target.
            Endpoint::new(format!("tcp://{host}"))?;
            Ok(host)
        });
        Ok(Self {
            hosts: hosts.collect::<Result<_, SourceError>>()?,
            first: AtomicUsize::new(0),
        })
    }

    /// Asks one member after the other until one answers, beginning with the one that answered last;
    /// gives the answer and who gave it.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<(T, String), Failure> {
        let first = self.first.load(Ordering::Relaxed);
        let mut last = Failure::Final("there are no members".into());
        for at in first..first + self.hosts.len() {
            let host = &self.hosts[at % self.hosts.len()];
            // If this is given up in the middle, the next attempt begins with another.
            self.first.store(at + 1, Ordering::Relaxed);
            match http::ask(host, path, body).await {
                Err(failure @ Failure::Member(_)) => {
                    log::debug!(%failure, "the next member is asked");
                    last = failure;
                }
                answer => {
                    self.first.store(at, Ordering::Relaxed);
                    return answer.map(|answer| (answer, host.clone()));
                }
            }
        }
        Err(last)
    }

    /// The next question goes to another member.
    pub(super) fn turn_away_from(&self, host: &str) {
        let first = self.first.load(Ordering::Relaxed);
        if self.hosts[first % self.hosts.len()] == host {
            self.first.store(first + 1, Ordering::Relaxed);
        }
    }
}
