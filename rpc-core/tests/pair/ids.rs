//! Whatever ids a peer makes up, no call gets what belongs to another.

use rpc_core::connection::{ConnectionError, ServerEvent};

use super::harness::*;
use super::raw;

#[track_caller]
fn assert_violation(outcome: Result<(), ConnectionError>) {
    assert!(
        matches!(outcome, Err(ConnectionError::Violation(_))),
        "{outcome:?}"
    );
}

/// The ids of the requests the server saw.
fn ids(pair: &Pair) -> Vec<u64> {
    let id = |saw: &ServerSaw| match saw {
        ServerSaw::Request { id, .. } => Some(*id),
        _ => None,
    };
    pair.server_saw.iter().filter_map(id).collect()
}

#[test]
fn t6_ids_that_do_not_rise_close_the_connection() {
    // [call.id] [conn.error]: zero; live and finished, repeated; earlier; a jump back by a half.
    for bad in [0, 10, 9, 1, 10_u32.wrapping_add(1 << 31)] {
        for method in [ECHO, WAIT] {
            let mut pair = Pair::open();
            pair.server_reads(&raw::request_for(method.number(), 10, b""))
                .unwrap();
            assert_violation(pair.server_reads(&raw::request(bad, b"stolen")));
            assert_eq!(ids(&pair), [10], "the request did not run");
            pair.server.close("a call id that does not rise");
            pair.carry_to_client().unwrap();
            let last = pair.client_saw.last();
            assert!(
                matches!(last, Some(ClientSaw::GoAway { last: 10, .. })),
                "{last:?}"
            );
        }
    }
}

#[test]
fn s1_19_t6_ids_go_on_through_the_wrap_of_their_low_bits() {
    // [call.id]
    let mut pair = Pair::open();
    let travelled = [
        5,
        0x7fff_ffff,
        0xffff_fff0,
        0xffff_ffff,
        1,
        0x8000_0000,
        0xffff_ffff,
        3,
    ];
    for wire in travelled {
        pair.server_reads(&raw::request(wire, b"")).unwrap();
    }
    let whole = [
        5,
        0x7fff_ffff,
        0xffff_fff0,
        0xffff_ffff,
        0x1_0000_0001,
        0x1_8000_0000,
        0x1_ffff_ffff,
        0x2_0000_0003,
    ];
    assert_eq!(ids(&pair), whole);
    assert_violation(pair.server_reads(&raw::request(0, b"")));
}

