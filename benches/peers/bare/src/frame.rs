//! The 16 bytes in front of a body.

/// Kinds of frames; an answer has the kind of its question.
pub(crate) const ECHO: u32 = 0;
pub(crate) const ITEMS: u32 = 1;
/// The last of a stream.
pub(crate) const END: u32 = 2;
/// And above: which work.
pub(crate) const WORK: u32 = 3;

pub(crate) const HEADER_BYTES: usize = 16;

#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) body_bytes: u32,
    pub(crate) id: u32,
    pub(crate) kind: u32,
    /// Microseconds of work, or items of a stream.
    pub(crate) argument: u32,
}

impl Header {
    pub(crate) fn write(self, body: &[u8], out: &mut Vec<u8>) {
        let numbers = [self.body_bytes, self.id, self.kind, self.argument];
        let mut bytes = [0; HEADER_BYTES];
        for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&bytes);
        out.extend_from_slice(body);
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut numbers = bytes.chunks_exact(4).map(|number| {
            u32::from_le_bytes(number.try_into().expect("a chunk of four bytes has four"))
        });
        let mut next = || numbers.next().expect("sixteen bytes are four numbers");
        Self {
            body_bytes: next(),
            id: next(),
            kind: next(),
            argument: next(),
        }
    }
}

/// Takes the first frame off `bytes`, if all of it is there.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
    let (header, rest) = bytes.split_first_chunk()?;
    let header = Header::read(header);
    let (body, rest) = rest.split_at_checked(header.body_bytes as usize)?;
    *bytes = rest;
    Some((header, body))
}
