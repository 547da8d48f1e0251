//! Messages in pieces: what may be between them, what may not, and how they end early.

use rpc_core::connection::{Answered, ConnectionError, RequestHead};
use rpc_core::{Code, Metadata, Status};

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw::{self, Frame};

pub(crate) const KIB: usize = 1024;
/// The usual piece.
pub(crate) const PIECE: usize = 64 * KIB;

/// The frame in front of a message in pieces.
pub(crate) fn begin(kind: u8, flags: u8, call: u32, length: usize) -> Vec<u8> {
    let (flags, method) = (
        flags | raw::MORE,
        if kind == raw::REQUEST { WAIT } else { NONE },
    );
    let body = &(length as u32).to_le_bytes();
    let method = method.number();
    Frame {
        kind,
        call,
        flags,
        method,
        body,
        ..Frame::default()
    }
    .bytes()
}

const NONE: rpc_core::MethodId = rpc_core::MethodId::from_number(0);

pub(crate) fn chunk(call: u32, body: &[u8]) -> Vec<u8> {
    raw::frame(raw::CHUNK, call, body)
}

#[track_caller]
pub(crate) fn assert_violation(outcome: Result<(), ConnectionError>) {
    assert!(
        matches!(outcome, Err(ConnectionError::Violation(_))),
        "{outcome:?}"
    );
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at + seed) as u8).collect()
}

#[test]
fn messages_of_every_length_come_whole_however_they_are_cut() {
    // [frame.pieces] [frame.chunks]
    let mut numbers = Numbers(4);
    for length in [PIECE - 1, PIECE, PIECE + 1, PIECE + 16, LIMIT - 1, LIMIT] {
        for round in 0..6 {
            let reach = [1 << 20, 40_000, 4000, 400][round % 4];
            let mut cut = || Cut::Sizes((0..31).map(|_| 1 + numbers.below(reach)).collect());
            let mut pair = Pair::with_cuts(cut(), cut());
            if round > 3 {
                pair = pair.reading_in_place();
            }
            let pairs = metadata(&[("k", "v")]);
            let body = pattern(length, length);
            let head = RequestHead::new(ECHO).with_metadata(Some(&pairs));
            pair.call_with(head, 1, &body);
            pair.call(ECHO, 2, b"small");
            pair.drive();
            let [_, small, large] = &pair.client_saw[..] else {
                panic!("{} events", pair.client_saw.len());
            };
            let (small, large) = match length > PIECE {
                true => (small, large),
                false => (large, small),
            };
            assert!(matches!(small, ClientSaw::Replied { kept: 2, .. }));
            let ClientSaw::Replied {
                kept,
                metadata,
                body: reply,
            } = large
            else {
                panic!("not replied");
            };
            assert!((*kept, metadata) == (1, &pairs) && *reply == body);
            pair.assert_usable();
        }
    }
}

#[test]
fn a_small_call_waits_for_one_piece_at_the_most() {
    // [frame.pieces]: wherever the writer is, in turns or not.
    for in_turns in [false, true] {
        for written in (0..3 * PIECE).step_by(7919) {
            let mut pair = Pair::open();
            pair.call(WAIT, 1, &[1; LIMIT]);
            pair.call(WAIT, 2, &[2; LIMIT]);
            let outgoing = pair.client.outgoing();
            let mut bytes = match in_turns {
                false => take_up_to(outgoing, written),
                true => take_in_turns(outgoing, written),
            };
            let before = bytes.len();
            pair.call(ECHO, 3, b"small");
            while !pair.client.outgoing().is_empty() {
                let outgoing = pair.client.outgoing();
                bytes.extend(match in_turns {
                    false => take_up_to(outgoing, 5000),
                    true => take_in_turns(outgoing, 5000),
                });
            }
            let small = raw::request(18, b"small");
            let at = bytes.windows(small.len()).position(|w| w == small);
            let waited = at.unwrap() - before;
            assert!(waited <= 16 + PIECE, "{waited} at {written}");
            pair.server_reads(&bytes).unwrap();
            assert_eq!(pair.server_saw.len(), 3);
        }
    }
}