#[test]
fn t6_a_cancel_for_a_call_that_never_was_is_ignored() {
    // [call.cancel]
    let mut pair = Pair::open();
    for wire in [0, 1, 7, u32::MAX] {
        pair.server_reads(&raw::frame(raw::CANCEL, wire, b""))
            .unwrap();
    }
    pair.server_reads(&raw::request_for(WAIT.number(), 7, b""))
        .unwrap();
    for wire in [0, 1, 6, 8, u32::MAX] {
        pair.server_reads(&raw::frame(raw::CANCEL, wire, b""))
            .unwrap();
    }
    assert_eq!(pair.server.running(), 1);
    assert!(pair.server.outgoing().is_empty());
    for _ in 0..2 {
        pair.server_reads(&raw::frame(raw::CANCEL, 7, b"")).unwrap();
    }
    assert_eq!(pair.server_saw[1..], [ServerSaw::Cancelled(7)]);
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn t6_a_call_can_be_cancelled_after_four_billion_others() {
    // [call.id] [call.cancel]
    let mut pair = Pair::open();
    let wait = |wire| raw::request_for(WAIT.number(), wire, b"");
    pair.server_reads(&wait(7)).unwrap();
    for wire in [0x7fff_ffff, 0xffff_fffe, 6, 8] {
        pair.server_reads(&wait(wire)).unwrap();
    }
    for wire in [7, 6, 7, 5, 9] {
        pair.server_reads(&raw::frame(raw::CANCEL, wire, b""))
            .unwrap();
    }
    let cancelled = [ServerSaw::Cancelled(7), ServerSaw::Cancelled((1 << 32) + 6)];
    assert_eq!(pair.server_saw[5..], cancelled);
    assert_eq!(pair.server.running(), 3);
}

#[test]
fn t6_answers_to_calls_that_are_not_open_are_counted_and_then_fatal() {
    // [call.unknown-reply]: unknown, zero, finished; as response, error and oversized.
    let oversized = raw::header(
        1 << 20,
        raw::Frame {
            kind: raw::RESPONSE,
            call: 999,
            ..Default::default()
        },
    );
    let oversized = [&oversized[..], &vec![0; 1 << 20]].concat();
    let finished = raw::frame(raw::RESPONSE, 16, b"again");
    let strange = [
        raw::frame(raw::RESPONSE, 999, b"for nobody"),
        raw::frame(raw::RESPONSE, 0, b"for nobody"),
        raw::frame(raw::ERROR, 17 + (1 << 20), b"\0\0"),
        finished,
        oversized,
    ];
    let mut pair = Pair::open();
    assert_eq!(pair.call(ECHO, 1, b"one").number(), 16);
    pair.drive();
    pair.call(ECHO, 2, b"two");
    for round in 0..100 {
        pair.client_reads(&strange[round % strange.len()]).unwrap();
    }
    pair.drive();
    assert_eq!(pair.client_saw.len(), 2, "the neighbours are not disturbed");
    assert!(
        matches!(&pair.client_saw[1], ClientSaw::Replied { kept: 2, body, .. } if body == b"two")
    );
    assert_violation(pair.client_reads(&strange[0]));
}

#[test]
fn late_answers_to_calls_that_were_given_up_are_no_surprise() {
    // [call.cancel] [call.unknown-reply]
    let mut pair = Pair::open();
    for round in 0..1000 {
        let call = pair.call(ECHO, round, b"");
        pair.carry_to_server().unwrap();
        pair.client.release(call);
        pair.drive();
    }
    assert!(pair.client_saw.is_empty());
    assert!(pair.is_quiet());
    tolerates_exactly_100(&mut pair);
}

#[test]
fn late_answers_to_calls_ended_by_a_go_away_are_no_surprise() {
    // [conn.go-away] [call.unknown-reply]
    let mut pair = Pair::open();
    let calls: Vec<u32> = (0..300)
        .map(|kept| pair.call(WAIT, kept, b"").number() as u32)
        .collect();
    let mut ended = 0;
    pair.client.close_above(0, |_| ended += 1);
    assert_eq!(ended, 300);
    for call in calls {
        pair.client_reads(&raw::frame(raw::ERROR, call, b"\0\0"))
            .unwrap();
    }
    assert!(pair.client_saw.is_empty());
    tolerates_exactly_100(&mut pair);
}

/// Shows that the client has counted nothing so far.
pub(crate) fn tolerates_exactly_100(pair: &mut Pair) {
    let stray = raw::frame(raw::RESPONSE, u32::MAX, b"");
    for _ in 0..100 {
        pair.client_reads(&stray).unwrap();
    }
    assert_violation(pair.client_reads(&stray));
}

#[test]
fn s1_25_t6_a_million_calls_each_get_their_own_payload() {
    // [call.id] [call.slot] [call.once]
    const CALLS: u64 = 1_000_000;
    const WINDOW: u64 = 64;
    let mut pair = Pair::open();
    let head = rpc_core::connection::RequestHead::new(ECHO);
    let mut numbers = Numbers(6);
    let (mut started, mut ended) = (0, 0);
    let mut parked = Vec::new();
    let mut last = 0;
    let mut strays = 0;
    while ended < CALLS {
        while started < CALLS && pair.client.open_calls() < WINDOW as usize {
            let nonce = started;
            let id = pair.client.start_call(head, nonce, |out| {
                out.extend_from_slice(&nonce.to_le_bytes());
                Ok(())
            });
            let id = id.unwrap().number();
            assert!(id > last, "ids rise");
            last = id;
            started += 1;
        }
        let outgoing = pair.client.outgoing();
        let mut input = outgoing.chunk();
        while let Some(event) = pair.server.handle_input(&mut input).unwrap() {
            let ServerEvent::Request(request) = event else {
                continue;
            };
            let nonce: [u8; 8] = (*request.body).try_into().unwrap();
            parked.push((request.id, nonce));
        }
        let written = pair.client.outgoing().len();
        pair.client.outgoing().advance(written);
        // Answers come in another order, and some calls wait for long.
        while parked.len() > 8 {
            let (call, nonce) = parked.swap_remove(numbers.below(parked.len()));
            reply(&mut pair.server, call, &EMPTY, &nonce);
        }
        if started == CALLS {
            for (call, nonce) in parked.drain(..) {
                reply(&mut pair.server, call, &EMPTY, &nonce);
            }
        }
        let mut input = pair.server.outgoing().chunk();
        let mut repeated = None;
        while let Some(event) = pair.client.handle_input(&mut input).unwrap() {
            let rpc_core::connection::ClientEvent::Replied(call, reply) = event else {
                panic!("{event:?}");
            };
            let nonce = pair.client.release(call).expect("once");
            assert_eq!(
                *reply.body,
                nonce.to_le_bytes(),
                "a payload of another call"
            );
            repeated = Some(call);
            ended += 1;
        }
        let written = pair.server.outgoing().len();
        pair.server.outgoing().advance(written);
        // Now and then the last answer comes twice.
        if let Some(call) = repeated.filter(|_| ended / 10_000 > strays && strays < 100) {
            strays += 1;
            let again = raw::frame(raw::RESPONSE, call.number() as u32, b"not yours");
            pair.client_reads(&again).unwrap();
        }
    }
    assert_eq!((started, ended, strays), (CALLS, CALLS, 100));
    assert!(pair.is_quiet());
    assert!(pair.client_saw.is_empty());
}

static EMPTY: rpc_core::Metadata = rpc_core::Metadata::new();
