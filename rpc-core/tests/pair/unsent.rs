//! When a connection ends, a call whose request was not written to the end was not processed.

use super::harness::*;
use super::pieces::take_in_turns;

const BODIES: [usize; 5] = [0, 1, 40, 300, 3];

/// A pair with one call for each body; where the hello ends and where each request does.
fn queued() -> (Pair, Vec<usize>) {
    let mut pair = Pair::new();
    let mut ends = vec![pair.client.outgoing().len()];
    for (kept, body) in BODIES.iter().enumerate() {
        // Frames of no call lie in between.
        if kept == 2 {
            pair.oneway(ECHO, b"between");
        }
        pair.call(WAIT, kept as u64, &vec![7; *body]);
        ends.push(pair.client.outgoing().len());
    }
    (pair, ends)
}

#[track_caller]
fn assert_exact(mut pair: Pair, ends: &[usize], written: usize) {
    let mut flags = Vec::new();
    pair.client
        .close(|kept, unsent| flags.push((*kept, unsent)));
    let expected = (0..BODIES.len()).map(|kept| (kept as u64, ends[kept + 1] > written));
    assert!(flags.iter().copied().eq(expected), "{written}: {flags:?}");
}

#[test]
fn what_was_called_unsent_is_not_sent_after_all() {
    // [call.unsent]
    let mut pair = Pair::open();
    pair.call(ECHO, 1, b"late");
    let mut unsent = Vec::new();
    pair.client.close(|_, flag| unsent.push(flag));
    assert_eq!(unsent, [true]);
    assert!(pair.client.outgoing().is_empty());
}

#[test]
fn f18_the_flag_is_exact_wherever_writing_stopped() {
    // [call.unsent]
    let (_, ends) = queued();
    let whole = *ends.last().unwrap();
    for written in 0..=whole {
        let (mut pair, ends) = queued();
        pair.client.outgoing().advance(written);
        assert_exact(pair, &ends, written);
    }
}

#[test]
fn f18_the_flag_is_exact_while_a_writer_holds_the_bytes() {
    // [call.unsent]: taken, written in part, put back in front of what came meanwhile.
    let (_, ends) = queued();
    let whole = *ends.last().unwrap();
    for taken_at in 0..=BODIES.len() {
        for written in 0..=whole {
            let mut pair = Pair::new();
            let mut ends = vec![pair.client.outgoing().len()];
            let mut held = None;
            for kept in 0..=BODIES.len() {
                if kept == taken_at {
                    held = Some(pair.client.outgoing().take());
                }
                let Some(body) = BODIES.get(kept) else { break };
                let before = pair.client.outgoing().len();
                pair.call(WAIT, kept as u64, &vec![7; *body]);
                let length = pair.client.outgoing().len() - before;
                ends.push(ends[kept] + length);
            }
            let mut held = held.unwrap();
            let first = written.min(held.len());
            held.advance(first);
            let outgoing = pair.client.outgoing();
            outgoing.prepend(held);
            outgoing.advance(written - first);
            let all = *ends.last().unwrap();
            assert_eq!(outgoing.len(), all.saturating_sub(written));
            assert_exact(pair, &ends, written);
        }
    }
}

#[test]
fn the_flag_is_exact_after_many_rounds_of_writing() {
    // [call.unsent]: also when the buffer has moved what waits to its front.
    let mut numbers = Numbers(18);
    for _ in 0..200 {
        let mut pair = Pair::new();
        let mut end = pair.client.outgoing().len();
        let (mut written, mut ends) = (0, Vec::new());
        for kept in 0..60 {
            let before = pair.client.outgoing().len();
            let body = vec![1; [10, 300, 30_000][numbers.below(3)]];
            pair.call(WAIT, kept, &body);
            end += pair.client.outgoing().len() - before;
            ends.push(end);
            let part = numbers.below(pair.client.outgoing().len() + 1);
            match numbers.below(3) {
                0 => pair.client.outgoing().advance(part),
                1 => {
                    let mut held = pair.client.outgoing().take();
                    held.advance(part);
                    pair.client.outgoing().prepend(held);
                }
                _ => continue,
            }
            written += part;
        }
        let mut flags = Vec::new();
        pair.client.close(|_, unsent| flags.push(unsent));
        // In order of slots, which is the order of the calls as long as none has ended.
        assert!(
            flags.iter().eq(ends
                .iter()
                .map(|end| *end > written)
                .collect::<Vec<_>>()
                .iter())
        );
    }
}