/// Writes as the runtime does when its stream takes so many bytes. What is held back until the peer
/// has read more is written all the same.
pub(crate) fn take_in_turns(outgoing: &mut rpc_core::wire::Outgoing, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count && !outgoing.is_empty() {
        if !outgoing.has_turn() {
            bytes.extend(take_up_to(outgoing, count - bytes.len()));
            break;
        }
        let mut turn = outgoing.take();
        bytes.extend(take_up_to(&mut turn, count - bytes.len()));
        outgoing.prepend(turn);
    }
    bytes
}

#[test]
fn pieces_take_turns_and_frames_go_between_them() {
    // [frame.pieces]
    let mut pair = Pair::open();
    for kept in 1..=3 {
        pair.call(WAIT, kept, &[kept as u8; LIMIT]);
    }
    let written = kinds(&take(pair.client.outgoing()));
    let expected = [16, 17, 18].map(|call| (raw::REQUEST, call)).into_iter();
    let chunks = [16, 17, 18, 16, 17, 18].map(|call| (raw::CHUNK, call));
    assert!(written.into_iter().eq(expected.chain(chunks)));
}

#[test]
fn no_piece_waits_for_ever_behind_small_frames() {
    // [frame.pieces]: a stream that takes little at a time, and always more that is small.
    let mut pair = Pair::open();
    pair.call(ECHO, 1, &[1; LIMIT]);
    let mut sent = 0;
    let mut bytes = Vec::new();
    while !kinds_so_far(&bytes).ends_with(&[(raw::CHUNK, 16); 2]) && sent < 2000 {
        pair.oneway(ECHO, &[7; 1000]);
        sent += 1;
        bytes.extend(take_in_turns(pair.client.outgoing(), 900));
        let kinds = kinds_so_far(&bytes);
        if kinds
            .iter()
            .filter(|kind| **kind == (raw::CHUNK, 16))
            .count()
            == 2
        {
            break;
        }
    }
    assert!(sent < 500, "{sent}");
}

/// As [`kinds`], of the frames that are whole.
fn kinds_so_far(mut bytes: &[u8]) -> Vec<(u8, u32)> {
    let mut found = Vec::new();
    while let Some(length) = bytes.first_chunk().map(|raw| u32::from_le_bytes(*raw)) {
        let Some((frame, rest)) = bytes.split_at_checked(16 + length as usize) else {
            break;
        };
        found.extend(kinds(frame));
        bytes = rest;
    }
    found
}

#[test]
fn broken_rows_of_pieces_close_the_connection() {
    // [frame.pieces] [conn.error]: in both directions.
    let long = vec![0; PIECE + 1];
    let rows: [&[Vec<u8>]; 5] = [
        &[chunk(16, b"")],
        &[chunk(16, &[0; 11])],
        &[chunk(16, &[0; 4]), chunk(16, &[0; 7])],
        &[chunk(16, &[0; 4]), chunk(16, b"")],
        &[chunk(16, &long)],
    ];
    for row in rows {
        let mut pair = Pair::open();
        let request = begin(raw::REQUEST, 0, 16, 10);
        pair.server_reads(&request).unwrap();
        assert_violation(pair.server_reads(&row.concat()));

        let mut pair = called();
        pair.client_reads(&begin(raw::RESPONSE, 0, 16, 10)).unwrap();
        assert_violation(pair.client_reads(&row.concat()));
    }
}

#[test]
fn a_piece_that_is_too_long_closes_the_connection() {
    // [frame.pieces] [conn.error]: also one that would be dropped.
    let over = || {
        let mut pair = Pair::open();
        let call = pair.call(ECHO, 1, b"over");
        pair.drive();
        (pair, call.number() as u32)
    };
    for (length, is_taken) in [(1280 * KIB, true), (1280 * KIB + 1, false)] {
        let (mut pair, call) = over();
        let late = chunk(call, &vec![0; length]);
        for outcome in [pair.server_reads(&late), pair.client_reads(&late)] {
            match is_taken {
                true => outcome.unwrap(),
                false => assert_violation(outcome),
            }
        }
    }
}

