//! Cancels keep a pace, and a client that does not is cut off.

use rpc_core::connection::{CallId, ConnectionError};

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

/// A pair whose client may have this many calls in flight, that many of which wait.
fn with_waiting_calls(count: u32) -> (Pair, Vec<CallId>) {
    let mut server = server_config();
    server.calls_max = 10_000;
    let mut pair = Pair::with_configs(client_config(), server, Cut::Never, Cut::Never);
    let calls = (0..count).map(|kept| pair.call(WAIT, kept.into(), b""));
    let calls: Vec<CallId> = calls.collect();
    pair.drive();
    pair.client_saw.clear();
    pair.server_saw.clear();
    (pair, calls)
}

fn cancelled(pair: &Pair) -> Vec<u64> {
    let cancelled = pair.server_saw.iter().map(|saw| match saw {
        ServerSaw::Cancelled(id) => *id,
        other => panic!("{other:?}"),
    });
    cancelled.collect()
}

fn is_calm(outcome: &Result<(), ConnectionError>) -> bool {
    matches!(outcome, Err(ConnectionError::EnhanceYourCalm(_)))
}

#[test]
fn t10_a_client_that_drops_5000_calls_at_once_is_never_cut_off() {
    // [call.cancel-pace] [call.cancel] [call.once]
    let (mut pair, calls) = with_waiting_calls(5000);
    for call in &calls {
        pair.client.release(*call);
    }
    assert_eq!(pair.client.open_calls(), 0);
    assert_eq!(pair.client.in_flight(), 4900, "what waits its turn counts");
    assert_eq!(pair.client.outgoing().len(), 100 * raw::HEADER_BYTES);
    let start = pair.now;
    pair.drive();
    let mut before = cancelled(&pair).len();
    assert_eq!(before, 100, "a burst");
    while pair.client.in_flight() > 0 {
        pair.run_for(SECOND).unwrap();
        let now = cancelled(&pair).len();
        assert_eq!(now - before, 100, "then 100 a second");
        before = now;
    }
    assert_eq!(pair.now, start + 49 * SECOND);
    let numbers: Vec<u64> = calls.iter().map(|call| call.number()).collect();
    assert_eq!(cancelled(&pair), numbers, "in order, none lost");
    assert!(pair.client_saw.is_empty());
    assert!(pair.is_quiet());
    pair.assert_usable();
    super::ids::tolerates_exactly_100(&mut pair);
}

#[test]
fn t10_a_network_that_stalls_does_not_make_a_client_look_like_a_flood() {
    // [call.cancel-pace]: the cancels of seconds arrive at once, again and again.
    let (mut pair, calls) = with_waiting_calls(2000);
    for call in &calls {
        pair.client.release(*call);
    }
    let mut numbers = Numbers(10);
    while pair.client.in_flight() > 0 {
        let stall = MS * numbers.below(5000) as u32;
        pair.client_alone_for(stall).unwrap();
        pair.carry_to_server().unwrap();
        let stall = MS * numbers.below(1000) as u32;
        pair.client_alone_for(stall).unwrap();
        pair.carry_to_client().unwrap();
    }
    pair.drive();
    assert_eq!(cancelled(&pair).len(), 2000);
    assert!(pair.is_quiet());
}

#[test]
fn t10_a_client_that_was_idle_is_no_flood_either() {
    // [call.cancel-pace]: its clock was last told the time long ago.
    let (mut pair, calls) = with_waiting_calls(1000);
    pair.now += 9 * SECOND;
    for call in &calls {
        pair.client.release(*call);
    }
    pair.client_looks().unwrap();
    pair.carry().unwrap();
    pair.run_for(20 * SECOND).unwrap();
    assert_eq!(cancelled(&pair).len(), 1000);
}

#[test]
fn a_call_that_is_answered_needs_no_cancel_any_more() {
    // [call.cancel-pace]: it holds no place, and the server is not bothered.
    let (mut pair, calls) = with_waiting_calls(1000);
    for call in &calls {
        pair.client.release(*call);
    }
    assert_eq!(pair.client.in_flight(), 900);
    // All answers are on their way before any cancel.
    pair.answer_parked();
    pair.carry_to_client().unwrap();
    assert_eq!(pair.client.in_flight(), 0);
    pair.client_alone_for(9 * SECOND).unwrap();
    assert_eq!(pair.client.outgoing().len(), 100 * raw::HEADER_BYTES);
    pair.drive();
    assert!(cancelled(&pair).is_empty() && pair.client_saw.is_empty());
    super::ids::tolerates_exactly_100(&mut pair);
}

#[test]
fn answers_to_calls_that_never_were_keep_no_cancel_back() {
    // [call.cancel-pace] [call.unknown-reply]: they are not taken for those of calls that were given up.
    let (mut pair, calls) = with_waiting_calls(150);
    for call in &calls {
        pair.client.release(*call);
    }
    let nobody = raw::frame(raw::RESPONSE, u32::MAX, b"");
    for _ in 0..100 {
        pair.client_reads(&nobody).unwrap();
    }
    pair.drive();
    pair.run_for(SECOND).unwrap();
    assert_eq!(cancelled(&pair).len(), 150);
}

#[test]
fn cancels_that_wait_end_with_the_connection() {
    // [call.cancel-pace]
    let (mut pair, calls) = with_waiting_calls(300);
    for call in &calls {
        pair.client.release(*call);
    }
    take(pair.client.outgoing());
    pair.close_client();
    assert_eq!(
        (pair.client.in_flight(), pair.client.poll_timeout()),
        (0, None)
    );
    assert_eq!(pair.server.close("").len(), 300);
}

#[test]
fn t10_the_server_cuts_off_a_client_that_floods_it_with_cancels() {
    // [call.cancel-pace] [conn.go-away]
    let mut pair = Pair::open();
    let pay = |pair: &mut Pair, call: u32| {
        let request = raw::request_for(WAIT.number(), call, b"");
        let cancel = raw::frame(raw::CANCEL, call, b"");
        pair.server_reads(&[request, cancel].concat())
    };
    for call in 1..=200 {
        pay(&mut pair, call).unwrap();
    }
    // 100 a second from here on, for as long as it likes.
    for call in 201..=1200 {
        pair.now += 10 * MS;
        pay(&mut pair, call).unwrap();
    }
    let cut = pay(&mut pair, 1201);
    assert!(is_calm(&cut), "{cut:?}");
    let parked = pair.server.close(&cut.unwrap_err().to_string());
    assert_eq!(parked, [1201]);
    assert_eq!(pair.server.running(), 0);
    let written = take(pair.server.outgoing());
    let kinds = kinds(&written);
    assert_eq!(kinds.len(), 1201, "an answer each, and the go-away");
    assert_eq!(kinds.last(), Some(&(raw::GO_AWAY, 0)));
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("enhance your calm: the peer cancels"));
}

#[test]
fn t10_cancels_of_nothing_are_a_flood_as_well() {
    // [call.cancel-pace]
    let mut pair = Pair::open();
    let cancel = raw::frame(raw::CANCEL, 77, b"");
    for _ in 0..200 {
        pair.server_reads(&cancel).unwrap();
    }
    assert!(is_calm(&pair.server_reads(&cancel)));
}
