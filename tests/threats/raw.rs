//! A peer that writes bytes of its own making: nothing here uses the code under test.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

pub(crate) const REQUEST: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const GO_AWAY: u8 = 10;
const CHUNK: u8 = 11;

const FLAGS_OFFSET: usize = 9;
/// The body follows in pieces.
const MORE: u8 = 1 << 5;

pub(crate) const INVALID_ARGUMENT: u16 = 3;
pub(crate) const RESOURCE_EXHAUSTED: u16 = 8;

/// Version 1, bincode, no extensions.
pub(crate) const HELLO: &[u8; 16] = b"\x93rpc\x01\x01\x01\0\0\0\0\0\0\0\0\0";

/// The header of a request for `Service.method`, with a length that need not be true.
pub(crate) fn request_header(call: u32, path: &str, length: u32) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&call.to_le_bytes());
    bytes.extend_from_slice(&[REQUEST, 0, 0, 0]);
    bytes.extend_from_slice(&fnv_1a(path).to_le_bytes());
    bytes
}

pub(crate) fn request(call: u32, path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = request_header(call, path, body.len() as u32);
    bytes.extend_from_slice(body);
    bytes
}

/// A request whose body of this length is to follow in pieces.
pub(crate) fn request_in_pieces(call: u32, path: &str, length: u32) -> Vec<u8> {
    let mut bytes = request(call, path, &length.to_le_bytes());
    bytes[FLAGS_OFFSET] = MORE;
    bytes
}

/// A piece of the body of a call.
pub(crate) fn chunk(call: u32, piece: &[u8]) -> Vec<u8> {
    let mut bytes = (piece.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&call.to_le_bytes());
    bytes.extend_from_slice(&[CHUNK, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(piece);
    bytes
}

fn fnv_1a(path: &str) -> u32 {
    path.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// A frame as it arrived.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) call: u32,
    /// The code of an error.
    pub(crate) extra: u16,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind, call, extra, ..
        } = self;
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "frame {kind} for {call}, {extra}: {body:?}")
    }
}

/// A connection whose hello was accepted.
pub(crate) struct Raw<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// A server that is silent for this long has nothing to say.
    const PATIENCE: Duration = Duration::from_secs(5);

    pub(crate) async fn open(mut stream: S) -> Self {
        stream.write_all(HELLO).await.unwrap();
        let mut ack = [0; 16];
        stream.read_exact(&mut ack).await.unwrap();
        assert_eq!(ack[5], 0, "accepted");
        let extensions = u32::from_le_bytes(*ack.last_chunk().unwrap());
        let mut skipped = vec![0; extensions as usize];
        stream.read_exact(&mut skipped).await.unwrap();
        Self { stream }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` when the server has closed the connection.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let frame = timeout(Self::PATIENCE, self.read_frame()).await;
        frame.expect("the server says nothing and stays")
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header).await.ok()?;
        let (length, rest) = header.split_first_chunk().unwrap();
        let (call, rest) = rest.split_first_chunk().unwrap();
        let mut body = vec![0; u32::from_le_bytes(*length) as usize];
        self.stream.read_exact(&mut body).await.unwrap();
        Some(Frame {
            kind: rest[0],
            call: u32::from_le_bytes(*call),
            extra: u16::from_le_bytes([rest[2], rest[3]]),
            body,
        })
    }

    /// The next frame is the reason of a close, and then the connection ends.
    pub(crate) async fn assert_closed(&mut self) {
        let frame = self.read().await.expect("a reason");
        assert_eq!((frame.kind, frame.call), (GO_AWAY, 0), "{frame:?}");
        assert!(self.read().await.is_none());
    }
}
