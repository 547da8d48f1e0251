//! What a peer has to do: serve, connect, and four calls.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// One RPC framework.
pub trait Peer: 'static {
    type Client: Client;

    /// Serves on a free port of the loopback interface for as long as the process lives; says which
    /// with `listening` as soon as it takes connections.
    fn serve(listening: impl FnOnce(SocketAddr) + Send) -> impl Future<Output = Result<()>> + Send;

    /// Opens one connection.
    fn connect(server: SocketAddr) -> impl Future<Output = Result<Self::Client>> + Send;
}

/// One connection. Its clones share it.
pub trait Client: Clone + Send + Sync + 'static {
    /// The payload comes back as it is.
    fn echo(&self, payload: &Bytes)
    -> impl Future<Output = Result<impl AsRef<[u8]> + Send>> + Send;

    /// [`Record::sample`](crate::Record::sample) in the peer's own types, there and back. Tells how
    /// many items came back.
    fn record(&self) -> impl Future<Output = Result<usize>> + Send;

    /// As `echo`, after the server did the work.
    fn work(
        &self,
        work: Work,
        payload: &Bytes,
    ) -> impl Future<Output = Result<impl AsRef<[u8]> + Send>> + Send;

    /// A stream of `count` times the payload from the server. Tells how many came.
    fn items(&self, count: u32, payload: &Bytes) -> impl Future<Output = Result<u32>> + Send {
        let _ = (count, payload);
        async { Err(not_available("streams")) }
    }
}

/// The error of a call that a peer does not have.
pub fn not_available(what: &str) -> Box<dyn Error + Send + Sync> {
    format!("{what}: not available").into()
}

/// What a handler does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Gives the thread back once: it is pending at its first poll.
    Yield,
    /// Waits for a timer, in microseconds.
    Sleep(u32),
    /// Computes without giving the thread back, in microseconds.
    Spin(u32),
}

impl Work {
    /// The two numbers that a peer sends: which work, and how long.
    pub fn to_numbers(self) -> (u32, u32) {
        match self {
            Self::Yield => (0, 0),
            Self::Sleep(micros) => (1, micros),
            Self::Spin(micros) => (2, micros),
        }
    }

    /// What `to_numbers` made; unknown work is `Yield`.
    pub fn from_numbers(which: u32, micros: u32) -> Self {
        match which {
            1 => Self::Sleep(micros),
            2 => Self::Spin(micros),
            _ => Self::Yield,
        }
    }

    /// Does it, in a handler.
    pub async fn run(self) {
        match self {
            Self::Yield => tokio::task::yield_now().await,
            Self::Sleep(micros) => tokio::time::sleep(Duration::from_micros(micros.into())).await,
            Self::Spin(micros) => {
                let end = Instant::now() + Duration::from_micros(micros.into());
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            }
        }
    }
}
