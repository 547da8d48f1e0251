//! Who serves a name: from one string to a list of endpoints that follows the fleet.
//!
//! What if the place that knows is down, or says nonsense? A [`Source`] only tells what it hears;
//! a [`Watch`] keeps the last good list whatever the source does, and asks again at a pace that
//! many clients together do not hurt. Nothing here is on the path of a call.

mod dns;
mod endpoint;
mod name;
mod resolvers;
mod snapshot;
mod static_list;
mod watch;

pub use dns::{Answer, DnsResolver, Lookup, SystemLookup};
pub use endpoint::{Attributes, Endpoint};
pub use name::Name;
pub use resolvers::Resolvers;
pub use snapshot::{Change, Snapshot};
pub use static_list::StaticList;
pub use watch::Watch;

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;

/// Why a source could not be asked, or could not answer. For people: nothing is decided by it.
pub type SourceError = Box<dyn StdError + Send + Sync>;

/// Most endpoints in a list. A longer one is taken for garbage.
pub const ENDPOINTS_MAX: usize = 10_000;

/// Knows the names of one scheme, for example `dns://`. Implement it for a directory of your own
/// and give it to [`Resolvers::with`].
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// Begins to watch a name. Nothing is asked yet.
    ///
    /// # Errors
    /// The name cannot be one of this scheme.
    fn watch(&self, name: &Name) -> Result<Box<dyn Source>, SourceError>;
}

/// The endpoints of one name, as one directory tells them.
#[async_trait]
pub trait Source: Send + 'static {
    /// The whole list as it is now, when asked for the first time or after an error; after that,
    /// the whole list once it may be another. Order and repetitions do not matter.
    ///
    /// The future is dropped when nobody watches any more.
    ///
    /// # Errors
    /// The directory cannot be reached or does not make sense. The last list stays, and the source
    /// is asked again after a pause.
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError>;

    /// Whether an empty list can be believed. If not, the last list that named somebody stays: to
    /// call one that may have gone is better than to call nobody because a directory lost its
    /// memory.
    fn is_empty_believed(&self) -> bool {
        false
    }
}
