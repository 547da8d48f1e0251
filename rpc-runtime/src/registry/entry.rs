//! What a server enters into a directory.

use std::time::Duration;

use crate::discovery::Endpoint;
use crate::error::{Error, Kind};

/// Longest name of a service in a directory.
const NAME_BYTES_MAX: usize = 128;

/// Which endpoint serves which name, and how long that holds without being renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What clients look up.
    pub name: String,
    /// Where they are sent.
    pub endpoint: Endpoint,
    /// How long the entry stands without being renewed.
    pub ttl: Duration,
}

impl Entry {
    /// An entry that stands for `ttl`.
    ///
    /// # Errors
    /// The name is not one: up to 128 letters, digits, `.`, `_`, `-`, in parts that slashes
    /// separate.
    pub fn new(name: impl Into<String>, endpoint: Endpoint, ttl: Duration) -> Result<Self, Error> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self {
            name,
            endpoint,
            ttl,
        })
    }
}

/// See [`Entry::new`].
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part = |part: &str| !part.is_empty() && part.chars().all(legal);
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(part) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    let mistake = format!("{shown:?} cannot be the name of a service in a directory");
    Err(Error::new(Kind::Registration, mistake))
}
