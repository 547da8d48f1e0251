//! Streams behind requests and replies: what may come when, and how they end.

use rpc_core::connection::{Answered, CallId, RequestHead, Sent};
use rpc_core::wire::{Batch, Follows, ItemError};
use rpc_core::{Code, Deadline, Metadata, Status};

use super::clock::SECOND;
use super::harness::*;
use super::ids::tolerates_exactly_100;
use super::pieces::{KIB, PIECE, assert_violation, begin, chunk, pattern};
use super::raw::{self, Frame};
use super::streaming::batch;

const REPLY: Frame<'_> = Frame {
    kind: raw::RESPONSE,
    call: 16,
    flags: raw::ITEMS,
    extra: 0,
    method: 0,
    body: b"",
};

/// A pair with call 16 open, with streams in both directions.
fn streaming() -> (Pair, CallId) {
    let mut pair = Pair::open();
    let call = pair.start_stream(1, b"");
    pair.drive();
    pair.begin_reply(call, b"begins");
    pair.drive();
    pair.client_saw.clear();
    pair.server_saw.clear();
    (pair, call)
}

fn row(items: &[&[u8]]) -> Vec<u8> {
    batch(items).into_row().to_vec()
}

#[test]
fn both_streams_of_a_call_from_begin_to_end() {
    // [stream.begin] [stream.items] [stream.end] [call.once]
    let mut pair = Pair::open();
    let call = pair.start_stream(1, b"go");
    assert_eq!(pair.client_sends(call, &[b"a", b"", b"ccc"]), Sent::All);
    pair.drive();
    pair.begin_reply(call, b"well");
    assert_eq!(pair.server_sends(call, &[b"x"]), Sent::All);
    pair.drive();
    assert_eq!(pair.client_sends(call, &[b"d"]), Sent::All);
    pair.client.end_items(call, Ok(()));
    assert_eq!(pair.client_sends(call, &[b"late"]), Sent::Over);
    pair.drive();
    // The other direction goes on.
    assert_eq!(pair.client.in_flight() + pair.server.running(), 2);
    assert_eq!(pair.server_sends(call, &[b"y", b"z"]), Sent::All);
    pair.server.end_items(call);
    assert_eq!(pair.server_sends(call, &[b"late"]), Sent::Over);
    pair.drive();

    let items = |items: &[&str]| items.iter().map(|item| item.as_bytes().to_vec()).collect();
    assert_eq!(
        pair.server_saw[1..],
        [
            ServerSaw::Items(16, items(&["a", "", "ccc"])),
            ServerSaw::Items(16, items(&["d"])),
            ServerSaw::ItemsEnded(16, Ok(())),
        ]
    );
    let (kept, metadata, body) = (1, Metadata::new(), b"well".to_vec());
    assert_eq!(
        pair.client_saw,
        [
            ClientSaw::Streams {
                kept,
                metadata,
                body
            },
            ClientSaw::Items(1, items(&["x"])),
            ClientSaw::Items(1, items(&["y", "z"])),
            ClientSaw::Ended(1),
        ]
    );
    assert!(pair.is_quiet());
    pair.assert_usable();
}

#[test]
fn a_stream_without_items_and_one_in_large_items() {
    // [stream.items] [stream.end] [frame.pieces]
    for length in [
        0,
        1,
        62 * KIB - 4,
        62 * KIB - 3,
        PIECE - 4,
        PIECE - 3,
        PIECE,
        LIMIT,
    ] {
        let (mut pair, call) = streaming();
        let item = pattern(3, length);
        for sent in [
            pair.client_sends(call, &[&item]),
            pair.server_sends(call, &[&item]),
        ] {
            assert_eq!(sent, Sent::All);
        }
        let in_pieces = length + 4 > 62 * KIB;
        assert_eq!(pair.client.streams().can_end(call), !in_pieces);
        let next = pair.client_sends(call, &[b"next"]);
        assert_eq!(
            next,
            if in_pieces {
                Sent::AwaitsWriter
            } else {
                Sent::All
            }
        );
        pair.drive();
        assert!(pair.client.streams().can_end(call));
        pair.client.end_items(call, Ok(()));
        pair.server.end_items(call);
        pair.drive();
        let first =
            |saw: &[ServerSaw]| matches!(&saw[0], ServerSaw::Items(16, row) if row[0] == item);
        assert!(first(&pair.server_saw), "{length}");
        assert!(matches!(&pair.client_saw[..],
            [ClientSaw::Items(1, row), ClientSaw::Ended(1)] if *row == [&item[..]]));
        pair.assert_usable();
    }
    let (mut pair, call) = streaming();
    pair.client.end_items(call, Ok(()));
    pair.server.end_items(call);
    pair.drive();
    assert_eq!(pair.client_saw, [ClientSaw::Ended(1)]);
}