/// A pair with call 16 open, of which the server does not know.
fn called() -> Pair {
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"");
    take(pair.client.outgoing());
    pair
}

#[test]
fn more_without_a_length_closes_the_connection() {
    // [frame.pieces] [conn.error]
    for body in [&b""[..], b"\x01\0\0", b"\0\0\0\0", b"\x01\0\0\0\0"] {
        for (kind, flags) in [
            (raw::REQUEST, 0),
            (raw::RESPONSE, 0),
            (raw::ITEM, raw::ITEMS),
        ] {
            let flags = raw::MORE | flags & !raw::ITEMS;
            let (call, method) = (16, WAIT.number());
            let bytes = Frame {
                kind,
                call,
                flags,
                method,
                body,
                ..Frame::default()
            }
            .bytes();
            if kind != raw::RESPONSE {
                let mut pair = Pair::open();
                if kind == raw::ITEM {
                    pair.start_stream(1, b"");
                    pair.drive();
                }
                assert_violation(pair.server_reads(&bytes));
            }
            if kind != raw::REQUEST {
                let mut pair = called();
                assert_violation(pair.client_reads(&bytes));
            }
        }
    }
}

#[test]
fn another_message_within_the_pieces_closes_the_connection() {
    // [frame.pieces] [call.once] [stream.items] [stream.end]
    let ends = [
        raw::frame(raw::RESPONSE, 16, b"short"),
        begin(raw::RESPONSE, 0, 16, 10),
        begin(raw::RESPONSE, raw::ITEMS, 16, 10),
        raw::frame(raw::END, 16, b""),
        raw::frame(raw::ITEM, 16, b"\0\0\0\0"),
        begin(raw::ITEM, 0, 16, 10),
    ];
    for end in &ends {
        let mut pair = called();
        pair.client_reads(&begin(raw::RESPONSE, 0, 16, 10)).unwrap();
        assert_violation(pair.client_reads(end));
        // Within a row of items.
        let mut pair = called();
        let reply = Frame {
            kind: raw::RESPONSE,
            call: 16,
            flags: raw::ITEMS,
            ..Frame::default()
        };
        pair.client_reads(&reply.bytes()).unwrap();
        pair.client_reads(&begin(raw::ITEM, 0, 16, 10)).unwrap();
        assert_violation(pair.client_reads(end));
    }
    for end in &ends[3..] {
        let mut pair = Pair::open();
        let request = begin(raw::REQUEST, raw::ITEMS, 16, 10);
        pair.server_reads(&request).unwrap();
        assert_violation(pair.server_reads(end));
        let mut pair = Pair::open();
        pair.start_stream(1, b"");
        pair.drive();
        pair.server_reads(&begin(raw::ITEM, 0, 16, 10)).unwrap();
        assert_violation(pair.server_reads(end));
    }
}

#[test]
fn chunks_of_no_call_close_the_connection_and_late_ones_do_not() {
    // [frame.pieces]
    for call in [0, 17, 99, u32::MAX] {
        let mut pair = called();
        pair.server_reads(&raw::request(16, b"")).unwrap();
        assert_violation(pair.server_reads(&chunk(call, b"x")));
        assert_violation(pair.client_reads(&chunk(call, b"x")));
    }
    let mut pair = Pair::open();
    pair.call(ECHO, 1, b"");
    pair.drive();
    for late in [&b"x"[..], b"", &[0; 1000]] {
        pair.server_reads(&chunk(16, late)).unwrap();
        pair.client_reads(&chunk(16, late)).unwrap();
    }
    pair.assert_usable();
}

