//! Requests that wait until a oneway call ends: `[call.in-flight]`.

use std::time::Duration;

use rpc_core::Metadata;
use rpc_core::connection::{CallId, ServerEvent};

use super::harness::{Cut, Pair, client_config, reply, server_config, take};
use super::raw;

const SECOND: Duration = Duration::from_secs(1);

/// A server that takes two calls at once.
fn pair() -> Pair {
    let mut config = server_config();
    config.calls_max = 2;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    pair
}

fn oneway(call: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    let frame = raw::Frame {
        kind: raw::REQUEST,
        flags: raw::ONEWAY | flags,
        call,
        body,
        ..Default::default()
    };
    frame.bytes()
}

/// Feeds in what the server takes; its handlers wait. Gives those that have begun, and what is left.
fn feed<'a>(pair: &mut Pair, mut input: &'a [u8]) -> (Vec<CallId>, &'a [u8]) {
    let mut begun = Vec::new();
    pair.server.handle_receipt(pair.now, input.len());
    while let Some(event) = pair.server.handle_input(&mut input).unwrap() {
        match event {
            ServerEvent::Request(request) if request.oneway => {
                pair.server.park_oneway(request.id, None, 0);
                begun.push(request.id);
            }
            ServerEvent::Request(request) => {
                pair.server.park(request.id, None, 0);
                begun.push(request.id);
            }
            _ => {}
        }
    }
    (begun, input)
}

fn finish(pair: &mut Pair, call: CallId) {
    pair.server.unpark(call).unwrap();
    pair.server.finish_oneway(call);
}

#[test]
fn requests_wait_for_the_end_of_a_oneway_call_wherever_the_input_is_cut() {
    let [first, second] = [1, 2].map(|call| oneway(call, 0, b"a body"));
    let behind = [raw::request(3, b"another"), oneway(4, 0, b"")].concat();
    let all = [&first[..], &second, &behind].concat();
    for cut in 1..all.len() {
        let mut pair = pair();
        let (mut begun, mut rest) = (Vec::new(), Vec::new());
        for part in [&all[..cut], &all[cut..]] {
            rest.extend_from_slice(part);
            if pair.server.is_paused() {
                continue;
            }
            let fed = std::mem::take(&mut rest);
            let (more, left) = feed(&mut pair, &fed);
            begun.extend(more);
            rest = left.to_vec();
        }
        assert_eq!((begun.len(), pair.server.running()), (2, 2), "{cut}");
        assert!(pair.server.is_paused() && rest == behind, "{cut}");
        for call in begun {
            assert!(!pair.server.is_to_resume());
            finish(&mut pair, call);
            assert!(pair.server.is_to_resume() && !pair.server.is_paused());
            let fed = std::mem::take(&mut rest);
            let (more, left) = feed(&mut pair, &fed);
            assert_eq!(more.len(), 1, "{cut}");
            rest = left.to_vec();
        }
        assert!(rest.is_empty() && !pair.server.is_paused(), "{cut}");
        assert_eq!(pair.server.take_refused(), 0);
    }
}

#[test]
fn what_is_no_request_does_not_wait() {
    let mut pair = pair();
    let input = [oneway(1, 0, b""), raw::request(2, b"")].concat();
    let (begun, _) = feed(&mut pair, &input);
    let cancel = raw::frame(raw::CANCEL, 2, b"");
    let more = [&cancel[..], &raw::request(3, b"")].concat();
    let (third, left) = feed(&mut pair, &more);
    // The cancel made room.
    assert!(begun.len() == 2 && third.len() == 1 && left.is_empty());
}

#[test]
fn who_waits_is_told_each_second_that_somebody_is_here() {
    let mut pair = pair();
    let input = [oneway(1, 0, b""), oneway(2, 0, b""), oneway(3, 0, b"")].concat();
    let (_, left) = feed(&mut pair, &input);
    assert_eq!(left, &oneway(3, 0, b"")[..]);
    take(pair.server.outgoing());
    for _ in 0..60 {
        let due = pair.server.poll_timeout().unwrap();
        assert!(due <= pair.now + SECOND);
        pair.now += SECOND;
        pair.server_looks().unwrap();
        let ping = raw::frame(raw::PING, 0, &[0; 8]);
        assert_eq!(take(pair.server.outgoing()), ping);
    }
}

#[test]
fn without_a_oneway_call_that_can_end_requests_are_refused() {
    // The client can know of calls that are not oneway; and the rest of a body is behind what would wait.
    let more = |call| oneway(call, raw::MORE, &100_000_u32.to_le_bytes());
    for two in [
        [raw::request(1, b""), raw::request(2, b"")],
        [more(1), more(2)],
    ] {
        let mut pair = pair();
        feed(&mut pair, &two.concat());
        assert_eq!(pair.server.running(), 2);
        let third = raw::request(3, b"");
        let (begun, left) = feed(&mut pair, &third);
        assert!(begun.is_empty() && left.is_empty() && !pair.server.is_paused());
        assert_eq!(pair.server.take_refused(), 1);
    }
}

#[test]
fn who_drains_lets_those_who_wait_have_their_turn() {
    // [conn.go-away]: the oneway call among them would be lost.
    let input = [oneway(1, 0, b""), oneway(2, 0, b""), raw::request(3, b"")].concat();
    let mut pair = pair();
    let (begun, left) = feed(&mut pair, &input);
    assert!(pair.server.is_paused());
    pair.server.drain(pair.now, "enough");
    let _ = take(pair.server.outgoing());
    pair.server_alone_for(5 * SECOND).unwrap();
    assert!(pair.server.is_paused());
    for call in begun {
        finish(&mut pair, call);
    }
    let (third, left) = feed(&mut pair, left);
    assert!(left.is_empty() && !pair.server.is_paused());
    for call in third {
        pair.server.unpark(call).unwrap();
        reply(&mut pair.server, call, &Metadata::new(), b"");
    }
    let _ = take(pair.server.outgoing());
    pair.server_alone_for(5 * SECOND).unwrap();
    assert!(pair.server.is_drained());
}
