//! The entries of a server in directories: from when it listens until before it drains.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Server, ServerBuilder};
use crate::discovery::{Attributes, Endpoint};
use crate::error::{Error, Kind};
use crate::registry::{Entry, Keeper, Registry, check_name};

/// How long an entry stands without being renewed unless it is said.
const TTL: Duration = Duration::from_secs(10);
const TTL_MIN: Duration = Duration::from_secs(1);

impl ServerBuilder {
    /// Enters the server into a directory under a name: once it listens, and for as long as it
    /// runs. It is entered again after whatever goes wrong there, and taken out before the server
    /// [shuts down](Server::shutdown).
    ///
    /// The server does not wait for the directory: see [`Server::registered`].
    #[must_use]
    pub fn register(mut self, registry: impl Registry, name: &str, attributes: Attributes) -> Self {
        self.registrations.add(registry, name, attributes);
        self
    }

    /// Where others reach the server, if that is not where it listens: a host, to which the port is
    /// added, or a whole target. Needed to register a server that listens on all addresses.
    #[must_use]
    pub fn advertise(mut self, host: &str) -> Self {
        self.registrations.advertise(host);
        self
    }

    /// How long a directory keeps the server without hearing from it; 10 s unless it is said, at
    /// least 1 s. The server is heard from at a third of it.
    #[must_use]
    pub const fn registration_ttl(mut self, ttl: Duration) -> Self {
        self.registrations.set_ttl(ttl);
        self
    }
}

impl Server {
    /// Ready when every directory that the server is to be [entered](ServerBuilder::register) into
    /// has it. May never be, while a directory is down; dropping the future changes nothing.
    pub async fn registered(&self) {
        self.registered.complete().await;
    }

    /// True while every directory has the server, as far as it knows.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered.is_complete()
    }
}

/// What a server is to be entered as, once it listens.
#[derive(Default)]
pub(super) struct Registrations {
    wanted: Vec<Wanted>,
    advertised: Option<String>,
    ttl: Option<Duration>,
}

struct Wanted {
    registry: Arc<dyn Registry>,
    name: String,
    attributes: Attributes,
}

impl Registrations {
    pub(super) fn add(&mut self, registry: impl Registry, name: &str, attributes: Attributes) {
        self.wanted.push(Wanted {
            registry: Arc::new(registry),
            name: name.to_owned(),
            attributes,
        });
    }

    pub(super) fn advertise(&mut self, host: &str) {
        self.advertised = Some(host.to_owned());
    }

    pub(super) const fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = Some(ttl);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Mistakes that can be found before the server listens.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(ttl) = self.ttl.filter(|ttl| *ttl < TTL_MIN) {
            let mistake = format!("a registration that stands for {ttl:?} is over too soon");
            return Err(Error::new(Kind::Registration, mistake));
        }
        self.wanted
            .iter()
            .try_for_each(|wanted| check_name(&wanted.name))
    }

    /// Enters a server that listens at `uri`.
    pub(super) fn start(self, uri: &str) -> Result<Registered, Error> {
        if self.is_empty() {
            return Ok(Registered::default());
        }
        let endpoint = endpoint(uri, self.advertised.as_deref())?;
        let ttl = self.ttl.unwrap_or(TTL);
        let entries = self.wanted.into_iter().map(|wanted| {
            let endpoint = endpoint.clone().with_attributes(wanted.attributes);
            Ok((wanted.registry, Entry::new(wanted.name, endpoint, ttl)?))
        });
        let entries: Vec<_> = entries.collect::<Result<_, Error>>()?;
        let keepers = entries.into_iter();
        let keepers = keepers.map(|(registry, entry)| Keeper::start(registry, entry));
        Ok(Registered {
            keepers: keepers.collect(),
        })
    }
}

/// Where others reach a server that listens at `uri`.
fn endpoint(uri: &str, advertised: Option<&str>) -> Result<Endpoint, Error> {
    let port = uri.rsplit_once(':').map_or("", |(_, port)| port);
    let address = match advertised {
        Some(target) if target.contains("://") => target.to_owned(),
        Some(host) => format!("tcp://{host}:{port}"),
        None => uri.to_owned(),
    };
    let endpoint = Endpoint::new(&address).map_err(|cause| {
        let mistake = format!("cannot register a server at {address}");
        Error::new(Kind::Registration, mistake).with_source(cause)
    })?;
    let place = address.strip_prefix("tcp://").unwrap_or_default();
    let host = place.rsplit_once(':').map_or("", |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if ip.is_ok_and(|ip| ip.to_canonical().is_unspecified()) {
        let mistake = format!("cannot register {address}: nobody can call that; see `advertise`");
        return Err(Error::new(Kind::Registration, mistake));
    }
    Ok(endpoint)
}

/// The entries of a server that runs. Dropping it leaves them to run out.
#[derive(Debug, Default)]
pub(super) struct Registered {
    keepers: Vec<Keeper>,
}

impl Registered {
    pub(super) fn is_complete(&self) -> bool {
        self.keepers.iter().all(Keeper::is_registered)
    }

    /// Ready when each directory has had its entry.
    pub(super) async fn complete(&self) {
        for keeper in &self.keepers {
            keeper.registered().await;
        }
    }

    /// Takes the server out, of all directories at the same time.
    pub(super) async fn leave(self) {
        self.keepers.iter().for_each(Keeper::stop);
        for keeper in self.keepers {
            keeper.stopped().await;
        }
    }
}

impl fmt::Debug for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.wanted.iter().map(|wanted| &wanted.name);
        f.debug_list().entries(names).finish()
    }
}