#[test]
fn s1_14_a_request_in_pieces_is_refused_by_its_length() {
    // [frame.pieces] [frame.oversized] [call.in-flight]
    for length in [LIMIT + 1, u32::MAX as usize] {
        let mut pair = called();
        pair.server_reads(&begin(raw::REQUEST, 0, 16, length))
            .unwrap();
        assert_eq!(pair.server.running(), 0);
        pair.carry_to_client().unwrap();
        let refused = pair.client_saw.pop().unwrap();
        assert_eq!(refused.code(), Some(Code::ResourceExhausted));
        assert!(matches!(
            refused,
            ClientSaw::Failed {
                not_processed: true,
                ..
            }
        ));
        // What is on its way already is dropped.
        for _ in 0..3 {
            pair.server_reads(&chunk(16, &[0; PIECE])).unwrap();
        }
        assert!(pair.server_saw.is_empty());
        // The client has not sent them, and would not understand that they were read.
        take(pair.server.outgoing());
        pair.assert_usable();
    }
    // The client stops sending as soon as it hears of it.
    let mut config = server_config();
    config.message_bytes_max = 1000;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.call(ECHO, 1, &vec![0; 4 << 20]);
    let beginning = take_up_to(pair.client.outgoing(), 100 * KIB);
    pair.server_reads(&beginning).unwrap();
    pair.carry_to_client().unwrap();
    assert_eq!(pair.client_saw[1].code(), Some(Code::ResourceExhausted));
    let rest = pair.client.outgoing().len();
    assert!(
        rest < PIECE,
        "only the piece that has begun goes on: {rest}"
    );
    pair.drive();
    pair.assert_usable();
}

#[test]
fn a_request_counts_from_its_first_frame() {
    // [frame.pieces] [call.in-flight] [call.cancel] [call.deadline]
    let mut config = server_config();
    config.calls_max = 1;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    let call = pair.call(WAIT, 1, &[1; LIMIT]);
    let part = take_up_to(pair.client.outgoing(), 20 + 16 + PIECE);
    pair.server_reads(&part).unwrap();
    assert_eq!(pair.server.running(), 1);
    pair.server_reads(&raw::request(17, b"")).unwrap();
    let refused = kinds(&take(pair.server.outgoing()));
    assert_eq!(refused, [(raw::CREDIT, 0), (raw::ERROR, 17)]);
    // Given up: the rest is not sent.
    pair.client.release(call);
    let rest = kinds(&take(pair.client.outgoing()));
    assert_eq!(rest, [(raw::CANCEL, 16)]);
}

#[test]
fn a_request_can_end_before_its_body_is_here() {
    // [frame.pieces] [call.cancel] [call.deadline] [call.once]
    for way in 0..3 {
        for part in [20, 36, 37, 1000, PIECE + 35, PIECE + 36, PIECE + 60] {
            let mut pair = Pair::open();
            let call = match way {
                0 => pair.call_with_body_within(1, SECOND),
                _ => pair.call(WAIT, 1, &[1; LIMIT]),
            };
            let part = take_up_to(pair.client.outgoing(), part);
            pair.server_reads(&part).unwrap();
            assert_eq!(pair.server.running(), 1);
            match way {
                0 => {
                    // The server heard of the call later, and would wait longer for its pieces.
                    pair.now += SECOND;
                    pair.client_looks().unwrap();
                    pair.drive();
                    assert_eq!(pair.server_saw.last(), Some(&ServerSaw::Cancelled(16)));
                    assert_eq!(pair.client_saw, [ClientSaw::Expired(1)]);
                }
                1 => {
                    pair.client.release(call);
                    pair.drive();
                    assert_eq!(pair.server_saw.last(), Some(&ServerSaw::Cancelled(16)));
                }
                _ => {
                    let status = Status::unauthenticated("who are you?");
                    pair.fail(call, &status);
                    pair.drive();
                    assert_eq!(pair.client_saw[0].code(), Some(Code::Unauthenticated));
                }
            }
            pair.begun.clear();
            assert_eq!(pair.server.running(), 0);
            pair.assert_usable();
            super::ids::tolerates_exactly_100(&mut pair);
        }
    }
}

impl Pair {
    fn call_with_body_within(
        &mut self,
        kept: u64,
        time: std::time::Duration,
    ) -> rpc_core::connection::CallId {
        let deadline = rpc_core::Deadline::after(self.now, time);
        let head = RequestHead::new(WAIT).with_deadline(Some(deadline), self.now);
        self.call_with(head, kept, &[1; LIMIT])
    }
}

