//! Which scheme means which resolver.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::name::is_scheme;
use super::{DnsResolver, Name, Resolver, StaticList, Watch};
use crate::error::{Error, Kind};

/// Schemes that say where a server is, and not who knows: they are never resolved.
const PLACES: [&str; 3] = ["tcp", "unix", "mem"];

/// The schemes whose names can be resolved. Cheap to clone.
///
/// ```
/// # use rpc_runtime::discovery::{Endpoint, Resolvers, StaticList};
/// # fn main() -> Result<(), rpc_runtime::Error> {
/// let fleet = StaticList::new([Endpoint::new("tcp://10.0.0.1:7000")?]);
/// let resolvers = Resolvers::default().with("fleet", fleet.clone())?;
/// assert!(resolvers.knows("fleet://greeter"));
/// fleet.set([Endpoint::new("tcp://10.0.0.2:7000")?]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resolvers {
    schemes: Arc<BTreeMap<String, Arc<dyn Resolver>>>,
}

impl Default for Resolvers {
    /// `static://` and `dns://`.
    fn default() -> Self {
        let mut schemes: BTreeMap<String, Arc<dyn Resolver>> = BTreeMap::new();
        schemes.insert("static".into(), Arc::new(StaticList::default()));
        schemes.insert("dns".into(), Arc::new(DnsResolver::default()));
        Self {
            schemes: Arc::new(schemes),
        }
    }
}

impl Resolvers {
    /// These and one more; a scheme that was known means the new resolver from now on.
    ///
    /// # Errors
    /// The scheme is not one (lower case letters, digits, `+`, `-`, `.`, a letter first), or it is
    /// that of a transport.
    pub fn with(mut self, scheme: &str, resolver: impl Resolver) -> Result<Self, Error> {
        if !is_scheme(scheme) {
            let mistake = format!("{scheme:?} cannot be a scheme");
            return Err(Error::new(Kind::Registration, mistake));
        }
        if PLACES.contains(&scheme) {
            let mistake = format!("{scheme:?} is a transport; names of it are not resolved");
            return Err(Error::new(Kind::Registration, mistake));
        }
        let schemes = Arc::make_mut(&mut self.schemes);
        schemes.insert(scheme.to_owned(), Arc::new(resolver));
        Ok(self)
    }

    /// All of them, to be shown.
    pub(crate) fn known(&self) -> String {
        let known: Vec<_> = self.schemes.keys().map(String::as_str).collect();
        known.join(", ")
    }

    /// True if the text begins with one of these schemes.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        text.split_once("://")
            .is_some_and(|(scheme, _)| self.schemes.contains_key(scheme))
    }

    /// Begins to watch a name. The watch works while it or a clone of it is alive.
    ///
    /// # Errors
    /// The name is malformed, its scheme is unknown, or its resolver does not take it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn watch(&self, name: &str) -> Result<Watch, Error> {
        let name: Name = name.parse()?;
        let Some(resolver) = self.schemes.get(name.scheme()) else {
            let mistake = format!("unknown scheme in name {name}; known are {}", self.known());
            return Err(Error::new(Kind::UnknownScheme, mistake));
        };
        let source = resolver.watch(&name).map_err(|cause| {
            let mistake = format!("invalid name {name}: {cause}");
            Error::new(Kind::Target, mistake)
        })?;
        Ok(Watch::start(name, source))
    }
}
