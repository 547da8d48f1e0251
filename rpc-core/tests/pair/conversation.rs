//! One conversation of a dozen calls means the same however the wire cuts it.

use std::time::Duration;

use rpc_core::connection::RequestHead;
use rpc_core::{Code, MethodId};

use super::harness::*;
use super::raw::HEADER_BYTES;

/// A dozen calls behind one hello, and their answers.
fn converse(pair: &mut Pair) {
    let pairs = metadata(&[("tenant", "a"), ("trace.id", "0 1")]);
    let head = |method| RequestHead::new(method).with_metadata(Some(&pairs));
    pair.call(ECHO, 1, b"small");
    pair.call(ECHO, 2, b"");
    pair.call(ECHO, 3, &[3; 100 * 1024]);
    pair.call_with(
        head(ECHO).with_timeout(Some(Duration::from_secs(3))),
        4,
        b"with metadata",
    );
    pair.oneway(ECHO, b"oneway");
    let given_up = pair.call(WAIT, 6, b"cancelled");
    pair.call(WAIT, 7, b"patient");
    pair.call(UNKNOWN, 8, b"unknown");
    assert_eq!(pair.client.release(given_up), Some(6));
    pair.call_with(head(FAIL), 9, b"typed error");
    pair.call(ECHO, 10, &[10; LIMIT + 20 * 1024]);
    pair.call(ECHO, 11, &[11; LIMIT + 1]);
    pair.call(ECHO, 12, b"the last one");
    pair.drive();
    pair.answer_parked();
    pair.drive();
}

type Seen = (Vec<ClientSaw>, Vec<ServerSaw>);

fn seen(to_server: Cut, to_client: Cut) -> Seen {
    seen_by(Pair::with_cuts(to_server, to_client))
}

fn seen_by(mut pair: Pair) -> Seen {
    converse(&mut pair);
    assert!(pair.is_quiet());
    (pair.client_saw, pair.server_saw)
}

/// Where frames begin, and the length of the stream.
fn boundaries(stream: &[u8], preface: usize) -> Vec<usize> {
    let mut at = preface;
    let mut starts = vec![0, at];
    while at < stream.len() {
        let length = stream[at..]
            .first_chunk()
            .map(|raw| u32::from_le_bytes(*raw));
        at += HEADER_BYTES + length.unwrap() as usize;
        starts.push(at);
    }
    starts
}

/// Every offset, but of a long body only its ends and a sample.
fn offsets(stream: &[u8], preface: usize) -> Vec<usize> {
    let starts = boundaries(stream, preface);
    let near = |at: usize| {
        let next = starts.partition_point(|start| *start <= at);
        let from = at - starts[next - 1];
        let to = starts.get(next).map_or(0, |end| end - at);
        from < 100 || to < 20
    };
    (1..stream.len())
        .filter(|at| near(*at) || at % 4099 == 0)
        .collect()
}

/// Hello with one entry; ack with limits, two codecs and one service.
const HELLO: usize = 16 + 8;
const ACK: usize = 16 + 8 + 8 + (4 + 9 + 6) + (4 + 8);

#[test]
fn the_conversation_is_what_it_should_be() {
    // [open.early] [call.once] [call.cancel] [call.method] [frame.oversized]
    let (client, server) = seen(Cut::Never, Cut::Never);
    let kept = |saw: &ClientSaw| match saw {
        ClientSaw::Replied { kept, .. } | ClientSaw::Failed { kept, .. } => *kept,
        _ => 0,
    };
    let order: Vec<u64> = client.iter().map(kept).collect();
    // The long ones come after the short ones around them.
    assert_eq!(order, [0, 1, 2, 4, 8, 9, 10, 11, 12, 3, 7]);
    assert_eq!(client[0], ClientSaw::Opened);
    let replied = |kept, metadata, body: &[u8]| ClientSaw::Replied {
        kept,
        metadata,
        body: body.to_vec(),
    };
    let pairs = metadata(&[("tenant", "a"), ("trace.id", "0 1")]);
    assert_eq!(client[1], replied(1, metadata(&[]), b"small"));
    assert_eq!(client[2], replied(2, metadata(&[]), b""));
    assert_eq!(client[3], replied(4, pairs.clone(), b"with metadata"));
    assert_eq!(client[9], replied(3, metadata(&[]), &[3; 100 * 1024]));
    assert_eq!(client[10], replied(7, metadata(&[]), b"patient"));

    let codes: Vec<_> = client[4..8].iter().filter_map(ClientSaw::code).collect();
    let expected = [
        Code::Unimplemented,
        Code::FailedPrecondition,
        Code::ResourceExhausted,
        Code::ResourceExhausted,
    ];
    assert_eq!(codes, expected);
    let ClientSaw::Failed {
        unknown_method,
        not_processed,
        ..
    } = &client[4]
    else {
        unreachable!()
    };
    assert!(*unknown_method && *not_processed);
    // S1-22: the text arrives as it was, whatever a formatter would make of it.
    let ClientSaw::Failed {
        status,
        metadata,
        not_processed,
        ..
    } = &client[5]
    else {
        unreachable!()
    };
    assert_eq!(status.message(), "100%d {} \0 ✓");
    assert_eq!(status.error_body().unwrap(), "typed error");
    assert!(*metadata == pairs && !*not_processed);

    let methods: Vec<MethodId> = server
        .iter()
        .filter_map(|saw| match saw {
            ServerSaw::Request { method, .. } => Some(*method),
            _ => None,
        })
        .collect();
    assert_eq!(
        methods,
        [
            ECHO, ECHO, ECHO, ECHO, WAIT, WAIT, UNKNOWN, FAIL, ECHO, ECHO
        ]
    );
    assert_eq!(
        server
            .iter()
            .filter(|saw| matches!(saw, ServerSaw::Cancelled(_)))
            .count(),
        1
    );
}

#[test]
fn s0_5_one_byte_at_a_time() {
    // [frame.chunks]
    let whole = seen(Cut::Never, Cut::Never);
    assert_eq!(seen(Cut::Every(1), Cut::Never), whole);
    assert_eq!(seen(Cut::Never, Cut::Every(1)), whole);
    assert_eq!(seen(Cut::Every(1), Cut::Every(1)), whole);
}

#[test]
fn s0_5_cut_once_at_every_offset() {
    // [frame.chunks]
    let mut pair = Pair::new();
    converse(&mut pair);
    let [to_server, to_client] = pair.carried();
    let whole = (&pair.client_saw, &pair.server_saw);
    for at in offsets(to_server, HELLO) {
        let cut = seen(Cut::At(at), Cut::Never);
        assert!(
            (&cut.0, &cut.1) == whole,
            "cut at {at} on the way to the server"
        );
    }
    for at in offsets(to_client, ACK) {
        let cut = seen(Cut::Never, Cut::At(at));
        assert!(
            (&cut.0, &cut.1) == whole,
            "cut at {at} on the way to the client"
        );
    }
}

#[test]
fn s0_5_cut_at_random_and_read_in_place() {
    // [frame.chunks]
    let whole = seen(Cut::Never, Cut::Never);
    let mut numbers = Numbers(5);
    for round in 0..200 {
        let reach = [4, 40, 400, 4000, 40_000][round % 5];
        let mut sizes = || Cut::Sizes((0..97).map(|_| 1 + numbers.below(reach)).collect());
        let pair = Pair::with_cuts(sizes(), sizes());
        let pair = if round % 2 == 0 {
            pair
        } else {
            pair.reading_in_place()
        };
        assert!(seen_by(pair) == whole, "in round {round}");
    }
}
