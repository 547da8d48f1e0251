//! Bytes as a peer of another make would write them: nothing here uses the code under test.

pub(crate) const HEADER_BYTES: usize = 16;

pub(crate) const REQUEST: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const CANCEL: u8 = 4;
pub(crate) const ITEM: u8 = 5;
pub(crate) const END: u8 = 6;
pub(crate) const CREDIT: u8 = 7;
pub(crate) const PING: u8 = 8;
pub(crate) const PONG: u8 = 9;
pub(crate) const GO_AWAY: u8 = 10;
pub(crate) const CHUNK: u8 = 11;

pub(crate) const METADATA: u8 = 1;
pub(crate) const ONEWAY: u8 = 2;
pub(crate) const MORE: u8 = 1 << 5;
pub(crate) const ITEMS: u8 = 1 << 6;

/// The fixed part of a hello or ack, bytes 4 to 7 as given, and its extension block.
pub(crate) fn preface(head: [u8; 4], extensions: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93rpc".to_vec();
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(extensions.len() as u32).to_le_bytes());
    bytes.extend_from_slice(extensions);
    bytes
}

/// One entry of an extension block.
pub(crate) fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut entry = kind.to_le_bytes().to_vec();
    entry.extend_from_slice(&(value.len() as u16).to_le_bytes());
    entry.extend_from_slice(value);
    entry
}

/// The least hello: version 1, bincode.
pub(crate) fn hello() -> Vec<u8> {
    preface([1, 1, 1, 0], &[])
}

/// The least acceptance: version 1, bincode.
pub(crate) fn ack() -> Vec<u8> {
    preface([1, 0, 1, 0], &[])
}

/// A frame with every field of its header.
#[derive(Clone, Copy, Default)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) call: u32,
    pub(crate) flags: u8,
    pub(crate) extra: u16,
    pub(crate) method: u32,
    pub(crate) body: &'a [u8],
}

impl Frame<'_> {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = header(self.body.len() as u32, self).to_vec();
        bytes.extend_from_slice(self.body);
        bytes
    }
}

/// A header that claims a body of `length` bytes.
pub(crate) fn header(length: u32, frame: Frame<'_>) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&frame.call.to_le_bytes());
    bytes[8] = frame.kind;
    bytes[9] = frame.flags;
    bytes[10..12].copy_from_slice(&frame.extra.to_le_bytes());
    bytes[12..16].copy_from_slice(&frame.method.to_le_bytes());
    bytes
}

/// A request for [`ECHO`](super::harness::ECHO).
pub(crate) fn request(call: u32, body: &[u8]) -> Vec<u8> {
    request_for(super::harness::ECHO.number(), call, body)
}

pub(crate) fn request_for(method: u32, call: u32, body: &[u8]) -> Vec<u8> {
    let kind = REQUEST;
    Frame {
        kind,
        call,
        method,
        body,
        ..Frame::default()
    }
    .bytes()
}

/// A frame of this kind for this call.
pub(crate) fn frame(kind: u8, call: u32, body: &[u8]) -> Vec<u8> {
    Frame {
        kind,
        call,
        body,
        ..Frame::default()
    }
    .bytes()
}

/// A metadata block with its length in front.
pub(crate) fn metadata<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = vec![0; 2];
    for (key, value) in pairs {
        block.push(key.len() as u8);
        block.extend_from_slice(key);
        block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        block.extend_from_slice(value);
    }
    let length = u16::try_from(block.len() - 2).unwrap();
    block[..2].copy_from_slice(&length.to_le_bytes());
    block
}