#[test]
fn an_end_behind_the_last_piece_of_an_item_comes_behind_it() {
    // [stream.end] [frame.pieces]: wherever the writer is when the end may be said.
    for part in [300, 5000, PIECE, PIECE + 36, LIMIT, 2 * LIMIT] {
        let (mut pair, call) = streaming();
        assert_eq!(pair.client_sends(call, &[&[7; LIMIT]]), Sent::All);
        let mut written = 0;
        let mut ended = false;
        while !pair.client.outgoing().is_empty() {
            if !ended {
                // Something small is in front of every piece.
                pair.oneway(ECHO, b"");
            }
            let mut turn = pair.client.outgoing().take();
            if !ended && pair.client.streams().can_end(call) {
                pair.client.end_items(call, Ok(()));
                ended = true;
            }
            let bytes = take_up_to(&mut turn, part);
            pair.client.outgoing().prepend(turn);
            written += bytes.len();
            assert!(written < 1 << 20, "what is small starves what is large");
            pair.server_reads(&bytes).unwrap();
            pair.carry_to_client().unwrap();
        }
        pair.server_saw
            .retain(|saw| !matches!(saw, ServerSaw::Request { .. }));
        assert!(matches!(
            &pair.server_saw[..],
            [ServerSaw::Items(16, _), ServerSaw::ItemsEnded(16, Ok(()))]
        ));
    }
}

#[test]
fn what_ends_a_stream_early_is_told_to_the_other_side() {
    // [stream.end] [stream.stop] [call.once]
    let (mut pair, call) = streaming();
    pair.client_sends(call, &[b"one"]);
    let status = Status::data_loss("the file is gone");
    pair.client.end_items(call, Err(&status));
    pair.server_sends(call, &[b"two"]);
    pair.drive();
    let ServerSaw::ItemsEnded(16, Err(seen)) = &pair.server_saw[1] else {
        panic!("{:?}", pair.server_saw);
    };
    assert_eq!(
        (seen.code(), seen.message()),
        (Code::DataLoss, "the file is gone")
    );
    pair.fail(call, &Status::internal("item three"));
    pair.drive();
    assert!(matches!(&pair.client_saw[0], ClientSaw::Items(1, row) if row.len() == 1));
    assert_eq!(pair.client_saw[1].code(), Some(Code::Internal));
    pair.assert_usable();

    let (mut pair, call) = streaming();
    pair.client_sends(call, &[b"on its way"]);
    pair.server.stop_items(call);
    pair.carry_to_server().unwrap();
    assert!(pair.server_saw.is_empty(), "dropped");
    pair.drive();
    assert_eq!(pair.client_saw, [ClientSaw::Stopped(1)]);
    assert!(!pair.client.streams().is_sending(call));
    assert_eq!(pair.client_sends(call, &[b"more"]), Sent::Over);
    pair.client.end_items(call, Ok(()));
    assert!(
        pair.client.outgoing().is_empty(),
        "nobody waits for the end"
    );
    pair.server.stop_items(call);
    assert!(pair.server.outgoing().is_empty(), "once is enough");
    pair.server.end_items(call);
    pair.drive();
    pair.assert_usable();
}

#[test]
fn a_stop_in_the_middle_of_a_large_item_ends_it_there() {
    // [stream.stop] [frame.pieces]
    for part in [10, 36, 1000, PIECE, PIECE + 40, PIECE + 1000] {
        let (mut pair, call) = streaming();
        pair.client_sends(call, &[&[7; LIMIT]]);
        let bytes = take_up_to(pair.client.outgoing(), part);
        pair.server_reads(&bytes).unwrap();
        pair.server.stop_items(call);
        pair.drive();
        assert!(pair.server_saw.is_empty() && pair.client_saw == [ClientSaw::Stopped(1)]);
        assert!(pair.client.streams().can_end(call));
        pair.server.end_items(call);
        pair.drive();
        pair.assert_usable();
    }
}

