//! The frame decoder.

use rpc_core::wire::{Decoder, Frame, Header, Kind};

const BODY_MAX: usize = 100_000;

/// The first byte says how the rest is cut.
pub fn decoder(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    let pieces = frames(stream, usize::from(*cut) + 1);
    assert_eq!(whole, pieces, "the same frames however the stream is cut");
}

/// Header and body of each frame, without a body if that was skipped.
type Frames = Vec<(Header, Option<Vec<u8>>)>;

/// All frames, and whether the stream was given up.
fn frames(stream: &[u8], size: usize) -> (Frames, bool) {
    let mut decoder = Decoder::new(BODY_MAX);
    let mut frames = Vec::new();
    let mut received = 0;
    for piece in stream.chunks(size) {
        let mut input = piece;
        received += piece.len();
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Frame::Whole(header, body))) => {
                    assert_eq!(header.length as usize, body.len());
                    assert!(body.len() <= BODY_MAX);
                    add(&mut frames, header, &body);
                }
                Ok(Some(Frame::Oversized(header))) => frames.push((header, None)),
                Ok(Some(_)) => unreachable!("a frame that this target does not know"),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(input.is_empty(), "the decoder takes all it is given");
        let held = decoder.held_bytes();
        assert!(held <= 64 * 1024 + 2 * received + 100, "{held}");
    }
    (frames, false)
}

/// Adds a frame; a piece comes in as many parts as the stream does, which are put together again.
fn add(frames: &mut Frames, header: Header, body: &[u8]) {
    if let Some((last, Some(bytes))) = frames.last_mut() {
        let mut next = *last;
        next.length = header.length;
        if header.kind == Kind::Chunk && next == header {
            last.length += header.length;
            bytes.extend_from_slice(body);
            return;
        }
    }
    frames.push((header, Some(body.to_vec())));
}
