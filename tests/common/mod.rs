//! What several test files need: places to listen on, and a network that a test controls.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod process;
pub(crate) mod relay;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

/// A name that nothing else in this process has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", std::process::id())
}

/// A path for a socket that nothing else has.
pub(crate) fn socket_path() -> PathBuf {
    std::env::temp_dir()
        .join(unique("rpc-test"))
        .with_extension("sock")
}

/// Fails instead of hanging: nothing in these tests takes this long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("the test does not end")
}

/// Runs other tasks until a condition holds.
///
/// The patience is that of the wall clock: where Tokio's is stopped, it does not go on while a task
/// is ready to run.
#[expect(clippy::disallowed_methods, reason = "see above")]
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(30), "the test does not end");
        tokio::task::yield_now().await;
    }
}

/// Two ends of a network in memory whose client side a test may damage.
pub(crate) fn network(
    damage: impl Fn(usize, Ends) -> Ends + Send + Sync + 'static,
) -> (Wires, Exchange) {
    let (sender, receiver) = mpsc::channel(64);
    let wires = Wires {
        sender,
        damage: Arc::new(damage),
        opened: Arc::default(),
    };
    (wires, Exchange { receiver })
}

/// The client's reader and writer.
pub(crate) type Ends = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

type Damage = dyn Fn(usize, Ends) -> Ends + Send + Sync;

/// Connects within a [`network`].
#[derive(Clone)]
pub(crate) struct Wires {
    sender: mpsc::Sender<DuplexStream>,
    damage: Arc<Damage>,
    opened: Arc<AtomicUsize>,
}

impl Wires {
    /// How often the client connected.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// A stream to the server for a test that plays the client.
    pub(crate) async fn dial(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.sender.send(theirs).await.expect("the server is there");
        ours
    }

    /// True once nobody accepts any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

#[async_trait]
impl Connector for Wires {
    async fn connect(&self) -> io::Result<Duplex> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let sent = self.sender.send(theirs).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let (reader, writer) = tokio::io::split(ours);
        let (reader, writer) = (self.damage)(number, (Box::new(reader), Box::new(writer)));
        Ok(Duplex::new(reader, writer, Peer::from_uri("test://server")))
    }

    fn target(&self) -> String {
        "test://server".into()
    }
}

/// Accepts within a [`network`].
pub(crate) struct Exchange {
    receiver: mpsc::Receiver<DuplexStream>,
}

impl Exchange {
    /// The server's end of the next connection, for a test that plays the server.
    pub(crate) async fn next(&mut self) -> DuplexStream {
        self.receiver.recv().await.expect("the client is there")
    }
}

#[async_trait]
impl Listener for Exchange {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let Some(stream) = self.receiver.recv().await else {
            return std::future::pending().await;
        };
        let (reader, writer) = tokio::io::split(stream);
        Ok(Duplex::new(reader, writer, Peer::from_uri("test://client")))
    }

    fn target(&self) -> String {
        "test://server".into()
    }
}

/// Reads as many bytes as it was told, then ends.
pub(crate) struct Cut<R> {
    pub(crate) reader: R,
    pub(crate) left: usize,
}

impl<R: AsyncRead + Unpin> AsyncRead for Cut<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(Ok(()));
        }
        let most = this.left.min(out.remaining());
        let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
        let polled = Pin::new(&mut this.reader).poll_read(cx, &mut part);
        let count = part.filled().len();
        this.left -= count;
        out.advance(count);
        polled
    }
}

/// The bytes of a client that a test plays itself: `[open.hello]` and `[frame.header]` of
/// `docs/protocol.md`, written out.
pub(crate) mod raw {
    pub(crate) const MAGIC: [u8; 4] = [0x93, b'r', b'p', b'c'];

    /// A hello without extensions.
    pub(crate) fn hello(version: u8, codec: u8) -> Vec<u8> {
        let fixed = [version, version, codec, 0];
        [&MAGIC[..], &fixed, &[0; 8]].concat()
    }

