//! How many bytes of items may be on their way, and what becomes of a peer that does not keep to it.

use rpc_core::connection::{CallId, ConnectionError, Sent};
use rpc_core::{Status, StreamLimits};

use super::clock::{MS, SECOND, frames};
use super::harness::*;
use super::pieces::{KIB, PIECE, assert_violation, begin, take_in_turns};
use super::raw;
use super::streaming::batch;

/// A pair in which both sides announce these limits, with streams in both directions of so many calls.
/// Round numbers, of a stream and of all.
const WINDOWS: StreamLimits = StreamLimits::new(256 * 1024, 1024 * 1024);

fn streaming(limits: StreamLimits, calls: u64) -> (Pair, Vec<CallId>) {
    let (mut client, mut server) = (client_config(), server_config());
    client.stream_limits = limits;
    server.stream_limits = limits;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    let calls: Vec<_> = (0..calls)
        .map(|kept| pair.start_stream(kept, b""))
        .collect();
    pair.drive();
    for call in &calls {
        pair.begin_reply(*call, b"");
    }
    pair.drive();
    pair.client_saw.clear();
    pair.server_saw.clear();
    (pair, calls)
}

fn one() -> (Pair, CallId) {
    let (pair, calls) = streaming(WINDOWS, 1);
    (pair, calls[0])
}

fn credit(call: CallId, bytes: u32) -> Vec<u8> {
    raw::frame(raw::CREDIT, call.number() as u32, &bytes.to_le_bytes())
}

fn items(call: CallId, item: usize, count: usize) -> Vec<u8> {
    let item = vec![7; item];
    let row = batch(&vec![&item[..]; count]);
    raw::frame(raw::ITEM, call.number() as u32, &row.into_row())
}

/// Sends items of one length until they have to wait; how many went.
fn fill(pair: &mut Pair, call: CallId, length: usize) -> usize {
    for sent in 0..100_000 {
        match pair.client_sends(call, &[&vec![1; length]]) {
            Sent::All => {}
            Sent::AwaitsCredit => return sent,
            _ => {
                pair.carry_to_server().unwrap();
                if pair.client_sends(call, &[&vec![1; length]]) == Sent::AwaitsCredit {
                    return sent;
                }
            }
        }
    }
    panic!("no end of it");
}

#[test]
fn a_producer_is_held_up_at_the_window() {
    // [stream.window] [stream.credit]
    let (mut pair, call) = one();
    assert_eq!(fill(&mut pair, call, 1020), 256);
    pair.drive();
    assert_eq!(pair.client_sends(call, &[b""]), Sent::AwaitsCredit);
    // Less than a portion is saved up.
    pair.server.streams().consumed(call, 16 * KIB - 1, pair.now);
    assert!(pair.server.outgoing().is_empty());
    pair.server.streams().consumed(call, 1, pair.now);
    assert_eq!(take(pair.server.outgoing()), credit(call, 16 * 1024));
    pair.client_reads(&credit(call, 16 * 1024)).unwrap();
    assert_eq!(pair.client_saw, [ClientSaw::Credited(0)]);
    assert_eq!(fill(&mut pair, call, 1020), 16);
}

#[test]
fn a_batch_goes_as_far_as_the_window() {
    // [stream.window] [stream.items]: the rest stays, in rows of 64 KiB.
    let (mut pair, call) = one();
    let item = [7; 1020];
    let mut batch = batch(&[&item[..]; 300]);
    let mut sent = Vec::new();
    let mut outcome = pair.client.streams().send(call, &mut batch);
    while outcome == Sent::AwaitsWriter {
        sent.extend(take(pair.client.outgoing()));
        outcome = pair.client.streams().send(call, &mut batch);
    }
    sent.extend(take(pair.client.outgoing()));
    assert_eq!((outcome, batch.len()), (Sent::AwaitsCredit, 44 * 1024));
    let (rows, pieces): (Vec<_>, Vec<_>) =
        (frames(&sent).into_iter()).partition(|frame| frame.kind == raw::ITEM);
    assert!(
        rows.iter()
            .all(|row| row.body == (PIECE as u32).to_le_bytes())
    );
    assert!(pieces.iter().all(|piece| piece.body.len() == PIECE) && pieces.len() == rows.len());
    pair.server_reads(&sent).unwrap();
    assert_eq!(pair.server_saw.len(), 4);
}