#[test]
fn a_call_with_a_stream_is_in_flight_until_its_end() {
    // [stream.begin] [call.in-flight] [call.deadline] [call.cancel]
    for way in 0..4 {
        let mut config = server_config();
        config.calls_max = 1;
        let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
        let deadline = Deadline::after(pair.now, SECOND);
        let head = RequestHead::new(STREAM).with_deadline(Some(deadline), pair.now);
        let call = pair.start_stream_with(head, 1, b"");
        pair.drive();
        pair.begin_reply(call, b"");
        pair.drive();
        assert_eq!((pair.client.open_calls(), pair.server.running()), (1, 1));
        pair.call(ECHO, 2, b"");
        pair.drive();
        assert_eq!(pair.client_saw[2].code(), Some(Code::ResourceExhausted));
        pair.server_sends(call, &[b"item", &[7; LIMIT]]);
        let some = take_up_to(pair.server.outgoing(), 50 * KIB);
        pair.client_reads(&some).unwrap();
        match way {
            0 => {
                pair.run_for(2 * SECOND).unwrap();
                let seen = &pair.server_saw;
                assert_eq!(seen.last(), Some(&ServerSaw::Expired(16)));
                assert!(pair.client_saw.contains(&ClientSaw::Expired(1)));
            }
            1 => {
                pair.client.release(call);
                pair.drive();
                let seen = &pair.server_saw;
                assert_eq!(seen.last(), Some(&ServerSaw::Cancelled(16)));
            }
            2 => {
                pair.fail(call, &Status::aborted(""));
                pair.drive();
                let last = pair.client_saw.last().unwrap();
                assert_eq!(last.code(), Some(Code::Aborted));
            }
            _ => {
                pair.drive();
                pair.server.end_items(call);
                pair.drive();
                assert_eq!(pair.client_saw.last(), Some(&ClientSaw::Ended(1)));
            }
        }
        assert_eq!(pair.client.in_flight() + pair.server.running(), 0);
        assert!(!pair.server.streams().is_sending(call));
        pair.assert_usable();
        tolerates_exactly_100(&mut pair);
    }
}

#[test]
fn streams_beyond_the_limit_end_their_call() {
    // [stream.begin]: both directions count.
    let mut config = server_config();
    config.streams_max = 3;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    let calls: Vec<_> = (1..=4).map(|kept| pair.start_stream(kept, b"")).collect();
    pair.client_sends(calls[0], &[b"x"]);
    pair.drive();
    let refused = pair.client_saw.pop().unwrap();
    assert_eq!(refused.code(), Some(Code::ResourceExhausted));
    assert!(matches!(
        refused,
        ClientSaw::Failed {
            kept: 4,
            not_processed: true,
            ..
        }
    ));
    // A reply with a stream too many.
    for (kept, length) in [(5, 0), (6, LIMIT)] {
        let call = pair.call(STREAM, kept, b"");
        pair.drive();
        let answered = pair.server.reply(call, &Metadata::new(), |out| {
            out.resize(out.len() + length, 0);
            Ok(Follows::Items)
        });
        assert_eq!(answered, Answered::Error(Code::ResourceExhausted));
        pair.drive();
        let refused = pair.client_saw.pop().unwrap();
        assert_eq!(refused.code(), Some(Code::ResourceExhausted));
    }
    // Where one has ended there is room for another.
    pair.client.end_items(calls[0], Ok(()));
    pair.drive();
    pair.begin_reply(calls[1], b"");
    pair.drive();
    assert_eq!(pair.server.running(), 3);
}

#[test]
fn a_oneway_request_has_no_stream() {
    // [stream.begin] [call.once]
    for more in [0, raw::MORE] {
        let mut pair = Pair::open();
        let oneway = Frame {
            kind: raw::REQUEST,
            flags: raw::ITEMS | raw::ONEWAY | more,
            call: 16,
            body: &[8, 0, 0, 0],
            ..Frame::default()
        };
        pair.server_reads(&oneway.bytes()).unwrap();
        pair.server_reads(&chunk(16, &[0; 8])).unwrap();
        pair.server_reads(&raw::frame(raw::ITEM, 16, &row(&[b"x"])))
            .unwrap();
        assert!(pair.server_saw.is_empty() && pair.is_quiet());
    }
}

