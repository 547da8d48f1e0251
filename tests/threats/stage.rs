//! A server under attack, and a canary: a client on another connection that must not notice.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use rpc::transport::{Duplex, Listener, Peer};
use rpc::{Channel, Server};
use serde::{Deserialize, Serialize};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An attack takes a second at the most; one that takes this long has made something hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a handler says when it panics as it was told to.
pub(crate) const ON_PURPOSE: &str = "on purpose: s3cr3t";

/// A type that may hold itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub(crate) inner: Option<Box<Self>>,
}

#[rpc::service]
pub(crate) trait Target {
    async fn echo(&self, n: u64) -> rpc::Result<u64>;
    async fn texts(&self, texts: Vec<String>) -> rpc::Result<u64>;
    async fn text(&self, text: String) -> rpc::Result<u64>;
    async fn bytes(&self, bytes: Vec<u8>) -> rpc::Result<u64>;
    async fn units(&self, units: Vec<()>) -> rpc::Result<u64>;
    async fn large(&self, large: Vec<[[u64; 25]; 4]>) -> rpc::Result<u64>;
    async fn tree(&self, tree: Tree) -> rpc::Result<u64>;
    async fn truth(&self, truth: bool) -> rpc::Result<u64>;
    async fn letter(&self, letter: char) -> rpc::Result<u64>;
    async fn maybe(&self, maybe: Option<u8>) -> rpc::Result<u64>;
    async fn outcome(&self, outcome: Result<u8, u8>) -> rpc::Result<u64>;
    async fn number(&self, number: i64) -> rpc::Result<u64>;
    async fn panic(&self) -> rpc::Result<()>;
    async fn panic_later(&self) -> rpc::Result<()>;
    async fn wait(&self) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self, text: String) -> rpc::Result<()>;
}

pub(crate) struct Quiet;

impl Target for Quiet {
    async fn echo(&self, n: u64) -> rpc::Result<u64> {
        Ok(n)
    }
    async fn texts(&self, texts: Vec<String>) -> rpc::Result<u64> {
        Ok(texts.len() as u64)
    }
    async fn text(&self, text: String) -> rpc::Result<u64> {
        Ok(text.len() as u64)
    }
    async fn bytes(&self, bytes: Vec<u8>) -> rpc::Result<u64> {
        Ok(bytes.len() as u64)
    }
    async fn units(&self, units: Vec<()>) -> rpc::Result<u64> {
        Ok(units.len() as u64)
    }
    async fn large(&self, large: Vec<[[u64; 25]; 4]>) -> rpc::Result<u64> {
        Ok(large.len() as u64)
    }
    async fn tree(&self, tree: Tree) -> rpc::Result<u64> {
        let depth = std::iter::successors(Some(&tree), |tree| tree.inner.as_deref()).count();
        Ok(depth as u64)
    }
    async fn truth(&self, truth: bool) -> rpc::Result<u64> {
        Ok(u64::from(truth))
    }
    async fn letter(&self, letter: char) -> rpc::Result<u64> {
        Ok(u64::from(u32::from(letter)))
    }
    async fn maybe(&self, maybe: Option<u8>) -> rpc::Result<u64> {
        Ok(maybe.map_or(0, u64::from))
    }
    async fn outcome(&self, outcome: Result<u8, u8>) -> rpc::Result<u64> {
        Ok(outcome.map_or(0, u64::from))
    }
    async fn number(&self, number: i64) -> rpc::Result<u64> {
        Ok(number.unsigned_abs())
    }
    async fn panic(&self) -> rpc::Result<()> {
        panic::panic_any(ON_PURPOSE.to_owned())
    }
    async fn panic_later(&self) -> rpc::Result<()> {
        tokio::task::yield_now().await;
        panic::panic_any(ON_PURPOSE.to_owned())
    }
    async fn wait(&self) -> rpc::Result<()> {
        std::future::pending().await
    }
    async fn note(&self, _: String) -> rpc::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Panics of this test that nobody asked for.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the panics that are not on purpose, and keeps quiet about those that are.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<String>();
            if text.is_none_or(|text| text != ON_PURPOSE) {
                PANICS.set(PANICS.get() + 1);
                report(info);
            }
        }));
    });
}

/// A server on TCP and one in memory with the same service, and the canary.
pub(crate) struct Stage {
    runtime: Runtime,
    pub(crate) server: Server,
    pub(crate) pipes: Pipes,
    _memory_server: Server,
}

impl Stage {
    pub(crate) fn new() -> Self {
        watch_panics();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let service = || Server::builder().add_service(TargetServer::new(Quiet));
        let server = runtime.block_on(service().bind("tcp://127.0.0.1:0"));
        let (pipes, listener) = pipes();
        let memory_server = {
            let _inside = runtime.enter();
            service().serve(listener).unwrap()
        };
        let stage = Self {
            runtime,
            server: server.unwrap(),
            pipes,
            _memory_server: memory_server,
        };
        // Whatever is allocated once is allocated here.
        stage.attack(async {});
        stage
    }

    /// The address of the server, `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.server.uri().trim_start_matches("tcp://")
    }

    pub(crate) async fn connect(&self) -> TargetClient {
        TargetClient::connect(self.server.uri()).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, codec: rpc::Codec) -> Channel {
        let builder = Channel::builder().codec(codec);
        builder.connect(self.server.uri()).await.unwrap()
    }

    /// Runs an attack while the canary sings; tells what was allocated meanwhile.
    ///
    /// The canary calls both servers, one call after the other, and every call succeeds.
    pub(crate) fn attack(&self, attack: impl Future<Output = ()>) -> AllocationInfo {
        let panics = PANICS.get();
        let canary = self.runtime.block_on(self.connect());
        let counted = measure(|| {
            self.runtime.block_on(async {
                let attack = timeout(PATIENCE, attack);
                tokio::pin!(attack);
                let mut sung = 0;
                loop {
                    let song = async {
                        assert_eq!(canary.echo(sung).await.expect("the canary"), sung);
                    };
                    tokio::select! {
                        biased;
                        ended = &mut attack => break ended.expect("a call hangs"),
                        () = song => sung += 1,
                    }
                }
                for _ in 0..10 {
                    assert_eq!(canary.echo(sung).await.expect("the canary"), sung);
                    sung += 1;
                }
            });
        });
        assert_eq!(PANICS.get(), panics, "panics that nobody asked for");
        counted
    }
}

/// Opens connections in memory, as many as no socket allows.
#[derive(Clone)]
pub(crate) struct Pipes {
    connections: mpsc::Sender<DuplexStream>,
}

impl Pipes {
    pub(crate) async fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.connections.send(theirs).await.unwrap();
        ours
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipes")
    }
}

struct PipeListener {
    connections: mpsc::Receiver<DuplexStream>,
}

fn pipes() -> (Pipes, PipeListener) {
    let (sender, connections) = mpsc::channel(64);
    let pipes = Pipes {
        connections: sender,
    };
    (pipes, PipeListener { connections })
}

#[rpc::async_trait]
impl Listener for PipeListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let stream = self.connections.recv().await;
        let (reader, writer) = tokio::io::split(stream.ok_or(io::ErrorKind::NotConnected)?);
        Ok(Duplex::new(reader, writer, Peer::from_uri("pipe://")))
    }

    fn target(&self) -> String {
        "pipe://".to_owned()
    }
}