#[test]
fn long_batches_never_make_a_row_too_long() {
    // [stream.items]: a receiver of short messages, with a wide window.
    let (mut client, mut server) = (client_config(), server_config());
    server.message_bytes_max = 100;
    server.stream_limits = StreamLimits::new(4 << 20, 16 << 20);
    client.message_bytes_max = 100;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    pair.drive();
    let call = pair.start_stream(1, b"");
    let mut batch = batch(&[&[7; 96][..]; 10_000]);
    while pair.client.streams().send(call, &mut batch) != Sent::All {
        pair.drive();
    }
    pair.drive();
    let items = pair.server_saw.iter().map(|saw| match saw {
        ServerSaw::Items(_, row) => row.len(),
        _ => 0,
    });
    assert_eq!(items.sum::<usize>(), 10_000);
}

#[test]
fn an_item_longer_than_the_window_waits_for_nothing_but_a_portion() {
    // [stream.window]: or it could never be sent.
    for window in [1, 100, 1000, 64 * 1024] {
        let limits = StreamLimits::new(window, window).with_growth_bytes(0);
        let (mut pair, calls) = streaming(limits, 1);
        let call = calls[0];
        for round in 0..20 {
            assert_eq!(
                pair.client_sends(call, &[&[7; LIMIT]]),
                Sent::All,
                "{round}"
            );
            pair.drive();
            assert_eq!(pair.client_sends(call, &[b"x"]), Sent::AwaitsCredit);
            pair.server.streams().consumed(call, LIMIT + 4, pair.now);
            pair.drive();
        }
    }
}

#[test]
fn a_consumer_that_stands_still_stops_its_own_stream_alone() {
    // [stream.window]: all windows of the connection are full of streams that nobody consumes.
    let (mut pair, calls) = streaming(WINDOWS, 8);
    let filled: usize = calls[..7]
        .iter()
        .map(|call| fill(&mut pair, *call, 1020))
        .sum();
    assert_eq!(
        filled,
        1024 + 3 * 16,
        "the window, and a portion of each of the others"
    );
    pair.drive();
    let call = calls[7];
    for _ in 0..100 {
        assert_eq!(fill(&mut pair, call, 1020), 16);
        pair.drive();
        pair.server.streams().consumed(call, 16 * KIB, pair.now);
        pair.drive();
    }
}

#[test]
fn an_honest_peer_is_within_the_window_whatever_overtakes_a_long_row() {
    // [stream.window] [frame.pieces]: a row in pieces counts from its beginning on both sides.
    let limits = StreamLimits::new(96 * 1024, 96 * 1024);
    let (mut pair, calls) = streaming(limits, 3);
    assert_eq!(pair.client_sends(calls[0], &[&[7; 20 * KIB]]), Sent::All);
    assert_eq!(pair.client_sends(calls[0], &[&[7; 72 * KIB]]), Sent::All);
    // These may always have a portion on their way, and their items are small.
    for call in &calls[1..] {
        for sent in [Sent::All, Sent::All, Sent::AwaitsCredit] {
            assert_eq!(pair.client_sends(*call, &[&[7; 8 * KIB]]), sent);
        }
    }
    let bytes = take_in_turns(pair.client.outgoing(), usize::MAX);
    pair.server_reads(&bytes).unwrap();
    assert_eq!(pair.server_saw.len(), 4);
}

