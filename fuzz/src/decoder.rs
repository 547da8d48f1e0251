//! The frame decoder.

use rpc_core::wire::{Decoder, Frame};

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

/// Length, kind and body of each frame, and whether the stream was given up.
fn frames(stream: &[u8], size: usize) -> (Vec<String>, bool) {
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
                    frames.push(format!("{header:?} {:?}", &*body));
                }
                Ok(Some(Frame::Oversized(header))) => frames.push(format!("{header:?} skipped")),
                Ok(Some(_)) => unreachable!("a frame that this target does not know"),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(input.is_empty(), "the decoder takes all it is given");
        if let Some(room) = decoder.direct(1) {
            let held = room.get_ref().capacity();
            assert!(held <= 64 * 1024 + 2 * received + 100, "{held}");
        }
    }
    (frames, false)
}
