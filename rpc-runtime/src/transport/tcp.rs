//! TCP, over IPv4 and IPv6, without Nagle's delay.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream, ToSocketAddrs};

use super::{Connector, Duplex, Listener, Peer, Place};
use crate::boxed::{Boxed, boxed};
use congestion::Congestion;

mod congestion;

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

impl Connector for TcpConnector {
    fn connect<'c: 'f, 'f>(&'c self) -> Boxed<'f, io::Result<Duplex>> {
        boxed(async {
            let (stream, congestion) = connect(&self.address).await?;
            duplex(stream, &congestion)
        })
    }

    fn target(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpListener {
    inner: tokio::net::TcpListener,
    congestion: Congestion,
    target: String,
}

impl TcpListener {
    /// Listens on an address; port 0 lets the system choose.
    ///
    /// # Errors
    /// As the operating system says; most often the address is in use.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failed = no_address();
        for address in tokio::net::lookup_host(address).await? {
            match listen(address) {
                Ok((inner, congestion)) => {
                    let target = format!("tcp://{}", inner.local_addr()?);
                    return Ok(Self {
                        inner,
                        congestion,
                        target,
                    });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// To the first of its addresses that takes the connection.
async fn connect(address: &str) -> io::Result<(TcpStream, Congestion)> {
    let mut failed = no_address();
    for address in tokio::net::lookup_host(address).await? {
        let socket = socket(address)?;
        let congestion = Congestion::of_client(&socket, address);
        match socket.connect(address).await {
            Ok(stream) => return Ok((stream, congestion)),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")
}

/// Connections that wait to be accepted. With the 128 that are usual, the clients of a server that
/// restarts find its queue full, and ask again only after a second.
const BACKLOG: u32 = 1024;

fn listen(address: SocketAddr) -> io::Result<(tokio::net::TcpListener, Congestion)> {
    let socket = socket(address)?;
    let congestion = Congestion::of_listener(&socket, address);
    // The connections of a server that is gone do not keep the next one from its port. On Windows
    // the option means something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok((socket.listen(BACKLOG)?, congestion))
}

impl Listener for TcpListener {
    fn accept<'l: 'f, 'f>(&'l mut self) -> Boxed<'f, io::Result<Duplex>> {
        boxed(async {
            loop {
                let (stream, _) = self.inner.accept().await?;
                // A visitor that has vanished already: no reason for the server to pause.
                if let Ok(duplex) = duplex(stream, &self.congestion) {
                    return Ok(duplex);
                }
            }
        })
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

fn duplex(stream: TcpStream, congestion: &Congestion) -> io::Result<Duplex> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    let place = match stays_within(stream.local_addr()?, peer) {
        true => Place::Near,
        false => Place::Far,
    };
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    congestion.settle(&stream, place);
    let (reader, writer) = stream.into_split();
    Ok(Duplex::new(reader, writer, Peer::from_address(peer)).to(place))
}

/// True if what is sent between these two does not leave the machine: to itself, it goes by loopback
/// also from an address of a network.
fn stays_within(local: SocketAddr, peer: SocketAddr) -> bool {
    local.ip() == peer.ip() || is_loopback(peer)
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// T5: on either side.
    #[tokio::test]
    async fn t5_unacknowledged_bytes_are_given_up_after_20_seconds() {
        let (listener, congestion) = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = connect(&address).await.unwrap();
        let server = (listener.accept().await.unwrap().0, congestion);
        for (stream, congestion) in [client, server] {
            let stream = stream.into_std().unwrap();
            let twin = socket2::Socket::from(stream.try_clone().unwrap());
            let kept = duplex(TcpStream::from_std(stream).unwrap(), &congestion).unwrap();
            assert_eq!(twin.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
            drop(kept);
        }
    }

    #[test]
    fn what_leaves_the_machine_is_told_from_what_does_not() {
        let stays =
            |local: &str, peer: &str| stays_within(local.parse().unwrap(), peer.parse().unwrap());
        assert!(stays("127.0.0.1:1", "127.0.0.1:2"));
        assert!(stays("[::1]:1", "[::1]:2"));
        assert!(stays("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.2]:2"));
        assert!(stays("10.0.0.7:1", "10.0.0.7:2"));
        assert!(!stays("10.0.0.7:1", "10.0.0.8:2"));
        assert!(!stays("[2001:db8::1]:1", "[2001:db8::2]:1"));
    }
}