#[test]
fn a_message_in_pieces_has_to_make_progress() {
    // [frame.progress]
    let mut pair = Pair::open();
    pair.server_reads(&begin(raw::REQUEST, 0, 16, LIMIT))
        .unwrap();
    pair.server_reads(&chunk(16, &[0; 100])).unwrap();
    let ends = pair.run_for(11 * SECOND);
    assert!(matches!(ends, Err(ConnectionError::Stalled)), "{ends:?}");

    let mut pair = Pair::open();
    pair.server_reads(&begin(raw::REQUEST, 0, 16, LIMIT))
        .unwrap();
    for _ in 0..9 {
        pair.server_reads(&chunk(16, &[0; 10 * KIB])).unwrap();
        pair.now += 9 * SECOND;
        pair.server_looks().unwrap();
    }
}

#[test]
fn t1_messages_that_have_begun_hold_no_buffer() {
    // [frame.pieces] [frame.memory]: covered for each call of the connection at once.
    let mut pair = Pair::open();
    for call in 1..=1000 {
        pair.server_reads(&begin(raw::REQUEST, 0, call, LIMIT))
            .unwrap();
        pair.server_reads(&chunk(call, b"x")).unwrap();
    }
    assert_eq!(pair.server.running(), 1000);
    assert_eq!(pair.server_buffer(), 0);
}

#[test]
fn a_reply_in_pieces_that_is_too_long_ends_its_call_at_the_client() {
    // [frame.pieces] [call.reply-size]
    let mut config = client_config();
    config.message_bytes_max = 100;
    let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
    pair.drive();
    pair.call(WAIT, 1, b"");
    take(pair.client.outgoing());
    pair.client_reads(&begin(raw::RESPONSE, 0, 16, 101))
        .unwrap();
    assert_eq!(pair.client_saw[1].code(), Some(Code::ResourceExhausted));
    let cancel = raw::frame(raw::CANCEL, 16, b"");
    assert_eq!(take(pair.client.outgoing()), cancel);
    pair.client_reads(&chunk(16, &[0; 50])).unwrap();
    // The answer is counted once, whichever it is.
    pair.client_reads(&raw::frame(raw::ERROR, 16, b"")).unwrap();
    super::ids::tolerates_exactly_100(&mut pair);
}

/// The points of a reply at which a cancel may reach its server: bytes written of it.
fn points() -> impl Iterator<Item = usize> + Clone {
    let ends = [
        0,
        16,
        20,
        36,
        37,
        20 + 16 + PIECE,
        20 + 32 + PIECE,
        20 + 32 + LIMIT,
    ];
    let near = ends.into_iter().flat_map(|at| at.saturating_sub(2)..at + 3);
    near.chain((0..LIMIT).step_by(10_007))
}

#[test]
fn a_cancel_at_any_point_of_a_reply_leaves_one_answer() {
    // [call.cancel] [call.once] [call.unknown-reply] [frame.pieces]: 1,000 calls on one connection.
    let mut pair = Pair::open();
    let mut cancelled = 0;
    for (kept, point) in points().cycle().take(1000).enumerate() {
        let call = pair.call(ECHO, kept as u64, &[kept as u8; LIMIT]);
        pair.carry_to_server().unwrap();
        let turns = kept % 2 == 0;
        let part = match turns {
            true => take_in_turns(pair.server.outgoing(), point),
            false => take_up_to(pair.server.outgoing(), point),
        };
        // What was written may be read before the cancel or after it.
        let (early, late) = part.split_at(part.len() * (kept % 3) / 2);
        pair.client_reads(early).unwrap();
        let was_open = pair.client.release(call).is_some();
        let mut turn = (kept % 4 == 0).then(|| pair.server.outgoing().take());
        pair.carry_to_server().unwrap();
        pair.client_reads(late).unwrap();
        if let Some(mut turn) = turn.take() {
            let part = turn.len() * (kept % 5) / 4;
            let bytes = take_up_to(&mut turn, part);
            pair.client_reads(&bytes).unwrap();
            pair.server.outgoing().prepend(turn);
        }
        let rest = take(pair.server.outgoing());
        pair.client_reads(&rest).unwrap();
        cancelled += usize::from(kinds_after(&rest, raw::ERROR) > 0);
        assert!(pair.client.in_flight() == 0 && was_open == pair.client_saw.is_empty());
        pair.client_saw.clear();
        pair.now += SECOND;
    }
    assert!(cancelled > 300, "{cancelled}");
    pair.assert_usable();
    super::ids::tolerates_exactly_100(&mut pair);
}