#[test]
fn t9_items_beyond_the_window_close_the_connection() {
    // [stream.window] [conn.error]: of a stream, in both directions, whole and in pieces.
    let (mut pair, call) = one();
    for _ in 0..4 {
        let frame = items(call, 1020, 64);
        pair.server_reads(&frame).unwrap();
        pair.client_reads(&frame).unwrap();
    }
    let one_more = items(call, 0, 1);
    assert_violation(pair.server_reads(&one_more));
    assert_violation(pair.client_reads(&one_more));

    let (mut pair, call) = one();
    for _ in 0..4 {
        pair.server_reads(&items(call, 1020, 60)).unwrap();
        pair.client_reads(&items(call, 1020, 60)).unwrap();
    }
    let one_more = begin(raw::ITEM, 0, call.number() as u32, 16 * KIB + 1);
    assert_violation(pair.server_reads(&one_more));
    assert_violation(pair.client_reads(&one_more));

    // Of the connection.
    let (mut pair, calls) = streaming(WINDOWS, 5);
    for call in &calls[..4] {
        for _ in 0..4 {
            pair.server_reads(&items(*call, 1020, 64)).unwrap();
        }
    }
    pair.server_reads(&items(calls[4], 1020, 16)).unwrap();
    assert_violation(pair.server_reads(&items(calls[4], 0, 1)));
}

#[test]
fn t9_credit_that_was_not_due_closes_the_connection() {
    // [stream.credit] [conn.error]
    for bytes in [0, 1, 1025, 0x7fff_ffff, u32::MAX] {
        for twice in [false, true] {
            let (mut pair, call) = one();
            if twice {
                pair.client_sends(call, &[&[7; 1020]]);
                pair.server_sends(call, &[&[7; 1020]]);
                pair.drive();
                pair.client_reads(&credit(call, 1024)).unwrap();
                pair.server_reads(&credit(call, 1024)).unwrap();
            }
            assert_violation(pair.server_reads(&credit(call, bytes)));
            assert_violation(pair.client_reads(&credit(call, bytes)));
        }
    }
    for body in [&b""[..], b"\x01\0\0", b"\0\0\0\0\0"] {
        let (mut pair, call) = one();
        let credit = raw::frame(raw::CREDIT, call.number() as u32, body);
        assert_violation(pair.server_reads(&credit));
        assert_violation(pair.client_reads(&credit));
    }
}

#[test]
fn t9_credit_in_crumbs_is_a_flood() {
    // [stream.credit] [conn.flood]
    let (mut pair, call) = one();
    fill(&mut pair, call, 1020);
    while pair.server_sends(call, &[&[7; 1020]]) != Sent::AwaitsCredit {
        pair.drive();
    }
    pair.drive();
    let is_calm = |outcome| matches!(outcome, Err(ConnectionError::EnhanceYourCalm(_)));
    for _ in 0..1000 {
        pair.server_reads(&credit(call, 1)).unwrap();
        pair.client_reads(&credit(call, 1)).unwrap();
    }
    assert!(is_calm(pair.server_reads(&credit(call, 1))));
    assert!(is_calm(pair.client_reads(&credit(call, 1))));
    // Not slower than that, nor in portions.
    let (mut pair, call) = one();
    for _ in 0..3000 {
        pair.client_sends(call, &[&[7; 16 * KIB - 4]]);
        take(pair.client.outgoing());
        pair.client_reads(&credit(call, 16 * 1024)).unwrap();
    }
    for _ in 0..3000 {
        pair.client_sends(call, &[b""]);
        take(pair.client.outgoing());
        pair.client_reads(&credit(call, 4)).unwrap();
        pair.now += MS;
    }
}

