//! A connection of which a test sees where the bytes lay that either end read or wrote.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the streams are made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Medium {
    Tcp,
    Memory,
}

pub(super) const MEDIA: [Medium; 2] = [Medium::Tcp, Medium::Memory];

/// Where bytes lay that passed, in order.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Range<usize>>>>);

impl Places {
    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn note(&self, bytes: &[u8]) {
        let start = bytes.as_ptr().addr();
        self.0.lock().unwrap().push(start..start + bytes.len());
    }

    /// Bytes that passed.
    pub(super) fn total(&self) -> usize {
        self.0.lock().unwrap().iter().map(Range::len).sum()
    }

    /// How many of these bytes lie where some have passed since the last [`clear`](Self::clear). They
    /// have to be alive since then, so that nothing else lay there.
    pub(super) fn in_place(&self, bytes: &[u8]) -> usize {
        let start = bytes.as_ptr().addr();
        let end = start + bytes.len();
        let places = self.0.lock().unwrap();
        let within = places
            .iter()
            .map(|place| (place.start.max(start), place.end.min(end)));
        let mut within: Vec<_> = within.filter(|(from, to)| from < to).collect();
        within.sort_unstable();
        let mut reached = start;
        let mut count = 0;
        for (from, to) in within {
            count += to.saturating_sub(from.max(reached));
            reached = reached.max(to);
        }
        count
    }
}

/// What one end has read and written.
#[derive(Clone, Default)]
pub(super) struct Watch {
    pub(super) read: Places,
    pub(super) written: Places,
}

impl Watch {
    pub(super) fn clear(&self) {
        self.read.clear();
        self.written.clear();
    }

    fn duplex(
        &self,
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Duplex {
        let reader = Watched(reader, self.read.clone());
        let writer = Watched(writer, self.written.clone());
        Duplex::new(reader, writer, Peer::from_uri("test://watched"))
    }
}

/// Notes where the bytes lie that pass.
struct Watched<T>(T, Places);

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, out))?;
        self.1.note(&out.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        self.1.note(&bytes[..written]);
        Poll::Ready(Ok(written))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Where a client connects and a server listens, and what is seen of either.
pub(super) struct Road {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) listener: Accepting,
    pub(super) client: Watch,
    pub(super) server: Watch,
}

pub(super) async fn road(medium: Medium) -> Road {
    let (accepted, listener) = mpsc::channel(1);
    let (client, server) = (Watch::default(), Watch::default());
    let tcp = match medium {
        Medium::Tcp => Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
        Medium::Memory => None,
    };
    let connector = Arc::new(Dialing {
        tcp,
        accepted,
        client: client.clone(),
        server: server.clone(),
    });
    Road {
        connector,
        listener: Accepting(listener),
        client,
        server,
    }
}

struct Dialing {
    tcp: Option<TcpListener>,
    accepted: mpsc::Sender<Duplex>,
    client: Watch,
    server: Watch,
}

impl fmt::Debug for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialing")
    }
}

#[async_trait]
impl Connector for Dialing {
    async fn connect(&self) -> io::Result<Duplex> {
        let (ours, theirs) = if let Some(listener) = &self.tcp {
            let dialed = TcpStream::connect(listener.local_addr()?);
            let (ours, (theirs, _)) = tokio::try_join!(dialed, listener.accept())?;
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            let ((read, write), (theirs_read, theirs_write)) =
                (ours.into_split(), theirs.into_split());
            (
                self.client.duplex(read, write),
                self.server.duplex(theirs_read, theirs_write),
            )
        } else {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let ((read, write), (theirs_read, theirs_write)) =
                (tokio::io::split(ours), tokio::io::split(theirs));
            (
                self.client.duplex(read, write),
                self.server.duplex(theirs_read, theirs_write),
            )
        };
        self.accepted
            .send(theirs)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(ours)
    }

    fn target(&self) -> String {
        "test://watched".into()
    }
}

pub(super) struct Accepting(mpsc::Receiver<Duplex>);

#[async_trait]
impl Listener for Accepting {
    async fn accept(&mut self) -> io::Result<Duplex> {
        match self.0.recv().await {
            Some(duplex) => Ok(duplex),
            None => std::future::pending().await,
        }
    }

    fn target(&self) -> String {
        "test://watched".into()
    }
}
