//! From a byte stream, cut anywhere, to frames.

use bytes::BytesMut;

use super::header::{Flags, HEADER_BYTES, Header, Kind};
use super::{Body, CHUNK_BYTES_MAX, LONG_CHUNK_BYTES_MAX, WireError};
use crate::spare;

/// What the stream holds next.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// A header and its body.
    Whole(Header, Body<'a>),
    /// A frame whose body is over the limit; the body will be skipped.
    Oversized(Header),
    /// As much of a piece as this header says was read to where it belongs, and is not here.
    Landed(Header),
}

/// Finds replies without flags, which are nothing but a message.
///
/// It is there only if the input begins with a frame, so that this is not asked for each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainReplies {
    bytes_max: usize,
}

impl PlainReplies {
    /// The number of the call, its message and what is behind, as [`Decoder::peek`] finds them; `None` also if
    /// the next frame is another.
    #[inline]
    pub(crate) fn peek(self, input: &[u8]) -> Option<(u32, &[u8], &[u8])> {
        let (raw, rest) = input.split_first_chunk()?;
        let header = Header::parse(raw);
        if header.kind != Kind::Response || header.flags != Flags::NONE {
            return None;
        }
        let (body, rest) = rest.split_at_checked(header.length as usize)?;
        (body.len() <= self.bytes_max).then_some((header.call, body, rest))
    }
}

/// Cuts a byte stream into frames.
///
/// Frames that lie whole in the input are borrowed from it. Only the frame at the end of the input,
/// if cut, is copied, into a buffer that exists for just that long: an idle decoder holds no memory.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    /// The bytes so far of a frame that is not complete.
    partial: BytesMut,
    /// Bytes of an oversized body that are still to come.
    skip: usize,
    /// The piece of a message of which more is to come: it is handed on as it arrives.
    piece: Option<Header>,
    /// Bytes of the piece that have landed and were not told: 0 <= landed <= piece.length
    landed: u32,
}

impl Decoder {
    /// The longest body that is skipped rather than answered by closing the connection.
    pub const SKIP_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// The most that is allocated because a length field says so.
    const TRUSTED_BYTES_MAX: usize = 64 * 1024;
    /// From here on the memory of a frame is used again for others.
    const LONG_BYTES: usize = 16 * 1024;
    /// The longest body of a frame that carries no message.
    const CONTROL_BYTES_MAX: usize = 16 * 1024;

