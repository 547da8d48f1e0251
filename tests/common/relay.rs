//! Ways between two ends that a test closes: nothing passes in one direction or both, or all that
//! are on them are thrown off.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

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

const ROOM: usize = 64 * 1024;

/// Carries bytes on while they pass in this direction, until all are reset.
pub(crate) async fn carry(
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

/// A place to connect to with TCP instead of another. Dropped, it is as if it had never been.
pub(crate) struct Relay {
    pub(crate) host: String,
    passes: watch::Sender<Passes>,
    accepting: tokio::task::AbortHandle,
}

impl Relay {
    /// A way to `server`, a host and a port, which need not listen yet.
    pub(crate) async fn open(server: &str) -> Self {
        Self::over(
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            server,
            |_| (),
        )
    }

    /// The same, in which the kernel has next to no room for what waits.
    pub(crate) async fn open_narrow(server: &str) -> Self {
        let narrow = |socket: &TcpSocket| socket.set_recv_buffer_size(4096).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        narrow(&socket);
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::over(socket.listen(64).unwrap(), server, narrow)
    }

    fn over(listener: TcpListener, server: &str, set: fn(&TcpSocket)) -> Self {
        let host = listener.local_addr().unwrap().to_string();
        let passes = watch::Sender::new(Passes::Everything);
        let (server, subscribed) = (server.to_owned(), passes.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let passes = subscribed.subscribe();
                tokio::spawn(relay(client, server.clone(), set, passes));
            }
        });
        Self {
            host,
            passes,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn let_pass(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.let_pass(Passes::Reset);
        self.accepting.abort();
    }
}

/// Between one client and the server.
async fn relay(
    mut client: TcpStream,
    server: String,
    set: fn(&TcpSocket),
    mut passes: watch::Receiver<Passes>,
) {
    let there = |passes: &Passes| matches!(passes, Passes::Everything | Passes::Reset);
    let passed = passes.wait_for(there).await.map(|passed| *passed);
    if !passed.is_ok_and(|passed| passed == Passes::Everything) {
        return reset(&client);
    }
    // Whom nobody serves is hung up on.
    let socket = TcpSocket::new_v4().unwrap();
    set(&socket);
    let Ok(mut server) = socket.connect(server.parse().unwrap()).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let _ = tokio::join!(
        carry(from_client, to_server, passes.clone(), Passes::ToServer),
        carry(from_server, to_client, passes.clone(), Passes::ToClient),
    );
    if *passes.borrow() == Passes::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Closing it is a reset, not an end.
fn reset(stream: &TcpStream) {
    // One that has been reset already cannot be told.
    let _ = stream.set_zero_linger();
}