#[test]
fn t9_zero_credit_is_a_flood_also_where_there_is_no_window() {
    // [stream.credit] [conn.flood]: for a stream that is over, of a peer that takes nothing.
    for window in [0, 1, 1 << 20] {
        let (mut pair, calls) = streaming(StreamLimits::new(window, window), 1);
        pair.server.end_items(calls[0]);
        pair.drive();
        let mut flood = |server: bool| {
            (0..1001).try_for_each(|_| match server {
                true => pair.server_reads(&credit(calls[0], 0)),
                false => pair.client_reads(&credit(calls[0], 0)),
            })
        };
        for outcome in [flood(true), flood(false)] {
            assert!(matches!(outcome, Err(ConnectionError::EnhanceYourCalm(_))));
        }
    }
}

#[test]
fn t9_a_peer_that_never_gives_credit_costs_its_window() {
    // [stream.window]: and one without a window gets nothing.
    let (mut pair, call) = one();
    fill(&mut pair, call, 100);
    for _ in 0..1000 {
        assert_eq!(pair.client_sends(call, &[&[7; 100]]), Sent::AwaitsCredit);
    }
    assert!(pair.client.outgoing().len() <= 256 * KIB + PIECE);
    pair.drive();
    pair.run_for(3600 * SECOND).unwrap();
    pair.assert_still_open();

    let (mut pair, calls) = streaming(StreamLimits::new(0, 0), 1);
    assert_eq!(pair.client_sends(calls[0], &[b""]), Sent::AwaitsCredit);
    assert_violation(pair.server_reads(&items(calls[0], 0, 1)));
}

impl Pair {
    /// A small call is answered beside a stream that stands still.
    fn assert_still_open(&mut self) {
        self.call(ECHO, 77, b"");
        self.drive();
        assert!(matches!(
            self.client_saw.last(),
            Some(ClientSaw::Replied { kept: 77, .. })
        ));
    }
}

#[test]
fn a_producer_of_ten_gigabytes_is_never_buffered() {
    // [stream.window] F13: nobody reads, nobody consumes.
    let (mut pair, calls) = streaming(WINDOWS, 1);
    let mut batch = batch(&[&[7; 64][..]; 500]);
    let mut most = 0;
    for round in 0..100_000 {
        let _ = pair.client.streams().send(calls[0], &mut batch);
        most = most.max(pair.client.outgoing().len());
        if round > 50_000 && round % 1000 == 0 {
            pair.carry_to_server().unwrap();
        }
        if batch.is_empty() {
            batch = super::streaming::batch(&[&[7; 64][..]; 500]);
        }
    }
    assert!(most <= 256 * KIB + PIECE, "{most}");
    let arrived = pair.server_saw.iter().map(|saw| match saw {
        ServerSaw::Items(_, row) => row.len() * 68,
        _ => 0,
    });
    assert!(arrived.sum::<usize>() <= 256 * KIB);
}

#[test]
fn a_large_body_does_not_hold_up_streams() {
    // [stream.window] [frame.pieces]: nor do they hold it up.
    let mut config = server_config();
    config.message_bytes_max = 8 << 20;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    let call = pair.start_stream(1, b"");
    pair.drive();
    pair.call(WAIT, 2, &vec![7; 4 << 20]);
    for _ in 0..4000 {
        let sent = pair.client_sends(call, &[&[1; 8 * KIB]]);
        assert!(matches!(sent, Sent::All | Sent::AwaitsWriter), "{sent:?}");
        let bytes = take_in_turns(pair.client.outgoing(), 16 * KIB);
        let before = pair.server_saw.len();
        pair.server_reads(&bytes).unwrap();
        for _ in before..pair.server_saw.len() {
            pair.server.streams().consumed(call, 8 * KIB + 4, pair.now);
        }
        pair.carry_to_client().unwrap();
        if pair
            .server_saw
            .iter()
            .any(|saw| matches!(saw, ServerSaw::Request { method: WAIT, .. }))
        {
            let rows = pair
                .server_saw
                .iter()
                .filter(|saw| matches!(saw, ServerSaw::Items(..)));
            let rows = rows.count();
            assert!((60..1000).contains(&rows), "{rows} items beside 64 pieces");
            return;
        }
    }
    panic!("the body never came");
}

