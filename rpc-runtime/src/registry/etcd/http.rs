//! One request to one member, on a connection of its own.
//!
//! Why is no connection kept? A server renews every few seconds. A connection that is made for it
//! cannot be one that has died in the meantime.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long a member may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest answer, and longest line of an answer that goes on.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// gRPC's codes that the gateway tells.
const DEADLINE_EXCEEDED: u64 = 4;
const NOT_FOUND: u64 = 5;
const UNAVAILABLE: u64 = 14;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// This member cannot answer; another may.
    Member(String),
    /// The lease does not exist.
    NotFound,
    /// The request makes no sense to etcd, or its answer none to us.
    Final(String),
}

impl Failure {
    fn member(host: &str, cause: impl fmt::Display) -> Self {
        Self::Member(format!("etcd at {host}: {cause}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(text) | Self::Final(text) => f.write_str(text),
            Self::NotFound => f.write_str("etcd: there is no such lease, or its time is over"),
        }
    }
}

impl std::error::Error for Failure {}

/// An answer that goes on: values, one after the other.
pub(super) struct Lines {
    host: String,
    body: Incoming,
    buffer: BytesMut,
    /// `buffer[..searched]` has no end of a line.
    searched: usize,
    _connection: Connection,
}

/// The task that moves the bytes; it ends with the answer.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks a member; ready when its answer has begun. The answer to a `stream` ends if the member loses
/// its leader.
pub(super) async fn post(
    host: &str,
    path: &str,
    body: &Value,
    stream: bool,
) -> Result<Lines, Failure> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, begin(host, path, body, stream)).await;
    answer.unwrap_or_else(|_| Err(Failure::member(host, "no answer in time")))
}

async fn begin(host: &str, path: &str, body: &Value, stream: bool) -> Result<Lines, Failure> {
    let failed = |cause: &dyn fmt::Display| Failure::member(host, cause);
    let stream_to = TcpStream::connect(host).await.map_err(|e| failed(&e))?;
    stream_to.set_nodelay(true).map_err(|e| failed(&e))?;
    let opened = http1::handshake(TokioIo::new(stream_to)).await;
    let (mut sender, connection) = opened.map_err(|e| failed(&e))?;
    let connection = Connection(tokio::spawn(async move {
        // Whoever reads the answer learns of it.
        let _ = connection.await;
    }));
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json");
    if stream {
        request = request.header("grpc-metadata-hasleader", "true");
    }
    let request = request.body(body.to_string());
    let request = request.map_err(|e| Failure::Final(e.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = answer.status();
    let mut lines = Lines {
        host: host.to_owned(),
        body: answer.into_body(),
        buffer: BytesMut::new(),
        searched: 0,
        _connection: connection,
    };
    if status.is_success() {
        return Ok(lines);
    }
    let text = lines.rest().await?;
    Err(refused(host, status.as_u16(), &text))
}

/// Asks a member for one value.
pub(super) async fn ask<T: DeserializeOwned>(
    host: &str,
    path: &str,
    body: &Value,
) -> Result<T, Failure> {
    let asked = async {
        let mut answer = begin(host, path, body, false).await?;
        let text = answer.rest().await?;
        parse(host, &text)
    };
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
    asked.unwrap_or_else(|_| Err(Failure::member(host, "no answer in time")))
}

impl Lines {
    /// The next value; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|b| *b == b'\n');
            if let Some(end) = end {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                return parse(&self.host, &line).map(Some);
            }
            self.searched = self.buffer.len();
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Everything that is left.
    async fn rest(&mut self) -> Result<Bytes, Failure> {
        while self.read().await? {}
        Ok(self.buffer.split().freeze())
    }

    /// False at the end.
    async fn read(&mut self) -> Result<bool, Failure> {
        let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
        let Some(frame) = frame else {
            return Ok(false);
        };
        let frame = frame.map_err(|e| Failure::member(&self.host, e))?;
        if let Ok(data) = frame.into_data() {
            if self.buffer.len() + data.len() > ANSWER_BYTES_MAX {
                let text = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
                return Err(Failure::member(&self.host, text));
            }
            self.buffer.extend_from_slice(&data);
        }
        Ok(true)
    }
}

fn parse<T: DeserializeOwned>(host: &str, text: &[u8]) -> Result<T, Failure> {
    let garbage = |cause| Failure::member(host, format!("its answer makes no sense: {cause}"));
    serde_json::from_slice(text).map_err(garbage)
}

/// What the gateway says instead of an answer.
fn refused(host: &str, status: u16, text: &[u8]) -> Failure {
    let said: Value = serde_json::from_slice(text).unwrap_or_default();
    let message = said["error"].as_str().unwrap_or("no reason given");
    let text = format!("etcd at {host}: {message} (HTTP {status})");
    match said["code"].as_u64() {
        Some(NOT_FOUND) => Failure::NotFound,
        Some(UNAVAILABLE | DEADLINE_EXCEEDED) => Failure::Member(text),
        _ if status >= 500 => Failure::Member(text),
        _ => Failure::Final(text),
    }
}
