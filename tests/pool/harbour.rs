//! A server, and a network that numbers the connections to it, cuts them, or lets none through.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{
    Channel, ChannelBuilder, ConnectionPool, ConnectionStats, Context, Peer, Server, Streaming,
    async_trait,
};
use tokio::io::{DuplexStream, copy_bidirectional, split};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

#[rpc::service]
pub(crate) trait Work {
    /// The number of the connection that the call came on.
    async fn echo(&self) -> rpc::Result<usize>;
    /// The same, once the test lets one more go.
    async fn wait(&self) -> rpc::Result<usize>;
    /// The same, after so many milliseconds.
    async fn pause(&self, millis: u64) -> rpc::Result<usize>;
    /// The same, every millisecond.
    async fn stream(&self) -> rpc::Result<Streaming<usize>>;
}

#[derive(Clone)]
struct Worker(Arc<Log>);

/// What the handlers did.
#[derive(Debug)]
pub(crate) struct Log {
    /// Lets handlers of `wait` go.
    pub(crate) go: Semaphore,
    /// Handlers at work, by connection.
    running: Mutex<BTreeMap<usize, usize>>,
    /// The most of them at once on one connection.
    most: AtomicUsize,
}

impl Log {
    pub(crate) fn running(&self) -> usize {
        self.running.lock().unwrap().values().sum()
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(SeqCst)
    }

    fn begin(&self) -> Handling<'_> {
        let context = Context::current();
        let peer = context.peer().unwrap().to_string();
        let number = peer.rsplit('/').next().unwrap().parse().unwrap();
        let mut running = self.running.lock().unwrap();
        let count = running.entry(number).or_default();
        *count += 1;
        self.most.fetch_max(*count, SeqCst);
        Handling { log: self, number }
    }
}

struct Handling<'a> {
    log: &'a Log,
    number: usize,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let mut running = self.log.running.lock().unwrap();
        *running.get_mut(&self.number).unwrap() -= 1;
    }
}

impl Work for Worker {
    async fn echo(&self) -> rpc::Result<usize> {
        Ok(self.0.begin().number)
    }
    async fn wait(&self) -> rpc::Result<usize> {
        let handling = self.0.begin();
        self.0.go.acquire().await.unwrap().forget();
        Ok(handling.number)
    }
    async fn pause(&self, millis: u64) -> rpc::Result<usize> {
        let handling = self.0.begin();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(handling.number)
    }
    async fn stream(&self) -> rpc::Result<Streaming<usize>> {
        let number = self.0.begin().number;
        let items = futures_util::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((number, ()))
        });
        Ok(Streaming::new(items))
    }
}

/// The network, the server, and what its handlers did.
pub(crate) struct Harbour {
    pub(crate) net: Net,
    pub(crate) server: Server,
    pub(crate) log: Arc<Log>,
}

impl Harbour {
    pub(crate) fn new() -> Self {
        let log = Arc::new(Log {
            go: Semaphore::new(0),
            running: Mutex::default(),
            most: AtomicUsize::new(0),
        });
        let (sender, receiver) = mpsc::channel(64);
        let net = Net(Arc::new(Wires {
            sender: Mutex::new(sender),
            bridges: Mutex::default(),
            delay: Mutex::default(),
            is_blocked: AtomicBool::new(false),
            open: Arc::default(),
            most: AtomicUsize::new(0),
        }));
        let server = serve(&log, receiver);
        Self { net, server, log }
    }

    /// Another server takes the connections from now on; gives the one there was.
    pub(crate) fn replace_server(&mut self) -> Server {
        let (sender, receiver) = mpsc::channel(64);
        *self.net.0.sender.lock().unwrap() = sender;
        std::mem::replace(&mut self.server, serve(&self.log, receiver))
    }

    /// A client that connects when it is first used.
    pub(crate) fn client(&self, pool: ConnectionPool) -> WorkClient {
        self.client_of(Channel::builder().connection_pool(pool))
    }

    pub(crate) fn client_of(&self, builder: ChannelBuilder) -> WorkClient {
        WorkClient::new(builder.with_connector(Arc::new(self.net.clone())))
    }
}

fn serve(log: &Arc<Log>, connections: mpsc::Receiver<(usize, DuplexStream)>) -> Server {
    let builder = Server::builder().add_service(WorkServer::new(Worker(log.clone())));
    builder.serve(Pier(connections)).unwrap()
}

pub(crate) fn stats(client: &WorkClient) -> ConnectionStats {
    client.channel().stats().connections
}

/// Numbered connections.
#[derive(Clone)]
pub(crate) struct Net(Arc<Wires>);

type Sender = mpsc::Sender<(usize, DuplexStream)>;

struct Wires {
    /// To the server there is.
    sender: Mutex<Sender>,
    /// What carries the bytes of each connection.
    bridges: Mutex<Vec<JoinHandle<()>>>,
    /// How long connecting takes.
    delay: Mutex<Duration>,
    is_blocked: AtomicBool,
    open: Arc<AtomicUsize>,
    most: AtomicUsize,
}

impl Net {
    /// How many connections there have been.
    pub(crate) fn made(&self) -> usize {
        self.0.bridges.lock().unwrap().len()
    }

    /// How many are open, as the network sees it.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(SeqCst)
    }

    /// The most that were open at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    /// Breaks a connection.
    pub(crate) fn cut(&self, number: usize) {
        self.0.bridges.lock().unwrap()[number].abort();
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.0.is_blocked.store(is_blocked, SeqCst);
    }
}

/// Counts a connection as open until the end of its bridge.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl Connector for Net {
    async fn connect(&self) -> io::Result<Duplex> {
        let delay = *self.0.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.0.is_blocked.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, mut left) = tokio::io::duplex(64 * 1024);
        let (mut right, theirs) = tokio::io::duplex(64 * 1024);
        let open = self.0.open.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(open, SeqCst);
        let open = Open(self.0.open.clone());
        let bridge = tokio::spawn(async move {
            let _open = open;
            let _ = copy_bidirectional(&mut left, &mut right).await;
        });
        let number = {
            let mut bridges = self.0.bridges.lock().unwrap();
            bridges.push(bridge);
            bridges.len() - 1
        };
        let sender = self.0.sender.lock().unwrap().clone();
        let sent = sender.send((number, theirs)).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let (reader, writer) = split(ours);
        let peer = Peer::from_uri("test://server");
        Ok(Duplex::new(Box::new(reader), Box::new(writer), peer))
    }

    fn target(&self) -> String {
        "test://server".into()
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

/// Where the server accepts.
struct Pier(mpsc::Receiver<(usize, DuplexStream)>);

#[async_trait]
impl Listener for Pier {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let Some((number, stream)) = self.0.recv().await else {
            return std::future::pending().await;
        };
        let (reader, writer) = split(stream);
        let peer = Peer::from_uri(format!("test://client/{number}"));
        Ok(Duplex::new(Box::new(reader), Box::new(writer), peer))
    }

    fn target(&self) -> String {
        "test://server".into()
    }
}