#[test]
fn t9_broken_rows_of_items_close_the_connection() {
    // [stream.items] [conn.error]: in both directions, whole and in pieces.
    let mut config = client_config();
    config.message_bytes_max = 100;
    let mut server = server_config();
    server.message_bytes_max = 100;
    let long = row(&[&[0; 101]]);
    let whole = row(&[b"fine", b"fine"]);
    let mut rows: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        long.clone(),
        [&row(&[b"fine"])[..], &long].concat(),
        b"\xff\xff\xff\xff".to_vec(),
    ];
    rows.extend(
        (1..whole.len())
            .filter(|cut| *cut != 8)
            .map(|cut| whole[..cut].to_vec()),
    );
    for row in rows {
        for in_pieces in [false, true] {
            let bytes = match in_pieces {
                true if row.is_empty() => continue,
                true => [begin(raw::ITEM, 0, 16, row.len()), chunk(16, &row)].concat(),
                false => raw::frame(raw::ITEM, 16, &row),
            };
            let mut pair =
                Pair::with_configs(config.clone(), server.clone(), Cut::Never, Cut::Never);
            let call = pair.start_stream(1, b"");
            pair.drive();
            pair.begin_reply(call, b"");
            pair.drive();
            assert_violation(pair.server_reads(&bytes));
            assert_violation(pair.client_reads(&bytes));
        }
    }
    // More than 80 KiB in a frame, and more than the longest item in pieces.
    let (mut pair, _) = streaming();
    let frame = raw::frame(raw::ITEM, 16, &row(&[&[0; 80 * KIB]]));
    assert_violation(pair.server_reads(&frame));
    assert_violation(pair.client_reads(&frame));
    let (mut pair, _) = streaming();
    let frame = begin(raw::ITEM, 0, 16, LIMIT + 2 * PIECE + 1);
    assert_violation(pair.server_reads(&frame));
    assert_violation(pair.client_reads(&frame));
}

#[test]
fn t9_items_of_no_stream() {
    // [stream.items] [stream.end] [stream.credit] [stream.stop] [conn.error]
    let item = |call| raw::frame(raw::ITEM, call, &row(&[b"x"]));
    let long = |call| begin(raw::ITEM, 0, call, 10);
    let credit = |call| raw::frame(raw::CREDIT, call, &[0, 64, 0, 0]);
    let end = |call| raw::frame(raw::END, call, b"");
    // Of a call that never was.
    for call in [0, 17, 99, u32::MAX] {
        for frame in [item(call), long(call), credit(call)] {
            let (mut pair, _) = streaming();
            assert_violation(pair.server_reads(&frame));
            assert_violation(pair.client_reads(&frame));
        }
        let (mut pair, _) = streaming();
        assert_violation(pair.server_reads(&end(call)));
        assert_violation(pair.client_reads(&raw::frame(raw::CANCEL, call, b"")));
        let strange = Frame { call, ..REPLY };
        assert_violation(pair.client_reads(&strange.bytes()));
    }
    // Of a call that has none: the client knows, the server may have stopped it.
    for frame in [item(16), long(16), end(16)] {
        let mut pair = Pair::open();
        pair.call(WAIT, 1, b"");
        pair.drive();
        pair.server_reads(&frame).unwrap();
        assert_violation(pair.client_reads(&frame));
    }
    // Of one that is over.
    let (mut pair, call) = streaming();
    pair.client.end_items(call, Ok(()));
    pair.server.end_items(call);
    pair.drive();
    pair.client_saw.clear();
    pair.server_saw.clear();
    for _ in 0..2000 {
        for frame in [item(16), raw::frame(raw::ITEM, 16, b""), credit(16)] {
            pair.server_reads(&frame).unwrap();
            pair.client_reads(&frame).unwrap();
        }
        pair.server_reads(&end(16)).unwrap();
    }
    assert!(pair.server_saw.is_empty() && pair.client_saw.is_empty());
    pair.assert_usable();
    // Behind the end.
    let (mut pair, call) = streaming();
    pair.client.end_items(call, Ok(()));
    pair.drive();
    pair.server_reads(&[item(16), end(16)].concat()).unwrap();
    assert_eq!(pair.server_saw, [ServerSaw::ItemsEnded(16, Ok(()))]);
}

#[test]
fn t17_a_second_reply_closes_the_connection() {
    // [call.once] [stream.begin]
    let long = begin(raw::RESPONSE, 0, 16, 10);
    let again = [REPLY.bytes(), raw::frame(raw::RESPONSE, 16, b""), long];
    for reply in again {
        let (mut pair, _) = streaming();
        assert_violation(pair.client_reads(&reply));
    }
    // An undefined flag, and one that is too long for its frame.
    let (mut pair, _) = streaming();
    assert_violation(
        pair.client_reads(
            &Frame {
                flags: 0x80,
                ..REPLY
            }
            .bytes(),
        ),
    );
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"");
    take(pair.client.outgoing());
    let huge = vec![0; 2 * LIMIT];
    assert_violation(
        pair.client_reads(
            &Frame {
                body: &huge,
                flags: raw::MORE,
                ..REPLY
            }
            .bytes(),
        ),
    );
}

