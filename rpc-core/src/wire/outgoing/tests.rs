//! The buffer alone: failures, memory, order.

use super::*;
use crate::wire::Kind;

#[test]
fn a_body_that_fails_leaves_no_trace() {
    let mut out = Outgoing::default();
    out.control(Header::new(Kind::Ping, 0), &[7; 8]);
    let before = out.chunk().to_vec();

    let header = Header::new(Kind::Request, 1);
    let metadata = Metadata::new();
    let failed = out.frame::<(), _>(header, &metadata, 100, |body| {
        body.extend_from_slice(b"half");
        Err("no")
    });
    assert!(matches!(failed, Err(FrameError::Body("no"))));
    let large = out.frame::<(), ()>(header, &metadata, 3, |body| {
        body.extend_from_slice(b"four");
        Ok(())
    });
    assert!(matches!(large, Err(FrameError::TooLarge(4))));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        out.frame::<(), ()>(header, &metadata, 100, |body| {
            body.push(1);
            panic!("a user's Serialize");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(out.chunk(), before);
}

#[test]
fn a_body_that_was_too_large_leaves_no_memory() {
    let mut out = Outgoing::default();
    let header = Header::new(Kind::Request, 1);
    let huge = out.frame::<(), ()>(header, &Metadata::new(), 100, |body| {
        body.resize(10 << 20, 0);
        Ok(())
    });
    assert!(huge.is_err() && out.is_empty());
    assert!(out.buffer.capacity() <= Outgoing::KEPT_BYTES_MAX);
}

#[test]
fn a_writer_that_never_catches_up_keeps_only_what_waits() {
    let mut out = Outgoing::default();
    let mut written = 0_u32;
    for batch in 0..10_000_u32 {
        let words = (0..256).flat_map(|word| (batch * 256 + word).to_le_bytes());
        out.raw().extend(words);
        if batch > 10 {
            let next = out
                .chunk()
                .first_chunk()
                .map(|raw| u32::from_le_bytes(*raw));
            assert_eq!(next, Some(written), "in order");
            let mut rest = std::mem::take(&mut out);
            rest.advance(1024);
            written += 256;
            out.prepend(rest);
        }
    }
    assert_eq!(out.len(), 11 * 1024);
    assert!(out.buffer.capacity() <= 4 * Outgoing::KEPT_BYTES_MAX);
    out.advance(usize::MAX);
    assert!(out.is_empty());
}

#[test]
fn a_partly_written_buffer_keeps_its_order() {
    let mut first = Outgoing::default();
    first.raw().extend_from_slice(b"abc");
    first.advance(1);
    let mut second = Outgoing::default();
    second.raw().extend_from_slice(b"def");
    second.prepend(first);
    assert_eq!(second.chunk(), b"bcdef");
    assert_eq!(second.len(), 5);
    second.advance(5);
    assert!(second.is_empty());
}

#[test]
fn what_opens_a_stream_is_not_small_wherever_it_was_appended() {
    // [frame.ahead]: its items may go at full speed.
    let (header, metadata) = (Header::new(Kind::Response, 1), Metadata::new());
    let append = |out: &mut Outgoing, follows: Follows| {
        let body = |body: &mut Vec<u8>| {
            body.push(1);
            Ok::<_, ()>(follows)
        };
        out.frame(header, &metadata, 100, body).unwrap();
    };
    let (mut out, mut collected) = (Outgoing::default(), Outgoing::default());
    out.append(&mut collected);
    append(&mut out, Follows::Items);
    append(&mut collected, Follows::Items);
    out.append(&mut collected);
    assert!(!out.ahead.take_small());
    append(&mut collected, Follows::Nothing);
    append(&mut collected, Follows::Items);
    out.append(&mut collected);
    assert!(out.ahead.take_small());
    assert!(!collected.ahead.take_small());
}