#[test]
fn bytes_that_a_writer_keeps_count_as_written() {
    // [call.unsent]: nobody knows how far it came, so the call may have been processed.
    let (mut pair, _) = queued();
    let held = pair.client.outgoing().take();
    pair.call(WAIT, 9, b"behind");
    let mut unsent = Vec::new();
    pair.client.close(|kept, flag| unsent.push((*kept, flag)));
    assert!(unsent.iter().all(|(kept, flag)| *flag == (*kept == 9)));
    assert_eq!(unsent.len(), BODIES.len() + 1);
    drop(held);
}

/// Two requests in pieces among small ones: what each call is called, and its body.
const LARGE: [usize; 5] = [3, 150_000, 40, 70_000, 0];

/// A pair with one call for each of [`LARGE`], in turns or not.
fn queued_large() -> Pair {
    let mut pair = Pair::new();
    for (kept, body) in LARGE.iter().enumerate() {
        pair.call(WAIT, kept as u64, &vec![7; *body]);
    }
    pair
}

/// Where in what a client wrote behind its hello each call ends, by its position in [`LARGE`].
fn ends_in(stream: &[u8], hello: usize) -> Vec<usize> {
    let mut ends = vec![0; LARGE.len()];
    let mut at = hello;
    for frame in super::clock::frames(&stream[hello..]) {
        at += 16 + frame.body.len();
        ends[frame.call as usize - 16] = at;
    }
    ends
}

/// Every offset near the ends of frames, and a sample of the others.
fn offsets(stream: &[u8], hello: usize) -> Vec<usize> {
    let mut at = hello;
    let mut near: Vec<usize> = (0..=stream.len()).step_by(4999).collect();
    for frame in super::clock::frames(&stream[hello..]) {
        near.extend(at.saturating_sub(2)..(at + 23).min(stream.len() + 1));
        at += 16 + frame.body.len();
    }
    near.extend(stream.len() - 3..=stream.len());
    near
}

#[test]
fn f18_the_flag_is_exact_wherever_writing_a_request_in_pieces_stopped() {
    // [call.unsent] [frame.pieces]: in turns of one write, or of several.
    let hello = Pair::new().client.outgoing().len();
    for turn in [usize::MAX, 30_000, 0] {
        let write = |pair: &mut Pair, mut count: usize| {
            let mut bytes = Vec::new();
            while count > 0 && !pair.client.outgoing().is_empty() {
                let part = match turn {
                    0 => take_up_to(pair.client.outgoing(), count),
                    _ => take_in_turns(pair.client.outgoing(), count.min(turn)),
                };
                count -= part.len();
                bytes.extend(part);
            }
            bytes
        };
        let whole = write(&mut queued_large(), usize::MAX);
        let ends = ends_in(&whole, hello);
        for count in offsets(&whole, hello) {
            let mut pair = queued_large();
            assert!(write(&mut pair, count) == whole[..count]);
            let mut flags = Vec::new();
            pair.client
                .close(|kept, unsent| flags.push((*kept, unsent)));
            let expected = (0_u64..).zip(ends.iter().map(|end| *end > count));
            assert!(
                flags.iter().copied().eq(expected.take(5)),
                "{count}: {flags:?}"
            );
            // What was called unsent is not sent after all.
            assert!(pair.client.outgoing().is_empty(), "{count}");
        }
    }
}

#[test]
fn f18_no_request_of_which_a_writer_holds_the_end_is_called_unsent() {
    // [call.unsent] [frame.pieces]: the connection ends while a turn is away, and comes back.
    let hello = Pair::new().client.outgoing().len();
    let whole = take_in_turns(queued_large().client.outgoing(), usize::MAX);
    for count in offsets(&whole, hello) {
        for more in [0, 10, 1000, usize::MAX] {
            let mut pair = queued_large();
            let mut written = take_in_turns(pair.client.outgoing(), count);
            let mut turn = pair.client.outgoing().take();
            let mut flags = Vec::new();
            pair.client.close(|_, unsent| flags.push(unsent));
            written.extend(take_up_to(&mut turn, more));
            pair.client.outgoing().prepend(turn);
            written.extend(take_in_turns(pair.client.outgoing(), usize::MAX));
            assert_eq!(written, whole[..written.len()]);
            for (end, unsent) in ends_in(&whole, hello).iter().zip(&flags) {
                assert!(*end > written.len() || !unsent, "{count} {more}: {flags:?}");
            }
            // Nor is any doubt cast on what nobody held.
            let held = written.len();
            let kept = ends_in(&whole, hello)
                .iter()
                .filter(|end| **end > held)
                .count();
            let unsent = flags.iter().filter(|unsent| **unsent).count();
            assert!(more < usize::MAX || kept == unsent, "{count}: {flags:?}");
        }
    }
}
