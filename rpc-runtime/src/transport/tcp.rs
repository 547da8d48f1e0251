//! TCP, over IPv4 and IPv6, without Nagle's delay.

use std::io;

use async_trait::async_trait;
use tokio::net::{TcpStream, ToSocketAddrs};

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
        let inner = tokio::net::TcpListener::bind(address).await?;
        let target = format!("tcp://{}", inner.local_addr()?);
        Ok(Self { inner, target })
    }
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
