//! Ways that do not leave the machine: Unix sockets, and pipes within one process.

mod memory;
#[cfg(unix)]
mod unix;

pub use memory::{MemoryConnector, MemoryListener};
#[cfg(unix)]
pub use unix::{UnixConnector, UnixListener};

use std::fmt;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;

use super::{Connector, Listener};

/// What is known beside TCP, for who asks for something else.
pub(super) const SCHEMES: &str = ", unix, mem";

/// A place on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The path of a socket.
    #[cfg(unix)]
    Unix(PathBuf),
    /// A name within this process.
    Memory(String),
}

impl Place {
    /// The place that a target names; `None` if the scheme is of another kind, or why it is none.
    pub(super) fn parse(scheme: &str, rest: &str) -> Option<Result<Self, &'static str>> {
        match scheme {
            #[cfg(unix)]
            "unix" if rest.is_empty() => Some(Err("the path is empty")),
            #[cfg(unix)]
            "unix" => Some(Ok(Self::Unix(rest.into()))),
            "mem" if rest.is_empty() => Some(Err("the name is empty")),
            "mem" => Some(Ok(Self::Memory(rest.to_owned()))),
            _ => None,
        }
    }

    pub(super) fn connector(&self) -> Arc<dyn Connector> {
        match self {
            #[cfg(unix)]
            Self::Unix(path) => Arc::new(UnixConnector::new(path)),
            Self::Memory(name) => Arc::new(MemoryConnector::new(name)),
        }
    }

    pub(super) fn listen(&self) -> io::Result<Box<dyn Listener>> {
        Ok(match self {
            #[cfg(unix)]
            Self::Unix(path) => Box::new(UnixListener::bind(path)?),
            Self::Memory(name) => Box::new(MemoryListener::bind(name)?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Memory(name) => write!(f, "mem://{name}"),
        }
    }
}
