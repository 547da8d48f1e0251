//! TCP, over IPv4 and IPv6, without Nagle's delay.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream, ToSocketAddrs};

use super::{Connector, Duplex, Listener, Peer, Place};
use crate::boxed::{Boxed, boxed};

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
            let stream = TcpStream::connect(&self.address).await?;
            duplex(stream)
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

impl Listener for TcpListener {
    fn accept<'l: 'f, 'f>(&'l mut self) -> Boxed<'f, io::Result<Duplex>> {
        boxed(async {
            loop {
                let (stream, _) = self.inner.accept().await?;
                // A visitor that has vanished already: no reason for the server to pause.
                if let Ok(duplex) = duplex(stream) {
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

/// The congestion control of connections that stay on this machine, where there is no network to look
/// after: BBR, which many systems have for the sake of theirs, holds back what is written there, with a
/// timer for each 64 KiB. This one does no more than it has to, and is always there.
#[cfg(target_os = "linux")]
const CONGESTION_CONTROL_WITHIN: &[u8] = b"reno";

fn duplex(stream: TcpStream) -> io::Result<Duplex> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    let place = match stays_within(stream.local_addr()?, peer) {
        true => Place::Near,
        false => Place::Far,
    };
    #[cfg(target_os = "linux")]
    {
        let socket = socket2::SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        if place == Place::Near {
            // As fast as the system has it, where that is not allowed.
            let _ = socket.set_tcp_congestion(CONGESTION_CONTROL_WITHIN);
        }
    }
    let (reader, writer) = stream.into_split();
    Ok(Duplex::new(reader, writer, Peer::from_address(peer)).to(place))
}

/// True if what is sent between these two does not leave the machine: to itself, it goes by loopback
/// also from an address of a network.
fn stays_within(local: SocketAddr, peer: SocketAddr) -> bool {
    local.ip() == peer.ip() || peer.ip().to_canonical().is_loopback()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Both ends of a connection over loopback, as they are before anything is set.
    async fn pair() -> [std::net::TcpStream; 2] {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let server = listener.accept().await.unwrap().0;
        [client.unwrap(), server].map(|stream| stream.into_std().unwrap())
    }

    /// What is set on one end, seen by a twin of it.
    fn duplex_and_twin(stream: std::net::TcpStream) -> (Duplex, socket2::Socket) {
        let twin = socket2::Socket::from(stream.try_clone().unwrap());
        (duplex(TcpStream::from_std(stream).unwrap()).unwrap(), twin)
    }

    /// T5: on either side.
    #[tokio::test]
    async fn t5_unacknowledged_bytes_are_given_up_after_20_seconds() {
        for stream in pair().await {
            let (kept, twin) = duplex_and_twin(stream);
            assert_eq!(twin.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
            drop(kept);
        }
    }

    #[tokio::test]
    async fn no_network_is_looked_after_on_the_way_to_oneself() {
        let probe =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if probe.set_tcp_congestion(CONGESTION_CONTROL_WITHIN).is_err() {
            // It is not allowed here, and then all is as the system has it.
            return;
        }
        for stream in pair().await {
            // Another than is wanted, where the system has one.
            let _ = socket2::SockRef::from(&stream).set_tcp_congestion(b"cubic");
            let (kept, twin) = duplex_and_twin(stream);
            let name = twin.tcp_congestion().unwrap();
            let name = name.split(|byte| *byte == 0).next();
            assert_eq!(name, Some(CONGESTION_CONTROL_WITHIN));
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
