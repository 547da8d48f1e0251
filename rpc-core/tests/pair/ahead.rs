//! How far large bodies run ahead of their reader.

use rpc_core::connection::ConnectionError;
use rpc_core::wire::Outgoing;

use super::harness::{ClientSaw, Cut, ECHO, LIMIT, Pair, WAIT, take_up_to};
use super::harness::{client_config, server_config};
use super::{pieces::PIECE, raw};

const KIB: usize = 1024;
const BODY: usize = 4 << 20;
/// What may be on its way before the first report.
const FIRST: usize = 256 * KIB;

/// Client and server that take messages of 4 MiB, and small ones.
fn open() -> Pair {
    let (mut client, mut server) = (client_config(), server_config());
    client.message_bytes_max = BODY as u32;
    server.message_bytes_max = BODY as u32;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    pair.drive();
    pair
}

/// Writes turns until none is left.
fn write_turns(outgoing: &mut Outgoing) -> Vec<u8> {
    let mut bytes = Vec::new();
    while outgoing.has_turn() {
        let mut turn = outgoing.take();
        bytes.extend(take_up_to(&mut turn, usize::MAX));
        outgoing.prepend(turn);
    }
    bytes
}

#[test]
fn a_body_waits_until_more_of_it_is_read() {
    // [frame.ahead]: the first window, before anything is known of the way.
    for small in [false, true] {
        let mut pair = open();
        pair.call(ECHO, 1, &vec![7; BODY]);
        if small {
            pair.call(ECHO, 2, b"small");
        }
        let bytes = write_turns(pair.client.outgoing());
        assert!(bytes.len() >= FIRST && bytes.len() < FIRST + PIECE + KIB);
        assert!(!pair.client.outgoing().is_empty());
        pair.server_reads(&bytes).unwrap();
        pair.drive();
        let replies = pair.client_saw.iter();
        let replies = replies.filter(|saw| matches!(saw, ClientSaw::Replied { .. }));
        assert_eq!(replies.count(), 1 + usize::from(small));
        assert!(pair.client.outgoing().is_empty() && pair.server.outgoing().is_empty());
    }
}

#[test]
fn turns_and_reports_bring_all_of_both_bodies() {
    // [frame.ahead] [frame.pieces]: both ways at once, with a small call between any two writes.
    let mut pair = open();
    pair.call(ECHO, 1, &vec![7; BODY]);
    let mut small = 0_u64;
    let is_reply = |saw: &ClientSaw| matches!(saw, ClientSaw::Replied { kept: 1, .. });
    while !pair.client_saw.iter().any(is_reply) {
        small += 1;
        pair.call(ECHO, 1 + small, b"small");
        let there = write_turns(pair.client.outgoing());
        assert!(there.len() <= FIRST + 2 * PIECE, "{}", there.len());
        pair.server_reads(&there).unwrap();
        let back = write_turns(pair.server.outgoing());
        assert!(back.len() <= FIRST + 2 * PIECE, "{}", back.len());
        pair.client_reads(&back).unwrap();
        // Each small call is answered at once, whatever else is on its way.
        let last = 1 + small;
        let answered =
            |saw: &ClientSaw| matches!(saw, ClientSaw::Replied { kept, .. } if *kept == last);
        assert!(pair.client_saw.iter().any(answered));
        assert!(small < 1000, "the large body does not get on");
    }
}

#[test]
fn t9_reports_that_cannot_be_close_the_connection() {
    // [frame.ahead] [conn.error]
    let too_much = |pair: &mut Pair| write_turns(pair.client.outgoing()).len() as u32;
    let reports: [fn(u32) -> Vec<u8>; 5] = [
        |_| 0_u32.to_le_bytes().to_vec(),
        |sent| sent.to_le_bytes().to_vec(),
        |_| u32::MAX.to_le_bytes().to_vec(),
        |_| vec![0; 3],
        |_| vec![],
    ];
    for report in reports {
        let mut pair = open();
        pair.call(WAIT, 1, &[7; LIMIT]);
        let sent = too_much(&mut pair);
        let report = raw::frame(raw::CREDIT, 0, &report(sent));
        let refused = pair.client_reads(&report).unwrap_err();
        assert!(
            matches!(refused, ConnectionError::Violation(_)),
            "{refused}"
        );
        // The server has sent no pieces at all.
        let mut pair = open();
        let refused = pair.server_reads(&report).unwrap_err();
        assert!(
            matches!(refused, ConnectionError::Violation(_)),
            "{refused}"
        );
    }
}

#[test]
fn t9_reports_of_a_few_bytes_are_a_flood() {
    // [frame.ahead] [conn.flood]
    let mut pair = open();
    pair.call(WAIT, 1, &vec![7; BODY]);
    write_turns(pair.client.outgoing());
    let report = raw::frame(raw::CREDIT, 0, &1_u32.to_le_bytes());
    let refused = (0..1001).find_map(|_| pair.client_reads(&report).err());
    assert!(matches!(refused, Some(ConnectionError::EnhanceYourCalm(_))));
}

#[test]
fn pieces_that_are_cut_do_not_count_for_ever() {
    // [frame.ahead] [call.cancel]: a turn is away when its body is given up.
    let mut pair = open();
    for kept in 0..100 {
        let call = pair.call(WAIT, kept, &vec![7; BODY]);
        let turn = pair.client.outgoing().take();
        pair.client.release(call);
        pair.client.outgoing().prepend(turn);
        pair.drive();
        pair.now += std::time::Duration::from_millis(100);
    }
    pair.client_saw.clear();
    pair.call(WAIT, 200, &vec![7; BODY]);
    let bytes = write_turns(pair.client.outgoing());
    assert!(bytes.len() >= FIRST, "{}", bytes.len());
}

#[test]
fn a_peer_that_does_not_read_hears_no_reports_until_it_does() {
    // [frame.ahead]: or every piece would leave some bytes behind.
    let mut pair = open();
    pair.call(WAIT, 1, &vec![7; BODY]);
    for kept in 2..4 {
        pair.call(ECHO, kept, &[1; 40 * KIB]);
    }
    let small = take_up_to(pair.client.outgoing(), 81 * KIB);
    pair.server_reads(&small).unwrap();
    let before = pair.server.outgoing().len();
    let body = take_up_to(pair.client.outgoing(), 512 * KIB);
    pair.server_reads(&body).unwrap();
    assert_eq!(pair.server.outgoing().len(), before);
    // Then it hears of all at once.
    pair.drive();
    assert!(pair.client.outgoing().is_empty());
}
