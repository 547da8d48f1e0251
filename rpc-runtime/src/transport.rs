//! Byte streams between processes: TCP, Unix sockets, memory, or what a user brings.
//!
//! What does a transport have to guarantee? An ordered, reliable byte stream in both directions and
//! nothing else: framing, multiplexing and time-outs are built on top.

mod connectors;
#[cfg(feature = "local")]
mod local;
#[cfg(not(feature = "local"))]
#[path = "transport/nonlocal.rs"]
mod local;
mod target;
mod tcp;

pub(crate) use connectors::Connectors;
#[cfg(feature = "local")]
pub use local::{MemoryConnector, MemoryListener};
#[cfg(all(feature = "local", unix))]
pub use local::{UnixConnector, UnixListener};
pub(crate) use target::Target;
pub use tcp::{TcpConnector, TcpListener};

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::boxed::Boxed;
use crate::error::{Error, Kind};

/// Opens byte streams to one place; implemented with `#[rpc::async_trait]` and `async fn`.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Opens one more stream. Dropping the future gives up the attempt.
    ///
    /// # Errors
    /// Nobody listens there, or the place cannot be reached.
    fn connect<'c, 'f>(&'c self) -> Boxed<'f, io::Result<Duplex>>
    where
        'c: 'f,
        Self: 'f;

    /// The place, as a target URI; for error messages.
    fn target(&self) -> String;
}

/// Accepts byte streams; implemented with `#[rpc::async_trait]` and `async fn`.
pub trait Listener: Send + 'static {
    /// Waits for the next stream. Dropping the future loses no stream.
    ///
    /// # Errors
    /// The server waits a little and accepts again, whatever the error.
    fn accept<'l, 'f>(&'l mut self) -> Boxed<'f, io::Result<Duplex>>
    where
        'l: 'f,
        Self: 'f;

    /// Where clients reach this listener, as a target URI with the real port.
    fn target(&self) -> String;
}

/// One end of a byte stream, split into its two directions.
pub struct Duplex {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) peer: Peer,
    pub(crate) place: Place,
}

/// Where the other end of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anywhere: it may even share a thread with this end.
    Unknown,
    /// In a process on this machine.
    Near,
    /// On another machine.
    Far,
}

impl Duplex {
    /// A stream from its two halves, and who is at the other end. The writer is flushed after each
    /// batch of frames, so it may buffer.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            peer,
            place: Place::Unknown,
        }
    }

    /// The same, where the place of the other end is known.
    const fn to(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    inner: Arc<PeerInner>,
}

#[derive(Debug, PartialEq, Eq)]
struct PeerInner {
    uri: Arc<str>,
    address: Option<SocketAddr>,
}

impl Peer {
    /// A peer with an IP address and port.
    #[must_use]
    pub fn from_address(address: SocketAddr) -> Self {
        Self::new(format!("tcp://{address}").into(), Some(address))
    }

    /// A peer without an IP address, known by this URI.
    #[must_use]
    pub fn from_uri(uri: impl Into<Arc<str>>) -> Self {
        Self::new(uri.into(), None)
    }

    fn new(uri: Arc<str>, address: Option<SocketAddr>) -> Self {
        Self {
            inner: Arc::new(PeerInner { uri, address }),
        }
    }

    /// The IP address and port, where the transport has them.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.uri)
    }
}

/// The connector for a target that comes with this crate.
fn connector(target: &Target) -> Arc<dyn Connector> {
    match target {
        Target::Tcp(address) => Arc::new(TcpConnector::new(address)),
        Target::Local(place) => place.connector(),
    }
}

/// Listens on a target.
pub(crate) async fn listen(target: &Target) -> Result<Box<dyn Listener>, Error> {
    let listener: io::Result<Box<dyn Listener>> = match target {
        Target::Tcp(address) => TcpListener::bind(address).await.map(boxed),
        Target::Local(place) => place.listen(),
    };
    listener
        .map_err(|e| Error::new(Kind::Bind, format!("cannot listen on {target}")).with_source(e))
}

fn boxed(listener: impl Listener) -> Box<dyn Listener> {
    Box::new(listener)
}