#[test]
fn a_reply_with_items_that_is_bad_ends_its_call_at_the_client() {
    // [body.metadata] [call.reply-size] [call.cancel]
    let bad = raw::metadata([(&b"k"[..], &b"\r\n"[..])]);
    let reply = Frame {
        flags: raw::ITEMS | raw::METADATA,
        body: &bad,
        ..REPLY
    };
    let mut config = client_config();
    config.message_bytes_max = 100;
    let long = Frame {
        body: &[0; 101],
        ..REPLY
    };
    for (reply, code) in [(reply, Code::Internal), (long, Code::ResourceExhausted)] {
        let mut pair = Pair::with_configs(config.clone(), server_config(), Cut::Never, Cut::Never);
        pair.drive();
        pair.call(WAIT, 1, b"");
        take(pair.client.outgoing());
        pair.client_reads(&reply.bytes()).unwrap();
        assert_eq!(pair.client_saw[1].code(), Some(code));
        let cancel = raw::frame(raw::CANCEL, 16, b"");
        assert_eq!(take(pair.client.outgoing()), cancel);
        // Items that are on their way are dropped; the end is the answer.
        pair.client_reads(&raw::frame(raw::ITEM, 16, &row(&[b"x"])))
            .unwrap();
        pair.client_reads(&raw::frame(raw::END, 16, b"")).unwrap();
        assert_eq!(pair.client_saw.len(), 2);
        tolerates_exactly_100(&mut pair);
    }
}

#[test]
fn t14_an_item_that_cannot_be_encoded_leaves_no_trace() {
    // [stream.items]
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    let push = |batch: &mut Batch, item: &[u8]| {
        batch.push(3, |out| {
            out.extend_from_slice(item);
            if item == b"no" { Err("no") } else { Ok(()) }
        })
    };
    push(&mut batch, b"abc").unwrap();
    assert!(matches!(
        push(&mut batch, b"no"),
        Err(ItemError::Encode("no"))
    ));
    assert!(matches!(
        push(&mut batch, b"four"),
        Err(ItemError::TooLarge(4))
    ));
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        batch.push::<(), ()>(3, |out| {
            out.push(1);
            panic!("a user's Serialize");
        })
    }));
    assert!(panics.is_err());
    push(&mut batch, b"").unwrap();
    assert_eq!(batch.len(), 11);
    assert_eq!(entries(&batch.into_row()), [&b"abc"[..], b""]);
}

#[test]
fn what_ends_the_connection_ends_the_streams() {
    // [call.once] [call.unsent]
    let (mut pair, call) = streaming();
    pair.client_sends(call, &[&[7; LIMIT]]);
    pair.server_sends(call, &[&[7; LIMIT]]);
    let mut ends = Vec::new();
    pair.client.close(|kept, unsent| ends.push((*kept, unsent)));
    assert_eq!(ends, [(1, false)]);
    assert_eq!(pair.client_sends(call, &[b"x"]), Sent::Over);
    assert_eq!(pair.server.close("bye"), [16]);
    assert_eq!(pair.server_sends(call, &[b"x"]), Sent::Over);
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn a_million_items_come_in_order() {
    // [stream.items] [stream.window]: no gap, nothing twice, in both directions at once.
    const ITEMS: u64 = 1_000_000;
    let (mut pair, call) = streaming();
    let mut sent = [0_u64; 2];
    let mut batches = [Batch::new(), Batch::new()];
    let mut seen = [0_u64; 2];
    let mut rounds = 0;
    while seen != [ITEMS; 2] {
        rounds += 1;
        assert!(rounds < 10_000, "{seen:?}");
        for (side, batch) in batches.iter_mut().enumerate() {
            while batch.len() < PIECE && sent[side] < ITEMS {
                let item = sent[side].to_le_bytes();
                let push = batch.push::<(), ()>(LIMIT, |out| {
                    out.extend_from_slice(&item);
                    Ok(())
                });
                push.unwrap();
                sent[side] += 1;
            }
        }
        let _ = pair.client.streams().send(call, &mut batches[0]);
        let _ = pair.server.streams().send(call, &mut batches[1]);
        pair.drive();
        let to_server = pair.server_saw.drain(..).filter_map(|saw| match saw {
            ServerSaw::Items(_, row) => Some(row),
            _ => None,
        });
        let to_client = pair.client_saw.drain(..).filter_map(|saw| match saw {
            ClientSaw::Items(_, row) => Some(row),
            _ => None,
        });
        let rows = [to_server.collect::<Vec<_>>(), to_client.collect()];
        for (side, rows) in rows.into_iter().enumerate() {
            let mut bytes = 0;
            for item in rows.iter().flatten() {
                assert_eq!(item[..], seen[side].to_le_bytes());
                seen[side] += 1;
                bytes += 4 + item.len();
            }
            match side {
                0 => pair.server.streams().consumed(call, bytes, pair.now),
                _ => pair.client.streams().consumed(call, bytes, pair.now),
            };
        }
    }
}
