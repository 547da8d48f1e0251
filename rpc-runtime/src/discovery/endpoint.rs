//! One place where a service is served.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::transport::Target;

/// Where a service is served, and what is known about that place. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Arc<str>,
    attributes: Arc<Attributes>,
}

impl Endpoint {
    /// An endpoint at a target, for example `tcp://10.0.0.1:7000`, of which nothing else is known.
    ///
    /// # Errors
    /// The address is not a target.
    pub fn new(address: impl AsRef<str>) -> Result<Self, Error> {
        let target: Target = address.as_ref().parse()?;
        Ok(Self {
            address: target.to_string().into(),
            attributes: Arc::default(),
        })
    }

    /// The same place with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = Arc::new(attributes);
        self
    }

    /// The place, as a target URI. It is what tells endpoints of one name apart.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What is known about the place.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// How much of the calls the place is to get, relative to the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.attributes.weight
    }

    /// The zone the place is in, if it is known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.attributes.zone.as_deref()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} {:?})", self.address, self.attributes)
    }
}

/// What a server says about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Attributes {
    /// How much of the calls it is to get, relative to the others; 1 unless it is said. One with 0
    /// is there, and gets none.
    pub weight: u32,
    /// Where it stands: calls prefer their own zone.
    pub zone: Option<String>,
    /// Which build it runs.
    pub version: Option<String>,
    /// Anything else.
    pub tags: BTreeMap<String, String>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            weight: 1,
            zone: None,
            version: None,
            tags: BTreeMap::new(),
        }
    }
}

impl Attributes {
    /// Weight 1 and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how much of the calls it is to get, relative to the others.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets where it stands.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets which build it runs.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Adds a tag, or replaces it.
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}
