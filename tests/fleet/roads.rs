//! Ways to servers that a test closes: nothing passes in one direction or both, or all that are on
//! them are thrown off.

use std::fmt;
use std::io;
use std::sync::Arc;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::{Mutex, mpsc, watch};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    Everything,
    /// What is sent is not lost: it arrives once everything passes again, as with TCP.
    Nothing,
    ToServer,
    ToClient,
    /// Connections are reset, and none can be made.
    Reset,
}

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

/// Carries bytes on while they pass in this direction.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passes: watch::Receiver<Passes>,
    direction: Passes,
) -> io::Result<()> {
    let mut bytes = vec![0; ROOM];
    let mut reset = passes.clone();
    let carrying = async {
        loop {
            let count = from.read(&mut bytes).await?;
            let is_open = |passes: &Passes| *passes == Passes::Everything || *passes == direction;
            let _ = passes.wait_for(is_open).await;
            if count == 0 {
                return to.shutdown().await;
            }
            to.write_all(&bytes[..count]).await?;
        }
    };
    tokio::select! {
        carried = carrying => carried,
        _ = reset.wait_for(|passes| *passes == Passes::Reset) => Ok(()),
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
