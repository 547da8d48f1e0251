//! What a peer may do only so often.

use rpc_core::Metadata;
use rpc_core::connection::ConnectionError;

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

fn is_calm(outcome: &Result<(), ConnectionError>) -> bool {
    matches!(outcome, Err(ConnectionError::EnhanceYourCalm(_)))
}

fn ping() -> Vec<u8> {
    raw::frame(raw::PING, 0, b"12345678")
}

fn pong() -> Vec<u8> {
    raw::frame(raw::PONG, 0, b"12345678")
}

#[test]
fn t11_pings_sooner_than_every_5_s_are_strikes() {
    // [conn.flood]: three are forgiven.
    let mut pair = Pair::open();
    for _ in 0..4 {
        pair.server_reads(&ping()).unwrap();
        pair.now += 5 * SECOND - MS;
    }
    assert!(is_calm(&pair.server_reads(&ping())));

    let mut pair = Pair::open();
    for _ in 0..1000 {
        pair.server_reads(&ping()).unwrap();
        pair.now += 5 * SECOND;
    }
}

#[test]
fn t11_pings_around_requests_are_no_nuisance() {
    // [conn.flood]
    let mut pair = Pair::open();
    for call in 1..=1000 {
        pair.server_reads(&raw::request(call, b"")).unwrap();
        pair.server_reads(&ping()).unwrap();
        pair.now += MS;
    }
}

#[test]
fn t11_pings_while_a_call_runs_are_no_nuisance() {
    // [conn.flood]: its client may want to know soon that the server has gone.
    let mut pair = Pair::open();
    let call = pair.call(WAIT, 1, b"");
    pair.carry_to_server().unwrap();
    for _ in 0..1000 {
        pair.server_reads(&ping()).unwrap();
        pair.now += 100 * MS;
    }
    pair.server.unpark(call).unwrap();
    reply(&mut pair.server, call, &Metadata::new(), b"");
    for _ in 0..4 {
        pair.server_reads(&ping()).unwrap();
    }
    assert!(is_calm(&pair.server_reads(&ping())));
}

#[test]
fn t11_pings_around_requests_that_are_refused_are_no_nuisance_either() {
    // [conn.flood]: a request is one, whether it is admitted or not.
    let mut pair = Pair::open();
    pair.server.drain(pair.now, "enough");
    for call in 1..=10 {
        pair.server_reads(&raw::request(call, b"")).unwrap();
        pair.server_reads(&ping()).unwrap();
        pair.now += MS;
    }
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn t11_more_than_1000_control_frames_a_second_end_the_connection() {
    // [conn.flood]: on both sides.
    let mut pair = Pair::open();
    let unknown = raw::frame(77, 0, b"");
    let go_away = raw::frame(raw::GO_AWAY, 0, &[0; 8]);
    for round in 0..1000_u32 {
        let frame = [pong(), go_away.clone()][round as usize % 2].clone();
        pair.server_reads(&frame).unwrap();
        pair.client_reads(&[ping(), pong(), go_away.clone()][round as usize % 3])
            .unwrap();
    }
    assert!(is_calm(&pair.server_reads(&unknown)));
    assert!(is_calm(&pair.client_reads(&unknown)));

    let mut pair = Pair::open();
    for _ in 0..20_000 {
        pair.server_reads(&pong()).unwrap();
        pair.client_reads(&ping()).unwrap();
        take(pair.client.outgoing());
        pair.now += MS;
    }
}

#[test]
fn t17_a_server_that_says_go_away_without_end_is_left() {
    // [conn.flood] [conn.go-away]
    let mut pair = Pair::open();
    let go_away = raw::frame(raw::GO_AWAY, 0, &[0; 4096]);
    let outcome = (0..2000).try_for_each(|_| pair.client_reads(&go_away));
    assert!(is_calm(&outcome));
    assert_eq!(pair.client_saw.len(), 1000);
}

#[test]
fn t11_answers_to_pings_do_not_pile_up() {
    // [conn.flood] [body.ping]: for a peer that does not read.
    let mut pair = Pair::open();
    for call in 1..=10_000 {
        let oneway = raw::Frame {
            kind: raw::REQUEST,
            flags: raw::ONEWAY,
            call,
            ..Default::default()
        };
        pair.server_reads(&oneway.bytes()).unwrap();
        pair.server_reads(&ping()).unwrap();
        pair.client_reads(&ping()).unwrap();
        pair.now += MS;
    }
    let most = 64 * 1024 + 24;
    assert!(pair.server.outgoing().len() <= most);
    assert!(pair.client.outgoing().len() <= most);
    let written = kinds(pair.server.outgoing().chunk());
    assert!(written.iter().all(|frame| *frame == (raw::PONG, 0)));
    // Once it reads, it is answered again.
    take(pair.server.outgoing());
    pair.server_reads(&ping()).unwrap();
    assert_eq!(take(pair.server.outgoing()), pong());
}

#[test]
fn a_ping_has_eight_bytes() {
    // [body.ping] [conn.error]: or a pong would be as long as the peer likes.
    for length in [0, 7, 9, 16 * 1024] {
        let bad = raw::frame(raw::PING, 0, &vec![0; length]);
        let mut pair = Pair::open();
        let outcomes = [pair.server_reads(&bad), pair.client_reads(&bad)];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(ConnectionError::Violation(_))));
        }
        assert!(pair.server.outgoing().is_empty());
    }
}

#[test]
fn t11_frames_of_unknown_kinds_end_the_connection_in_the_end() {
    // [frame.kinds] [conn.flood]: also at a pace that nobody would call a flood.
    let mut pair = Pair::open();
    for kind in (12..=255).cycle().take(1000) {
        let unknown = raw::frame(kind, 3, b"what?");
        pair.server_reads(&unknown).unwrap();
        pair.client_reads(&unknown).unwrap();
        pair.now += 10 * MS;
    }
    let unknown = raw::frame(99, 0, b"");
    let outcomes = [pair.server_reads(&unknown), pair.client_reads(&unknown)];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(ConnectionError::Violation(_))));
    }
}