#[test]
fn before_the_ack_a_client_sends_no_items() {
    // [stream.window] [open.early]
    let mut pair = Pair::new();
    let call = pair.start_stream(1, b"");
    assert_eq!(pair.client_sends(call, &[b"x"]), Sent::AwaitsCredit);
    pair.drive();
    assert_eq!(pair.client_sends(call, &[b"x"]), Sent::All);
    pair.drive();
    assert!(matches!(pair.server_saw.last(), Some(ServerSaw::Items(..))));
}

#[test]
fn a_stream_that_was_given_up_counts_until_its_answer() {
    // [stream.window]: the server may not have heard of it when the next items arrive.
    let limits = StreamLimits::new(64 * 1024, 64 * 1024);
    let (mut pair, calls) = streaming(limits, 2);
    assert_eq!(fill(&mut pair, calls[0], 1020), 64);
    pair.client.release(calls[0]);
    assert_eq!(fill(&mut pair, calls[1], 1020), 16, "a portion");
    assert_eq!(pair.client_sends(calls[0], &[b"x"]), Sent::Over);
    pair.drive();
    assert_eq!(
        fill(&mut pair, calls[1], 1020),
        48,
        "the rest of the window"
    );
    pair.drive();
}

#[test]
fn who_consumes_more_than_there_was_gives_back_what_there_was() {
    // [stream.credit]
    let (mut pair, call) = one();
    pair.client_sends(call, &[&[7; 20_000]]);
    pair.drive();
    pair.server
        .streams()
        .consumed(call, usize::MAX >> 1, pair.now);
    assert_eq!(take(pair.server.outgoing()), credit(call, 20_004));
    pair.server.streams().consumed(call, 1 << 20, pair.now);
    assert!(pair.server.outgoing().is_empty());
}

#[test]
fn t9_an_id_that_is_used_again_does_not_use_up_the_window() {
    // [stream.window] [call.id]: of what was on its way nothing counts any more.
    let mut pair = Pair::open();
    let request = |call| raw::Frame {
        kind: raw::REQUEST,
        flags: raw::ITEMS,
        call,
        method: WAIT.number(),
        ..raw::Frame::default()
    };
    let row = batch(&[&[7; 64 * KIB - 4][..]]).into_row();
    for _ in 0..8 {
        pair.server_reads(&request(1).bytes()).unwrap();
        for _ in 0..4 {
            pair.server_reads(&raw::frame(raw::ITEM, 1, &row)).unwrap();
        }
        for jump in [0x7fff_ffff, 0xffff_fffe] {
            pair.server_reads(&raw::request(jump, b"")).unwrap();
        }
        take(pair.server.outgoing());
    }
}

#[test]
fn t9_streams_that_have_ended_count_until_their_items_are_consumed() {
    // [stream.window] [stream.end] [stream.credit]
    let (mut pair, calls) = streaming(WINDOWS, 6);
    for call in &calls[..4] {
        assert_eq!(fill(&mut pair, *call, 1020), 256);
        pair.client.end_items(*call, Ok(()));
    }
    pair.drive();
    // A portion always goes, and that is all.
    assert_eq!(fill(&mut pair, calls[4], 1020), 16);
    pair.drive();
    // Consumed in part, or dropped: another stream has room for as much.
    pair.server
        .streams()
        .consumed(calls[0], 100 * KIB, pair.now);
    pair.server.stop_items(calls[1]);
    pair.drive();
    assert_eq!(fill(&mut pair, calls[4], 1020), 240);
    assert_eq!(fill(&mut pair, calls[5], 1020), 100);
    // The call is over.
    pair.drive();
    pair.client_saw.clear();
    pair.server.fail(calls[3], &Status::internal("over"));
    pair.drive();
    assert_eq!(pair.client_saw.len(), 1, "{:?}", pair.client_saw);
    assert_eq!(fill(&mut pair, calls[5], 1020), 156);
    pair.drive();
}
