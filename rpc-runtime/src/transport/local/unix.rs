//! Unix domain sockets.

use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tokio::net::UnixStream;

use crate::transport::{Connector, Duplex, Listener, Peer, Place};

/// Connects to the socket at a path.
#[derive(Clone, Debug)]
pub struct UnixConnector {
    path: PathBuf,
}

impl UnixConnector {
    /// A connector to the socket at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl Connector for UnixConnector {
    async fn connect(&self) -> io::Result<Duplex> {
        let stream = UnixStream::connect(&*self.path).await?;
        Ok(duplex(stream, &self.path))
    }

    fn target(&self) -> String {
        uri(&self.path)
    }
}

/// Accepts connections on the socket at a path, and removes the socket when dropped, unless what is
/// at the path by then is somebody else's.
#[derive(Debug)]
pub struct UnixListener {
    inner: tokio::net::UnixListener,
    path: PathBuf,
    /// What was made at the path.
    file: Option<FileId>,
}

/// Device and inode. The system gives them to no other file while the socket is open.
type FileId = (u64, u64);

impl UnixListener {
    /// Listens on a path. A socket there that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// As the operating system says; `AddrInUse` if somebody listens, or the path is not a socket.
    pub fn bind(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let inner = match tokio::net::UnixListener::bind(&path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_abandoned(&path) => {
                std::fs::remove_file(&path)?;
                tokio::net::UnixListener::bind(&path)?
            }
            other => other?,
        };
        let file = file_id(&path);
        Ok(Self { inner, path, file })
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        // Whoever moved their socket here, to take over from this one, is to keep it.
        if self.file.is_some() && file_id(&self.path) == self.file {
            // Nothing to be done if it cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[async_trait]
impl Listener for UnixListener {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let (stream, _) = self.inner.accept().await?;
        Ok(duplex(stream, &self.path))
    }

    fn target(&self) -> String {
        uri(&self.path)
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// True for the socket of a process that ended: connecting to it is refused. So is connecting to
/// a file that is no socket, and that belongs to somebody.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return false;
    }
    // Asked once: a refusal comes at once, and whoever lets us wait is alive.
    let connect = pin!(UnixStream::connect(path));
    let answer = connect.poll(&mut Context::from_waker(Waker::noop()));
    matches!(answer, Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused)
}

fn duplex(stream: UnixStream, path: &Path) -> Duplex {
    let (reader, writer) = stream.into_split();
    Duplex::new(reader, writer, Peer::from_uri(uri(path))).to(Place::Near)
}

fn uri(path: &Path) -> String {
    format!("unix://{}", path.display())
}