    pub(crate) const REQUEST: u8 = 1;
    pub(crate) const RESPONSE: u8 = 2;
    pub(crate) const ERROR: u8 = 3;
    pub(crate) const CANCEL: u8 = 4;
    pub(crate) const CREDIT: u8 = 7;
    pub(crate) const PING: u8 = 8;
    pub(crate) const PONG: u8 = 9;
    pub(crate) const CHUNK: u8 = 11;
    pub(crate) const METADATA: u8 = 1;
    pub(crate) const ONEWAY: u8 = 2;
    pub(crate) const MORE: u8 = 1 << 5;

    /// The header of a request that announces a body.
    pub(crate) fn request(call: u32, flags: u8, method: u32, length: u32) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend_from_slice(&length.to_le_bytes());
        header.extend_from_slice(&call.to_le_bytes());
        header.extend_from_slice(&[REQUEST, flags, 0, 0]);
        header.extend_from_slice(&method.to_le_bytes());
        header
    }

    /// The header of a piece that announces so many bytes.
    pub(crate) fn chunk(call: u32, length: u32) -> Vec<u8> {
        let mut header = request(call, 0, 0, length);
        header[8] = CHUNK;
        header
    }

    /// The fixed part and the extensions of an ack.
    pub(crate) async fn read_ack(
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
    ) -> ([u8; 16], Vec<u8>) {
        use tokio::io::AsyncReadExt;
        let mut fixed = [0; 16];
        stream.read_exact(&mut fixed).await.unwrap();
        let length = u32::from_le_bytes(fixed[12..].try_into().unwrap());
        let mut rest = vec![0; length as usize];
        stream.read_exact(&mut rest).await.unwrap();
        (fixed, rest)
    }

    /// The header and the body of a frame.
    pub(crate) async fn read_frame(
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
    ) -> ([u8; 16], Vec<u8>) {
        use tokio::io::AsyncReadExt;
        let mut header = [0; 16];
        stream.read_exact(&mut header).await.unwrap();
        let length = u32::from_le_bytes(header[..4].try_into().unwrap());
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.unwrap();
        (header, body)
    }
}

/// A place that never answers.
#[derive(Debug)]
pub(crate) struct Blackhole;

#[async_trait]
impl Connector for Blackhole {
    async fn connect(&self) -> io::Result<Duplex> {
        std::future::pending().await
    }

    fn target(&self) -> String {
        "test://blackhole".into()
    }
}

/// A place that is far away: connecting takes a while.
#[derive(Clone, Debug)]
pub(crate) struct Remote(pub(crate) Wires, pub(crate) Duration);

#[async_trait]
impl Connector for Remote {
    async fn connect(&self) -> io::Result<Duplex> {
        tokio::time::sleep(self.1).await;
        self.0.connect().await
    }

    fn target(&self) -> String {
        self.0.target()
    }
}

/// Passes as many bytes as it was told in its direction, then nothing, without an end.
pub(crate) struct Stuck<T> {
    pub(crate) inner: T,
    pub(crate) left: usize,
}

impl<R: AsyncRead + Unpin> AsyncRead for Stuck<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Pending;
        }
        let most = this.left.min(out.remaining());
        let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
        let polled = Pin::new(&mut this.inner).poll_read(cx, &mut part);
        let count = part.filled().len();
        this.left -= count;
        out.advance(count);
        polled
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Stuck<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Pending;
        }
        let part = &bytes[..bytes.len().min(this.left)];
        let written = std::task::ready!(Pin::new(&mut this.inner).poll_write(cx, part))?;
        this.left -= written;
        Poll::Ready(Ok(written))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Counts what happens in handlers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
    /// Counts when it is dropped.
    pub(crate) fn on_drop(&self) -> CountDrop {
        CountDrop(self.clone())
    }
}

/// Counts its end.
pub(crate) struct CountDrop(Count);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}
