//! Pipes within one process, found by name: for tests and for services that live together.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::transport::{Connector, Duplex, Listener, Peer};

/// Bytes that a pipe holds in each direction before its writer waits.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 1024;

/// The names that are listened on in this process.
static LISTENERS: Mutex<Option<HashMap<String, Entrance>>> = Mutex::new(None);

#[derive(Clone, Debug)]
struct Entrance {
    connections: mpsc::Sender<DuplexStream>,
    pipe_bytes: usize,
}

fn listeners() -> MutexGuard<'static, Option<HashMap<String, Entrance>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects to the listener with a name in this process.
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    name: String,
}

impl MemoryConnector {
    /// A connector to this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Connector for MemoryConnector {
    async fn connect(&self) -> io::Result<Duplex> {
        let entrance = listeners()
            .as_ref()
            .and_then(|all| all.get(&self.name).cloned());
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let entrance = entrance.ok_or_else(refused)?;
        let (ours, theirs) = tokio::io::duplex(entrance.pipe_bytes);
        let sent = entrance.connections.send(theirs).await;
        sent.map_err(|_| refused())?;
        Ok(duplex(ours, &self.name))
    }

    fn target(&self) -> String {
        uri(&self.name)
    }
}

/// Accepts connections to a name in this process; the name is free again when it is dropped.
#[derive(Debug)]
pub struct MemoryListener {
    name: String,
    connections: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    /// Listens on a name, with pipes of 64 KiB.
    ///
    /// # Errors
    /// `AddrInUse` if the name is taken.
    pub fn bind(name: impl Into<String>) -> io::Result<Self> {
        Self::bind_with_pipe(name, PIPE_BYTES)
    }

    /// Listens on a name, with pipes that hold this many bytes in each direction.
    ///
    /// # Errors
    /// `AddrInUse` if the name is taken.
    pub fn bind_with_pipe(name: impl Into<String>, pipe_bytes: usize) -> io::Result<Self> {
        let name = name.into();
        let (sender, connections) = mpsc::channel(BACKLOG);
        let mut listeners = listeners();
        let all = listeners.get_or_insert_default();
        if all.contains_key(&name) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let entrance = Entrance {
            connections: sender,
            pipe_bytes,
        };
        all.insert(name.clone(), entrance);
        Ok(Self { name, connections })
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        listeners().get_or_insert_default().remove(&self.name);
    }
}

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let stream = self.connections.recv().await;
        // The sender lives in the table as long as this listener does.
        let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        Ok(duplex(stream, &self.name))
    }

    fn target(&self) -> String {
        uri(&self.name)
    }
}

fn duplex(stream: DuplexStream, name: &str) -> Duplex {
    let (reader, writer) = tokio::io::split(stream);
    Duplex::new(reader, writer, Peer::from_uri(uri(name)))
}

fn uri(name: &str) -> String {
    format!("mem://{name}")
}
