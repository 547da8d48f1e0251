//! The congestion control of connections that stay on this machine, where there is no network to look
//! after.
//!
//! BBR, which many systems have for the sake of theirs, holds back what is written, with a timer for
//! each 64 KiB. It leaves these timers behind if another takes its place, so such a connection must
//! never have had it: what it is to have is said before there is a connection, to the socket that
//! connects or listens. Elsewhere than on Linux all of it is left to the system.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

#[cfg(target_os = "linux")]
use super::is_loopback;
use crate::transport::Place;

/// Does no more than it has to, and is always there.
#[cfg(target_os = "linux")]
const WITHIN: &[u8] = b"reno";

/// How the connections of a socket begin.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// As if they stayed on this machine.
    #[cfg(target_os = "linux")]
    within: bool,
    /// What the system has for networks, if they begin without it and may yet need it.
    #[cfg(target_os = "linux")]
    for_networks: Option<Vec<u8>>,
}

#[cfg(target_os = "linux")]
impl Congestion {
    /// Said to a socket that is going to listen at an address.
    pub(super) fn of_listener(socket: &TcpSocket, address: SocketAddr) -> Self {
        let socket = socket2::SockRef::from(socket);
        let for_networks = match is_loopback(address) {
            true => None,
            // Who connects from where is not known yet; what is no BBR can be replaced later.
            false => match of_system(&socket) {
                Some(name) if name.starts_with(b"bbr") => Some(name),
                _ => return Self::default(),
            },
        };
        Self::begin_within(&socket, for_networks)
    }

    /// Said to a socket that is going to connect to an address.
    pub(super) fn of_client(socket: &TcpSocket, address: SocketAddr) -> Self {
        // To connect to the address that listens everywhere is to connect to oneself.
        match is_loopback(address) || address.ip().is_unspecified() {
            true => Self::begin_within(&socket2::SockRef::from(socket), None),
            false => Self::default(),
        }
    }

    fn begin_within(socket: &socket2::Socket, for_networks: Option<Vec<u8>>) -> Self {
        match socket.set_tcp_congestion(WITHIN) {
            Ok(()) => Self {
                within: true,
                for_networks,
            },
            // As fast as the system has it, where that is not allowed.
            Err(_) => Self::default(),
        }
    }

    /// Said to a connection before anything is sent: now it is known where the other end is.
    pub(super) fn settle(&self, stream: &TcpStream, place: Place) {
        let name = match (place, &self.for_networks) {
            (Place::Near, _) if self.within => return,
            (Place::Near, _) => WITHIN,
            (Place::Far | Place::Unknown, Some(name)) => name,
            (Place::Far | Place::Unknown, None) => return,
        };
        let _ = socket2::SockRef::from(stream).set_tcp_congestion(name);
    }
}

/// What a socket has that was told nothing.
#[cfg(target_os = "linux")]
fn of_system(socket: &socket2::Socket) -> Option<Vec<u8>> {
    let mut name = socket.tcp_congestion().ok()?;
    name.truncate(
        name.iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len()),
    );
    Some(name)
}

#[cfg(not(target_os = "linux"))]
impl Congestion {
    pub(super) fn of_listener(_: &TcpSocket, _: SocketAddr) -> Self {
        Self::default()
    }

    pub(super) fn of_client(_: &TcpSocket, _: SocketAddr) -> Self {
        Self::default()
    }

    pub(super) fn settle(&self, _: &TcpStream, _: Place) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::{connect, listen};
    use super::*;

    fn name(stream: &TcpStream) -> Vec<u8> {
        of_system(&socket2::SockRef::from(stream)).unwrap()
    }

    /// What a connection has that nobody has told anything; none if it is not allowed to tell it, where
    /// all is as the system has it.
    fn of_untold() -> Option<Vec<u8>> {
        let probe = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let probe = probe.unwrap();
        let untold = of_system(&probe).unwrap();
        probe.set_tcp_congestion(WITHIN).is_ok().then_some(untold)
    }

    /// Both ends of a connection over loopback, as they begin.
    async fn pair(listen_at: [u8; 4]) -> [(TcpStream, Congestion); 2] {
        let (listener, congestion) = listen((listen_at, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = connect(&format!("127.0.0.1:{port}")).await.unwrap();
        [client, (listener.accept().await.unwrap().0, congestion)]
    }

    #[tokio::test]
    async fn a_connection_over_loopback_never_has_that_of_networks() {
        if of_untold().is_none() {
            return;
        }
        for (stream, congestion) in pair([127, 0, 0, 1]).await {
            assert_eq!(name(&stream), WITHIN);
            congestion.settle(&stream, Place::Near);
            assert_eq!(name(&stream), WITHIN);
        }
    }

    #[tokio::test]
    async fn a_server_for_all_has_that_of_networks_for_those_who_are_there() {
        let Some(untold) = of_untold() else { return };
        let [_, (stream, congestion)] = pair([0, 0, 0, 0]).await;
        let begins = match untold.starts_with(b"bbr") {
            true => WITHIN,
            false => &untold,
        };
        assert_eq!(name(&stream), begins);
        congestion.settle(&stream, Place::Far);
        assert_eq!(name(&stream), untold);
        // From an address of this machine, which only the connection tells.
        Congestion::default().settle(&stream, Place::Near);
        assert_eq!(name(&stream), WITHIN);
    }
}
