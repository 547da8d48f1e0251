//! What an embedded registry takes from whom.
//!
//! Whoever can enter an address makes clients call it. So writers say who they are, an entry belongs
//! to its writer, the address is the writer's own, and the places that are dangerous to call for
//! everybody are refused to everybody.

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::Status;

use super::EmbeddedRegistry;
use super::entry::check_name;
use super::wire::Instance;
use crate::discovery::{Attributes, Endpoint};

/// Longest entry: its address and all texts of its attributes.
const ENTRY_BYTES_MAX: usize = 512;
/// Most tags of an entry.
const TAGS_MAX: usize = 32;
/// Where clouds tell machines their secrets, beside the link-local addresses.
const METADATA_ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Settings of an [`EmbeddedRegistry`].
///
/// Unless it is said: nobody may write, an entry's address has to be the IP address that it is
/// entered from, times are 5 to 60 s, and there are up to 10,000 entries.
#[derive(Clone, Debug)]
pub struct RegistryBuilder {
    pub(super) policy: Policy,
    pub(super) entries_max: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Policy {
    writers: Writers,
    ttl: RangeInclusive<Duration>,
    permanent: bool,
    local: bool,
    names: bool,
    any_source: bool,
}

#[derive(Clone)]
enum Writers {
    Anybody,
    /// Tokens, and who has them.
    Known(Vec<(String, Arc<str>)>),
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self {
            policy: Policy {
                writers: Writers::Known(Vec::new()),
                ttl: Duration::from_secs(5)..=Duration::from_secs(60),
                permanent: false,
                local: false,
                names: false,
                any_source: false,
            },
            entries_max: 10_000,
        }
    }
}

impl RegistryBuilder {
    /// Lets whoever has this token write, under this identity. An identity may have several tokens,
    /// so that they can be replaced.
    #[must_use]
    pub fn writer(mut self, identity: &str, token: impl Into<String>) -> Self {
        let writer = (token.into(), identity.into());
        match &mut self.policy.writers {
            Writers::Known(known) => known.push(writer),
            Writers::Anybody => self.policy.writers = Writers::Known(vec![writer]),
        }
        self
    }

    /// Lets everybody write who can reach the registry, and overwrite what others wrote.
    #[must_use]
    pub fn without_authentication(mut self) -> Self {
        self.policy.writers = Writers::Anybody;
        self
    }

    /// Takes addresses that mean something on this machine only: loopback, Unix sockets, memory.
    #[must_use]
    pub const fn allow_local(mut self) -> Self {
        self.policy.local = true;
        self
    }

    /// Takes host names instead of IP addresses. What they stand for is not checked, then or later.
    #[must_use]
    pub const fn allow_names(mut self) -> Self {
        self.policy.names = true;
        self
    }

    /// Takes addresses other than the IP address that they are entered from.
    #[must_use]
    pub const fn allow_any_source(mut self) -> Self {
        self.policy.any_source = true;
        self
    }

    /// Takes entries whose time is zero: they stay until they are taken out.
    #[must_use]
    pub const fn allow_permanent(mut self) -> Self {
        self.policy.permanent = true;
        self
    }

    /// How long an entry may stand without being renewed. The longest is also how long a registry
    /// that has started waits for servers that knew it before.
    ///
    /// # Panics
    /// The shortest is zero or longer than the longest, or that is more than a year.
    #[must_use]
    pub fn ttl(mut self, range: RangeInclusive<Duration>) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let is_range = !range.start().is_zero() && range.start() <= range.end();
        assert!(is_range && *range.end() <= YEAR, "no times: {range:?}");
        self.policy.ttl = range;
        self
    }

    /// How many entries there may be.
    #[must_use]
    pub const fn entries_max(mut self, entries: usize) -> Self {
        self.entries_max = entries;
        self
    }

    /// A registry with these settings, and without entries.
    #[must_use]
    pub fn build(self) -> EmbeddedRegistry {
        EmbeddedRegistry::new(self)
    }
}

impl Policy {
    /// How long after the start of a registry every server has had the time to enter itself again.
    pub(super) fn settling(&self) -> Duration {
        *self.ttl.end()
    }

