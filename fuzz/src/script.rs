//! Input as a script: what happens next, and with what.

use std::time::{Duration, Instant};

/// Reads a script; one that is used up gives zeros.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// So many bytes, or what is left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A time from nothing over milliseconds and minutes to all there is.
    pub(crate) fn time(&mut self) -> Duration {
        let byte = self.byte();
        let count = u32::from(byte & 0x3f);
        match byte >> 6 {
            0 => Duration::from_millis(1) * count,
            1 => Duration::from_millis(100) * count,
            2 => Duration::from_secs(10) * count,
            _ => match count {
                0 => Duration::from_nanos(1),
                1 => Duration::MAX,
                _ => Duration::from_secs(3600) * count,
            },
        }
    }
}

/// Cuts what a side has written into frames: kind, flags, low bits of the call id, body.
pub(crate) struct Written {
    bytes: Vec<u8>,
    /// How many of them were cut off: read <= bytes.len()
    read: usize,
    /// Bytes of hello or ack are still to come.
    opening: bool,
}

impl Written {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            read: 0,
            opening: true,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        self.read == self.bytes.len()
    }

    pub(crate) fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let header: [u8; 16] = *self.bytes[self.read..].first_chunk()?;
        let field = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let length = if self.opening { field(12) } else { field(0) } as usize;
        let end = self.read + 16 + length;
        let body = self.bytes.get(self.read + 16..end)?.to_vec();
        self.read = end;
        if std::mem::take(&mut self.opening) {
            assert_eq!(&header[..4], b"\x93rpc");
            return self.next();
        }
        Some((header[8], header[9], field(4), body))
    }
}

/// Messages in pieces, as a side writes them: by call, the bytes that are to come, and whether they
/// are items.
#[derive(Default)]
pub(crate) struct Pieces(std::collections::BTreeMap<u32, (usize, bool)>);

impl Pieces {
    const CHUNK: u8 = 11;
    const ITEM: u8 = 5;
    pub(crate) const MORE: u8 = 1 << 5;

    /// A frame that ends or continues what its call says; true if it is a message that is whole, or
    /// becomes so.
    pub(crate) fn note(&mut self, kind: u8, flags: u8, call: u32, body: &[u8]) -> bool {
        if kind == Self::CHUNK {
            let (missing, is_items) = self.0.get_mut(&call).expect("a piece of something");
            assert!(!body.is_empty() && body.len() <= *missing);
            *missing -= body.len();
            let whole = *missing == 0 && !*is_items;
            if *missing == 0 {
                self.0.remove(&call);
            }
            return whole;
        }
        assert!(!self.0.contains_key(&call), "within the pieces of another");
        if flags & Self::MORE == 0 {
            return kind != Self::ITEM;
        }
        let length = body.last_chunk().map(|raw| u32::from_le_bytes(*raw));
        let length = length.expect("a length") as usize;
        self.0.insert(call, (length, kind == Self::ITEM));
        false
    }

    /// The rest of a message will not come.
    pub(crate) fn cut(&mut self, call: u32) {
        self.0.remove(&call);
    }
}

/// Where the virtual clock starts.
#[allow(
    clippy::disallowed_methods,
    reason = "a clock that is told has to start somewhere"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// Time may be told up to here; the script can ask for more than there is.
pub(crate) fn later(now: Instant, time: Duration) -> Instant {
    let most = Duration::from_secs(1 << 20);
    now + time.min(most)
}
