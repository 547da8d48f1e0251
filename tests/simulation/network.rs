//! The transports of a simulation: the library's parameters, over a network that is simulated.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 7000;

/// How streams behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wiring {
    /// A write takes at most this many bytes, so that a frame is cut anywhere.
    pub(crate) piece_max: usize,
    /// How often of a hundred times a connect opens a second stream, which leads to nothing.
    pub(crate) duplicates: u32,
}

/// Connects to a host of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct SimConnector {
    pub(crate) host: String,
    pub(crate) wiring: Wiring,
    pub(crate) plugs: Plugs,
}

#[async_trait]
impl Connector for SimConnector {
    async fn connect(&self) -> io::Result<Duplex> {
        if fastrand::u32(0..100) < self.wiring.duplicates {
            self.duplicate().await?;
        }
        let stream = TcpStream::connect((&*self.host, PORT)).await?;
        duplex(stream, self.wiring, &self.plugs)
    }

    fn target(&self) -> String {
        target(&self.host)
    }
}

/// Where a host is, as a target URI.
pub(crate) fn target(host: &str) -> String {
    format!("tcp://{host}:{PORT}")
}

impl SimConnector {
    /// A stream whose client loses interest: at once, later, or after part of a hello.
    async fn duplicate(&self) -> io::Result<()> {
        let stream = TcpStream::connect((&*self.host, PORT)).await?;
        let (reader, mut writer) = halves(stream, self.wiring, &self.plugs);
        if fastrand::bool() {
            writer.write_all(&[0x93, b'r', b'p']).await?;
        }
        let linger = Duration::from_millis(fastrand::u64(0..50));
        tokio::spawn(async move {
            tokio::time::sleep(linger).await;
            drop((reader, writer));
        });
        Ok(())
    }
}

/// Accepts on the host that it is bound on.
pub(crate) struct SimListener {
    host: String,
    inner: TcpListener,
    wiring: Wiring,
    plugs: Plugs,
}

impl SimListener {
    /// Listens on `host`, which is this one; waits until the one before has left the address.
    pub(crate) async fn bind(host: &str, wiring: Wiring, plugs: Plugs) -> io::Result<Self> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let inner = loop {
            match TcpListener::bind((any, PORT)).await {
                // A server that is dropped leaves its address when its task next runs.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                other => break other?,
            }
        };
        Ok(Self {
            host: host.to_owned(),
            inner,
            wiring,
            plugs,
        })
    }
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let (stream, _) = self.inner.accept().await?;
        duplex(stream, self.wiring, &self.plugs)
    }

    fn target(&self) -> String {
        target(&self.host)
    }
}

fn duplex(stream: TcpStream, wiring: Wiring, plugs: &Plugs) -> io::Result<Duplex> {
    let peer = Peer::from_address(stream.peer_addr()?);
    let (reader, writer) = halves(stream, wiring, plugs);
    Ok(Duplex::new(reader, writer, peer))
}

fn halves(
    stream: TcpStream,
    wiring: Wiring,
    plugs: &Plugs,
) -> (Plugged<OwnedReadHalf>, Plugged<OwnedWriteHalf>) {
    let (reader, writer) = stream.into_split();
    (plugs.plug(reader, wiring), plugs.plug(writer, wiring))
}

/// The streams of one host.
///
/// A runtime that is dropped drops its tasks in an order that depends on what else the process has
/// done. A host that crashes pulls all plugs in the order in which the streams were opened, so that
/// the crash looks the same each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plugs(Arc<Socket>);

#[derive(Debug, Default)]
struct Socket {
    crashing: AtomicBool,
    plugs: Mutex<Vec<Arc<dyn Plug>>>,
}

trait Plug: fmt::Debug + Send + Sync {
    fn pull(&self);
}

impl<T: fmt::Debug + Send> Plug for Mutex<Option<T>> {
    fn pull(&self) {
        // Dropped without the lock.
        let half = self.lock().unwrap().take();
        drop(half);
    }
}

impl Plugs {
    /// To be told before and after a crash.
    pub(crate) fn set_crashing(&self, crashing: bool) {
        self.0.crashing.store(crashing, Ordering::Relaxed);
    }

    fn is_crashing(&self) -> bool {
        self.0.crashing.load(Ordering::Relaxed)
    }

    fn plug<T: fmt::Debug + Send + 'static>(&self, half: T, wiring: Wiring) -> Plugged<T> {
        let half = Arc::new(Mutex::new(Some(half)));
        let mut plugs = self.0.plugs.lock().unwrap();
        plugs.retain(|plug| Arc::strong_count(plug) > 1);
        plugs.push(half.clone());
        Plugged {
            half,
            wiring,
            plugs: self.clone(),
        }
    }

    fn pull_all(&self) {
        let plugs = std::mem::take(&mut *self.0.plugs.lock().unwrap());
        plugs.iter().for_each(|plug| plug.pull());
    }
}

/// One half of a stream.
#[derive(Debug)]
struct Plugged<T: fmt::Debug + Send + 'static> {
    half: Arc<Mutex<Option<T>>>,
    wiring: Wiring,
    plugs: Plugs,
}

impl<T: fmt::Debug + Send + Unpin> Plugged<T> {
    fn with<R>(&self, act: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        let over = || Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        if self.plugs.is_crashing() || !turmoil::in_simulation() {
            // What is left of the host is being dropped.
            return over();
        }
        match &mut *self.half.lock().unwrap() {
            Some(half) => act(Pin::new(half)),
            None => over(),
        }
    }
}

impl<T: fmt::Debug + Send + 'static> Drop for Plugged<T> {
    fn drop(&mut self) {
        if self.plugs.is_crashing() {
            self.plugs.pull_all();
        }
        self.half.pull();
    }
}

impl AsyncRead for Plugged<OwnedReadHalf> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|half| half.poll_read(cx, bytes))
    }
}

/// Writes a random part of what it is given.
impl AsyncWrite for Plugged<OwnedWriteHalf> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece_max = self.wiring.piece_max;
        self.with(|half| {
            let piece = fastrand::usize(1..=piece_max).min(bytes.len());
            half.poll_write(cx, &bytes[..piece])
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|half| half.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|half| half.poll_shutdown(cx))
    }
}
