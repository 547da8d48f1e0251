//! Ways to servers in memory that a test closes.

use std::fmt;
use std::io;
use std::sync::Arc;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{DuplexStream, duplex, split};
use tokio::sync::{Mutex, mpsc, watch};

use crate::common::relay::{Passes, carry};

/// The way to one server.
#[derive(Clone)]
pub(crate) struct Road {
    passes: watch::Sender<Passes>,
    sender: mpsc::Sender<DuplexStream>,
    receiver: Arc<Mutex<mpsc::Receiver<DuplexStream>>>,
}

const ROOM: usize = 64 * 1024;

impl Road {
    pub(crate) fn open() -> Self {
        let (sender, receiver) = mpsc::channel(64);
        Self {
            passes: watch::Sender::new(Passes::Everything),
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
        }
    }

    pub(crate) fn let_pass(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

impl fmt::Debug for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Road")
    }
}

#[async_trait]
impl Connector for Road {
    async fn connect(&self) -> io::Result<Duplex> {
        let mut passes = self.passes.subscribe();
        let there = |passes: &Passes| matches!(passes, Passes::Everything | Passes::Reset);
        let passed = *passes.wait_for(there).await.unwrap();
        if passed == Passes::Reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let (ours, near) = duplex(ROOM);
        let (far, theirs) = duplex(ROOM);
        let sent = self.sender.send(theirs).await;
        sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let ((from_client, to_client), (from_server, to_server)) = (split(near), split(far));
        let passes = || self.passes.subscribe();
        tokio::spawn(carry(from_client, to_server, passes(), Passes::ToServer));
        tokio::spawn(carry(from_server, to_client, passes(), Passes::ToClient));
        let (reader, writer) = split(ours);
        Ok(Duplex::new(reader, writer, Peer::from_uri("road://server")))
    }

    fn target(&self) -> String {
        "road://server".into()
    }
}

#[async_trait]
impl Listener for Road {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let accepted = self.receiver.lock().await.recv().await;
        let (reader, writer) = split(accepted.ok_or(io::ErrorKind::NotConnected)?);
        Ok(Duplex::new(reader, writer, Peer::from_uri("road://client")))
    }

    fn target(&self) -> String {
        "road://server".into()
    }
}
