//! TCP, over IPv4 and IPv6, without Nagle's delay.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpSocket, TcpStream, ToSocketAddrs};

use super::{Connector, Duplex, Listener, Peer};

/// Connects to `host:port`; a name is resolved at each attempt.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    address: String,
}

impl TcpConnector {
    /// A connector to `host:port`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
        }
    }
}

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self) -> io::Result<Duplex> {
        let stream = TcpStream::connect(&self.address).await?;
        duplex(stream)
    }

    fn target(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpListener {
    inner: tokio::net::TcpListener,
    target: String,
}

impl TcpListener {
    /// Listens on an address; port 0 lets the system choose.
    ///
    /// # Errors
    /// As the operating system says; most often the address is in use.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for address in tokio::net::lookup_host(address).await? {
            match listen(address) {
                Ok(inner) => {
                    let target = format!("tcp://{}", inner.local_addr()?);
                    return Ok(Self { inner, target });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Connections that wait to be accepted. With the 128 that are usual, the clients of a server that
/// restarts find its queue full, and ask again only after a second.
const BACKLOG: u32 = 1024;

fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The connections of a server that is gone do not keep the next one from its port. On Windows
    // the option means something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        loop {
            let (stream, _) = self.inner.accept().await?;
            // A visitor that has vanished already: no reason for the server to pause.
            if let Ok(duplex) = duplex(stream) {
                return Ok(duplex);
            }
        }
    }

    fn target(&self) -> String {
        self.target.clone()
    }
}

fn duplex(stream: TcpStream) -> io::Result<Duplex> {
    stream.set_nodelay(true)?;
    let peer = Peer::from_address(stream.peer_addr()?);
    let (reader, writer) = stream.into_split();
    Ok(Duplex::new(reader, writer, peer))
}
