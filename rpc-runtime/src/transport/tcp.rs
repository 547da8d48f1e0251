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

/// How long the system tries to deliver bytes that are not acknowledged: a peer that has gone without
/// a word is noticed also where there is no keep-alive, or nothing is awaited. Elsewhere than on Linux
/// that is left to the system, which takes some minutes.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

fn duplex(stream: TcpStream) -> io::Result<Duplex> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let peer = Peer::from_address(stream.peer_addr()?);
    let (reader, writer) = stream.into_split();
    Ok(Duplex::new(reader, writer, peer))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// T5: on either side.
    #[tokio::test]
    async fn t5_unacknowledged_bytes_are_given_up_after_20_seconds() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let server = listener.accept().await.unwrap().0;
        for stream in [client.unwrap(), server] {
            let stream = stream.into_std().unwrap();
            let twin = socket2::Socket::from(stream.try_clone().unwrap());
            let kept = duplex(TcpStream::from_std(stream).unwrap()).unwrap();
            assert_eq!(twin.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
            drop(kept);
        }
    }
}
