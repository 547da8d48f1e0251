//! What clients and servers of the embedded registry tell each other.

use serde::{Deserialize, Serialize};

use crate::discovery::Attributes;

/// A server, as it enters itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Where it is reached, as a target URI.
    pub address: String,
    /// What it says about itself.
    #[serde(default)]
    pub attributes: Attributes,
}

impl Instance {
    /// A server at a target URI.
    pub fn new(address: impl Into<String>, attributes: Attributes) -> Self {
        Self {
            address: address.into(),
            attributes,
        }
    }
}

/// The right to renew an entry and to take it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// Which entry. Not a secret: the entry also belongs to whoever made it.
    pub id: u64,
}

/// How much of a directory a client has seen. The default has seen nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mark {
    /// Which life of the registry the revision is of: it forgets all when it starts.
    pub epoch: u64,
    /// Everything up to this change was seen.
    pub revision: u64,
    /// When the list was begun of which this is a page, else the revision: servers that left before
    /// were never seen.
    pub listed: u64,
    /// Whether that was after every server had the time to enter itself again.
    pub settled: bool,
}

/// What happened to one name since a [`Mark`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changes {
    /// What was seen with this answer.
    pub mark: Mark,
    /// Whatever was known before is to be forgotten: these are not changes but a list.
    pub reset: bool,
    /// There is more, which follows at once.
    pub more: bool,
    /// Addresses that are not served any more.
    pub left: Vec<String>,
    /// Servers that came, or say something else about themselves now.
    pub entered: Vec<Instance>,
}