    /// A decoder that accepts messages up to this length, and what may come with them.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            partial: BytesMut::new(),
            skip: 0,
            piece: None,
            landed: 0,
        }
    }

    /// The next frame, and `input` moved past it; `None` when more bytes are needed, with `input`
    /// used up.
    ///
    /// # Errors
    /// A length so large that skipping it would be pointless.
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, WireError> {
        if let Some((header, body, rest)) = self.peek(input) {
            *input = rest;
            return Ok(Some(Frame::Whole(header, Body::Borrowed(body))));
        }
        self.next_in_parts(input)
    }

    /// The next frame if it lies whole in the input, and what is behind it.
    #[inline]
    pub(crate) fn peek<'a>(&self, input: &'a [u8]) -> Option<(Header, &'a [u8], &'a [u8])> {
        if !self.is_at_boundary() {
            return None;
        }
        let (raw, rest) = input.split_first_chunk()?;
        let header = Header::parse(raw);
        let length = header.length as usize;
        if length > self.limit(&header) {
            return None;
        }
        let (body, rest) = rest.split_at_checked(length)?;
        Some((header, body, rest))
    }

    /// What finds plain replies in an input that begins with a frame; `None` if it does not.
    #[inline]
    pub(crate) fn plain_replies(&self) -> Option<PlainReplies> {
        let bytes_max = self.message_bytes_max;
        self.is_at_boundary().then_some(PlainReplies { bytes_max })
    }

    /// The piece of which more is to come, and that much.
    pub(crate) fn piece(&self) -> Option<(u32, usize)> {
        let piece = self.piece.filter(|_| self.landed == 0)?;
        Some((piece.call, piece.length as usize))
    }

    /// Notes that so many bytes of the piece were read to where they belong.
    pub(crate) fn piece_landed(&mut self, bytes: usize) {
        let length = self.piece.map_or(0, |piece| piece.length);
        // At most the length, which is a `u32`.
        self.landed = bytes.min(length as usize) as u32;
    }

    /// The frame that is not complete, with room for more of it, and how much is missing: at least so
    /// much of items, and twice as much of anything else.
    pub(crate) fn take_partial(&mut self, worthwhile: usize) -> Option<(BytesMut, usize)> {
        let header = self.partial.first_chunk().map(Header::parse)?;
        let worthwhile = match header.kind {
            Kind::Item => worthwhile,
            // Whoever decodes it out of the buffer copies it once, and whole rows of it are read at once.
            _ => 2 * worthwhile,
        };
        let missing = self.missing().filter(|missing| *missing >= worthwhile)?;
        if self.partial.capacity() == self.partial.len() {
            // Grows with what has arrived, not with what was announced.
            let trusted = self.partial.len().max(Self::TRUSTED_BYTES_MAX);
            self.partial.reserve(missing.min(trusted));
        }
        Some((std::mem::take(&mut self.partial), missing))
    }

    /// Gives back what was taken, and what has arrived of it meanwhile.
    pub(crate) fn put_partial(&mut self, partial: BytesMut) {
        self.partial = partial;
    }

    /// True between two frames: the stream may end here.
    #[inline]
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.partial.is_empty() && self.skip == 0 && self.piece.is_none()
    }

    /// How much memory is held for a frame that is not complete.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// How many bytes of a frame that is not complete are kept.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    #[cold]
    #[inline(never)]
    fn next_in_parts<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, WireError> {
        self.skip -= take(input, self.skip).len();
        if self.skip > 0 {
            return Ok(None);
        }
        if let Some(piece) = self.piece {
            let landed = std::mem::take(&mut self.landed);
            if landed > 0 {
                let header = self.advance_piece(piece, landed);
                return Ok(Some(Frame::Landed(header)));
            }
            return Ok(self.next_of_piece(piece, input));
        }
        let Some(header) = self.partial_header(input) else {
            return Ok(None);
        };
        if header.length as usize > self.limit(&header) {
            return self.oversized(header).map(Some);
        }
        if header.kind == Kind::Chunk && header.length > 0 {
            self.partial = BytesMut::new();
            return Ok(self.next_of_piece(header, input));
        }
        let missing = self.missing().unwrap_or(0);
        let part = take(input, missing);
        if self.partial.len() == HEADER_BYTES && missing >= Self::LONG_BYTES {
            // Nothing is allocated for what was only announced: others had it.
            let mut memory = spare::take(HEADER_BYTES + missing);
            if memory.capacity() > 0 {
                memory.extend_from_slice(&self.partial);
                self.partial = memory;
            }
        }
        if self.partial.capacity() - self.partial.len() < part.len() {
            let ahead = missing.min(self.partial.len().max(Self::TRUSTED_BYTES_MAX));
            self.partial.reserve(ahead.max(part.len()));
        }
        self.partial.extend_from_slice(part);
        if part.len() < missing {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.partial);
        let whole = match whole.len() >= Self::LONG_BYTES {
            true => spare::keep(whole),
            false => whole.freeze(),
        };
        let body = whole.slice(HEADER_BYTES..);
        Ok(Some(Frame::Whole(header, Body::Owned(body))))
    }

    /// As much of a piece as there is, as a piece of its own.
    fn next_of_piece<'a>(&mut self, piece: Header, input: &mut &'a [u8]) -> Option<Frame<'a>> {
        let part = take(input, piece.length as usize);
        let header = self.advance_piece(piece, part.len() as u32);
        (!part.is_empty()).then_some(Frame::Whole(header, Body::Borrowed(part)))
    }

    /// Splits so much off the piece.
    fn advance_piece(&mut self, piece: Header, length: u32) -> Header {
        let missing = piece.length - length;
        self.piece = (missing > 0).then_some(Header {
            length: missing,
            ..piece
        });
        Header { length, ..piece }
    }

    /// Completes the header of the partial frame.
    fn partial_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        let missing = HEADER_BYTES.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(take(input, missing));
        self.partial.first_chunk().map(Header::parse)
    }

    fn oversized(&mut self, header: Header) -> Result<Frame<'static>, WireError> {
        let length = header.length as usize;
        if length > Self::SKIP_BYTES_MAX {
            return Err(WireError::FrameTooLarge {
                length: header.length,
                limit: self.limit(&header),
            });
        }
        self.partial = BytesMut::new();
        self.skip = length;
        Ok(Frame::Oversized(header))
    }

    /// How much of the body of the partial frame is missing; `None` before its header is complete.
    fn missing(&self) -> Option<usize> {
        let header = self.partial.first_chunk().map(Header::parse)?;
        let whole = HEADER_BYTES + header.length as usize;
        Some(whole - self.partial.len())
    }

    #[inline]
    fn limit(&self, header: &Header) -> usize {
        match header.kind {
            Kind::Item => CHUNK_BYTES_MAX,
            Kind::Chunk => LONG_CHUNK_BYTES_MAX,
            Kind::Request | Kind::Response if !header.flags.contains(Flags::METADATA) => {
                self.message_bytes_max
            }
            Kind::Request | Kind::Response | Kind::Error => {
                self.message_bytes_max + crate::OVERHEAD_BYTES_MAX
            }
            _ => Self::CONTROL_BYTES_MAX,
        }
    }
}