/// How many headers of this kind for any call there may be, in bytes that start anywhere.
fn kinds_after(bytes: &[u8], kind: u8) -> usize {
    let text = b"cancelled by the caller";
    let found = bytes.windows(text.len()).filter(|window| *window == text);
    found.count() * usize::from(kind == raw::ERROR)
}

#[test]
fn many_replies_in_pieces_at_once_are_no_offence() {
    // [frame.pieces] [call.unknown-reply]: beside them, one that is not wanted any more.
    let mut pair = Pair::open();
    for kept in 0..300 {
        pair.call(WAIT, kept, b"");
    }
    pair.carry_to_server().unwrap();
    for kept in 0..300 {
        let call = pair.calls[&kept];
        if kept == 250 {
            pair.client.release(call);
        }
        let begun = begin(raw::RESPONSE, 0, call.number() as u32, 2);
        pair.client_reads(&begun).unwrap();
    }
    // Replies in pieces to calls that nobody waits for are as bad as others.
    let mut pair = Pair::open();
    let (mut most, mut outcome) = (0, Ok(()));
    for call in 1..1000 {
        outcome = pair.client_reads(&begin(raw::RESPONSE, 0, call, 2));
        if outcome.is_err() {
            most = call;
            break;
        }
    }
    assert_violation(outcome);
    assert!(most <= 102, "{most}");
}

#[test]
fn a_large_reply_that_cannot_be_encoded_leaves_no_trace() {
    // [frame.pieces] [call.once]
    let mut pair = Pair::open();
    let call = pair.call(WAIT, 1, b"");
    pair.drive();
    pair.server.unpark(call).unwrap();
    let answered = pair.server.reply::<()>(call, &Metadata::new(), |out| {
        out.resize(out.len() + 2 * PIECE, 0);
        Err(rpc_core::codec::CodecError::encode("no"))
    });
    assert_eq!(answered, Answered::Error(Code::Internal));
    assert!(pair.server.outgoing().len() < KIB);
    pair.now += MS;
    pair.drive();
    pair.assert_usable();
}

#[test]
fn oneway_requests_come_in_pieces_too() {
    // [frame.pieces] [call.once]
    let mut pair = Pair::open();
    pair.oneway(ECHO, &[5; LIMIT]);
    pair.drive();
    assert!(
        matches!(&pair.server_saw[..], [ServerSaw::Request { body, oneway: true, .. }] if body.len() == LIMIT)
    );
    assert!(pair.is_quiet());
    pair.assert_usable();
}

#[test]
fn a_piece_does_not_take_the_place_of_one_that_was_cut() {
    // [frame.pieces] [call.cancel]: or it would come before the frame that announces it.
    let mut pair = Pair::open();
    let calls = [1, 2].map(|kept| pair.call(WAIT, kept, b""));
    pair.drive();
    pair.server.unpark(calls[0]).unwrap();
    reply(&mut pair.server, calls[0], &Metadata::new(), &[1; LIMIT]);
    let turn = pair.server.outgoing().take();
    pair.server.unpark(calls[1]).unwrap();
    reply(&mut pair.server, calls[1], &Metadata::new(), &[2; LIMIT]);
    pair.server.outgoing().prepend(turn);
    pair.client.release(calls[0]);
    pair.drive();
    assert!(matches!(
        &pair.client_saw[..],
        [ClientSaw::Replied { kept: 2, .. }]
    ));
    pair.assert_usable();
}
