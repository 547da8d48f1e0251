//! Memory that the rest of something long is read into: where it belongs, without a copy.

use std::ops::Deref;

use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};

use super::assembly::Assemblies;
use super::guard::Progress;
use crate::wire::Decoder;

/// What has arrived of a frame that is not complete.
#[derive(Debug)]
pub struct Arriving<'a> {
    pub(super) decoder: &'a mut Decoder,
    pub(super) assemblies: &'a mut Assemblies,
    /// Of a side that wants a frame to arrive in time.
    pub(super) progress: Option<&'a mut Progress>,
}

impl Arriving<'_> {
    /// True if the rest of a frame is still to come.
    #[inline]
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        !self.decoder.is_at_boundary()
    }

    /// Where the rest can be read to, if it is that of a piece, or `worthwhile` bytes of items at least,
    /// or twice as many of a body.
    pub fn landing(&mut self, worthwhile: usize) -> Option<Landing> {
        let (place, bytes, missing) = match self.decoder.piece() {
            Some((call, missing)) => {
                let bytes = self.assemblies.take(call, missing)?;
                (Place::Message(call), bytes, missing)
            }
            None => {
                let (bytes, missing) = self.decoder.take_partial(worthwhile)?;
                (Place::Frame, bytes, missing)
            }
        };
        let before = bytes.len();
        Some(Landing {
            place,
            missing: missing.min(bytes.capacity() - before),
            bytes,
            before,
        })
    }

    /// Takes a landing back. What has landed is heard of with the next `handle_input`, which wants
    /// what was read behind it.
    pub fn land(self, mut landing: Landing) -> Behind {
        let count = landing.len();
        if let Some(progress) = self.progress {
            progress.note_bytes(count);
        }
        let behind = landing.take_behind();
        match landing.place {
            Place::Frame => self.decoder.put_partial(landing.bytes),
            Place::Message(call) => {
                self.decoder.piece_landed(count - behind.len());
                self.assemblies.put_back(call, landing.bytes);
            }
        }
        behind
    }
}

/// Room for the rest of a frame or piece that is arriving, and for a little of what comes behind it.
///
/// It is taken out of the state of a connection, so that nobody holds that during a system call, and
/// has to come back before anything else is read, whether something was read into it or not.
#[derive(Debug)]
pub struct Landing {
    place: Place,
    /// What has arrived of the frame or message before, and then what is read.
    bytes: BytesMut,
    before: usize,
    /// Bytes of the frame or piece that were missing, as far as there is room for them.
    missing: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// The frame that the decoder puts together.
    Frame,
    /// The message of this call, which comes in pieces.
    Message(u32),
}

impl Landing {
    /// How much is read behind the end: most often the headers of what is next, so that a row of
    /// long messages takes one read for each piece. They are copied, and hence few.
    pub const BEHIND_BYTES: usize = 64;

    /// Where to read to.
    pub fn room(&mut self) -> Limit<&mut BytesMut> {
        let free = self.bytes.capacity() - self.bytes.len();
        let end = self.before + self.missing + Self::BEHIND_BYTES;
        let limit = free.min(end.saturating_sub(self.bytes.len()));
        (&mut self.bytes).limit(limit)
    }

    /// How much memory there is.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.before
    }

    /// True if nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_behind(&mut self) -> Behind {
        let end = self.before + self.missing;
        let mut behind = Behind::default();
        if let Some(bytes) = self.bytes.get(end..) {
            behind.length = bytes.len().min(Self::BEHIND_BYTES);
            behind.bytes[..behind.length].copy_from_slice(&bytes[..behind.length]);
            self.bytes.truncate(end);
        }
        behind
    }
}

/// What was read behind the end of a frame or piece.
#[derive(Debug)]
pub struct Behind {
    bytes: [u8; Landing::BEHIND_BYTES],
    length: usize,
}

impl Default for Behind {
    fn default() -> Self {
        Self {
            bytes: [0; Landing::BEHIND_BYTES],
            length: 0,
        }
    }
}

impl Deref for Behind {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