/// Splits up to `count` bytes off the front of the input.
fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Outgoing;

    fn frame(kind: Kind, call: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Outgoing::default();
        out.control(Header::new(kind, call), body);
        out.chunk().to_vec()
    }

    #[test]
    fn a_long_frame_in_parts_has_the_memory_of_the_one_before() {
        let mut decoder = Decoder::new(1 << 20);
        let mut arrive = |byte: u8| {
            let frame = frame(Kind::Item, 2, &[byte; 40_000]);
            let (first, mut second) = frame.split_at(30_000);
            assert_eq!(decode(&mut decoder, first), []);
            match decoder.next(&mut second).unwrap() {
                Some(Frame::Whole(_, Body::Owned(body))) => body,
                other => panic!("{other:?}"),
            }
        };
        let first = arrive(1);
        let (at, second) = (first.as_ptr(), arrive(2));
        assert_ne!(second.as_ptr(), at, "somebody has the first");
        assert!(first == [1; 40_000][..] && second == [2; 40_000][..]);
        drop(first);
        let third = arrive(3);
        assert!(third.as_ptr() == at && third == [3; 40_000][..]);
    }

    fn decode(decoder: &mut Decoder, mut input: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            match frame {
                Frame::Whole(header, body) => frames.push((header.call, body.to_vec())),
                Frame::Oversized(header) => frames.push((header.call, b"oversized".to_vec())),
                Frame::Landed(header) => panic!("nothing has landed: {header:?}"),
            }
        }
        assert!(input.is_empty(), "the decoder takes all it is given");
        frames
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        // [frame.chunks] S0-5
        let stream = [
            frame(Kind::Request, 1, b""),
            frame(Kind::Request, 2, &[2; 100]),
            frame(Kind::Request, 3, &[3; 1001]), // over the limit
            frame(Kind::Response, 4, b"last"),
        ]
        .concat();
        let expected = decode(&mut Decoder::new(1000), &stream);
        assert_eq!(expected.len(), 4);
        for size in 1..stream.len() {
            let mut decoder = Decoder::new(1000);
            let pieces = stream.chunks(size);
            let frames: Vec<_> = pieces.flat_map(|p| decode(&mut decoder, p)).collect();
            assert_eq!(frames, expected, "in pieces of {size}");
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn t1_a_length_field_alone_allocates_little() {
        // [frame.memory]
        let mut decoder = Decoder::new(4 << 20);
        let header = Header {
            length: 4 << 20,
            ..Header::new(Kind::Request, 1)
        };
        assert!(decode(&mut decoder, &header.to_bytes()).is_empty());
        assert!(decode(&mut decoder, &[0]).is_empty());
        assert!(decoder.held_bytes() <= Decoder::TRUSTED_BYTES_MAX + HEADER_BYTES);
        let (partial, missing) = decoder.take_partial(1).unwrap();
        assert_eq!(missing, (4 << 20) - 1);
        let capacity = partial.capacity();
        assert!(
            capacity <= Decoder::TRUSTED_BYTES_MAX + HEADER_BYTES,
            "{capacity}"
        );
    }

    #[test]
    fn s0_6_absurd_lengths_are_an_error_before_any_body() {
        // [frame.oversized]
        for length in [(64 << 20) + 1, 1 << 31, u32::MAX] {
            let header = Header {
                length,
                ..Header::new(Kind::Request, 1)
            };
            let bytes = header.to_bytes();
            let refused = Decoder::new(4 << 20).next(&mut &bytes[..]);
            assert!(
                matches!(refused, Err(WireError::FrameTooLarge { .. })),
                "{length}"
            );
        }
    }
}