    /// Who writes, by the value of the `authorization` metadata.
    pub(super) fn writer(&self, authorization: Option<&str>) -> Result<Arc<str>, Status> {
        let known = match &self.writers {
            Writers::Anybody => return Ok("anybody".into()),
            Writers::Known(known) => known,
        };
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Status::unauthenticated("a token is needed to write"))?;
        // All are compared, so that the time tells nothing of which is nearly right.
        let mut found = None;
        for (known, identity) in known {
            if is_same(known, token) {
                found = Some(identity.clone());
            }
        }
        found.ok_or_else(|| Status::unauthenticated("the token is unknown"))
    }

    /// The time of an entry; `None` is for ever.
    pub(super) fn check_ttl(&self, ttl: Duration) -> Result<Option<Duration>, Status> {
        if ttl.is_zero() && self.permanent {
            return Ok(None);
        }
        if self.ttl.contains(&ttl) {
            return Ok(Some(ttl));
        }
        let (shortest, longest) = (self.ttl.start(), self.ttl.end());
        let text = format!("a time of {ttl:?} is not from {shortest:?} to {longest:?}");
        Err(Status::invalid_argument(text))
    }

    /// The entry in its normal form, if it may be made from a source.
    pub(super) fn check_entry(
        &self,
        name: &str,
        instance: Instance,
        source: Option<IpAddr>,
    ) -> Result<Instance, Status> {
        let invalid = |error: &dyn fmt::Display| Status::invalid_argument(error.to_string());
        check_name(name).map_err(|error| invalid(&error))?;
        let attributes = &instance.attributes;
        if name.len() + instance.address.len() + text_bytes(attributes) > ENTRY_BYTES_MAX {
            let text = format!("an entry has at most {ENTRY_BYTES_MAX} bytes");
            return Err(Status::invalid_argument(text));
        }
        if attributes.tags.len() > TAGS_MAX {
            let text = format!("an entry has at most {TAGS_MAX} tags");
            return Err(Status::invalid_argument(text));
        }
        if texts(attributes).any(|text| text.chars().any(char::is_control)) {
            return Err(invalid(&"an attribute has control characters in it"));
        }
        let endpoint = Endpoint::new(&instance.address).map_err(|error| invalid(&error))?;
        self.check_place(endpoint.address(), source)?;
        Ok(Instance::new(endpoint.address(), instance.attributes))
    }

    fn check_place(&self, address: &str, source: Option<IpAddr>) -> Result<(), Status> {
        let refused = |why: &str| {
            let shown = address.escape_debug();
            Err(Status::invalid_argument(format!(
                "{shown} is refused: {why}"
            )))
        };
        let Some(place) = address.strip_prefix("tcp://") else {
            if self.local {
                return Ok(());
            }
            return refused("it means nothing on another machine");
        };
        // The form of the address is checked already: there is a port.
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "0"));
        if port.parse::<u16>().is_ok_and(|port| port == 0) {
            return refused("the port is missing");
        }
        let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            if !host.chars().all(is_name) {
                return refused("the host is not one");
            }
            if self.names {
                return Ok(());
            }
            return refused("the host is a name, not an IP address");
        };
        // An IPv4 address in IPv6 clothes is the same place.
        let ip = ip.to_canonical();
        if let Some(why) = danger(ip) {
            return refused(why);
        }
        if ip.is_loopback() && !self.local {
            return refused("loopback means another machine to everybody else");
        }
        let is_own = |source: IpAddr| {
            let source = source.to_canonical();
            source == ip || (source.is_loopback() && ip.is_loopback())
        };
        if !self.any_source && source.is_some_and(|source| !is_own(source)) {
            let shown = address.escape_debug();
            let text = format!("{shown} is refused: it is not where it is entered from");
            return Err(Status::permission_denied(text));
        }
        Ok(())
    }
}

/// Why nobody may be sent to an IP address.
fn danger(ip: IpAddr) -> Option<&'static str> {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_unspecified() {
        Some("nobody can call all addresses")
    } else if ip.is_multicast() || is_broadcast {
        Some("it is a group, not a place")
    } else if is_link_local {
        Some("it is a link-local address")
    } else if METADATA_ADDRESSES.contains(&ip) {
        Some("it is where a cloud tells secrets")
    } else {
        None
    }
}

fn texts(attributes: &Attributes) -> impl Iterator<Item = &str> {
    let optional = [&attributes.zone, &attributes.version];
    let optional = optional.into_iter().flatten().map(String::as_str);
    let tags = attributes.tags.iter();
    optional.chain(tags.flat_map(|(key, value)| [&**key, &**value]))
}

fn text_bytes(attributes: &Attributes) -> usize {
    texts(attributes).map(str::len).sum()
}

/// Takes as long for a wrong token as for a right one of the same length.
fn is_same(one: &str, other: &str) -> bool {
    let bytes = one.bytes().zip(other.bytes());
    let differences = bytes.fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    one.len() == other.len() && differences == 0
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("Anybody"),
            // Never the tokens.
            Self::Known(known) => f
                .debug_list()
                .entries(known.iter().map(|(_, identity)| identity))
                .finish(),
        }
    }
}

#[cfg(test)]
#[path = "policy/tests.rs"]
mod tests;
