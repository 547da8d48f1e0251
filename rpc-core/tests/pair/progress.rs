//! A frame has to get on.

use std::time::Duration;

use rpc_core::Status;
use rpc_core::connection::ConnectionError;

use super::clock::{MS, SECOND};
use super::harness::*;
use super::pieces::{begin, chunk};
use super::raw::{self, Frame};

/// Feeds a server these bytes at this pace, and takes its answers; how long until it was cut off, if
/// it was.
fn drip(pair: &mut Pair, bytes: &[u8], piece: usize, every: Duration) -> Result<(), Duration> {
    let start = pair.now;
    for piece in bytes.chunks(piece) {
        let fed = pair.server_reads(piece);
        take(pair.server.outgoing());
        let cut = fed.and_then(|()| pair.server_alone_for(every));
        if let Err(error) = cut {
            assert_eq!(error, ConnectionError::Stalled);
            return Err(pair.now - start);
        }
    }
    Ok(())
}

#[test]
fn t4_a_frame_at_a_byte_a_second_is_cut_off() {
    // [frame.progress]: in its header, in its body, in a body that is skipped.
    let slow = [
        raw::request(1, b""),
        raw::request(1, &[7; 1000]),
        raw::header(
            LIMIT as u32 * 2,
            raw::Frame {
                kind: raw::REQUEST,
                call: 1,
                ..Default::default()
            },
        )
        .into_iter()
        .chain([0; 100])
        .collect(),
    ];
    for bytes in slow {
        for start in [1, 15, 16] {
            let mut pair = Pair::open();
            pair.server_reads(&bytes[..start.min(bytes.len() - 1)])
                .unwrap();
            let cut = drip(&mut pair, &bytes[start.min(bytes.len() - 1)..], 1, SECOND);
            if bytes.len() > 16 {
                assert!(cut.is_err_and(|after| after <= 20 * SECOND), "{cut:?}");
            }
        }
    }
    let mut pair = Pair::open();
    let cut = drip(&mut pair, &raw::request(1, b""), 1, SECOND);
    assert_eq!(cut, Err(10 * SECOND), "a header alone");
}

#[test]
fn t4_a_frame_at_1_kib_a_second_is_not() {
    // [frame.progress]: whichever way a second is divided.
    let bytes = raw::request(1, &vec![7; LIMIT]);
    for parts in [1, 2, 4, 8, 64, 128] {
        let mut pair = Pair::open();
        let piece = 1024 / parts as usize;
        assert_eq!(drip(&mut pair, &bytes, piece, SECOND / parts), Ok(()));
        assert_eq!(pair.server_saw.len(), 1, "it is complete");
    }
    let mut pair = Pair::open();
    let cut = drip(&mut pair, &bytes, 900, SECOND);
    assert!(cut.is_err(), "a little less is too little");
}

#[test]
fn the_time_counts_for_each_frame() {
    // [frame.progress]: slow but steady calls, of which no read ends where a frame does.
    let mut pair = Pair::open();
    let stream: Vec<u8> = (1..=200)
        .flat_map(|call| raw::request(call, b"1234"))
        .collect();
    assert_eq!(drip(&mut pair, &stream, 19, SECOND), Ok(()));
    assert!(pair.server_saw.len() >= 199);
}

#[test]
fn t4_a_message_in_pieces_is_late_whatever_comes_between() {
    // [frame.progress]: credits for a stream of long ago, and pieces of nothing.
    let credit = raw::frame(raw::CREDIT, 1, &(16_u32 * 1024).to_le_bytes());
    let piece = raw::frame(raw::CHUNK, 1, &[7; 100]);
    let request = |call| raw::request(call, b"");
    for between in [
        [credit.clone(), credit],
        [request(3), request(4)],
        [piece.clone(), piece],
    ] {
        let mut pair = Pair::open();
        pair.server_reads(&raw::request(1, b"1234")).unwrap();
        take(pair.server.outgoing());
        let begun = begin(raw::REQUEST, 0, 2, LIMIT);
        pair.server_reads(&begun).unwrap();
        let cut = drip(&mut pair, &between.concat(), between[0].len(), 9 * SECOND);
        assert!(cut.is_err_and(|after| after <= 20 * SECOND), "{cut:?}");
    }
    // It is over, and the next has all its time.
    let mut pair = Pair::open();
    pair.server_reads(&begin(raw::REQUEST, 0, 1, 1000)).unwrap();
    assert_eq!(pair.server_alone_for(9 * SECOND), Ok(()));
    let mut rest = raw::frame(raw::CHUNK, 1, &[7; 1000]);
    rest.extend(&raw::request(2, b"1234")[..10]);
    pair.server_reads(&rest).unwrap();
    assert_eq!(pair.server_alone_for(9 * SECOND), Ok(()));
    // A piece of nothing, a byte at a time.
    let mut pair = Pair::open();
    pair.server_reads(&raw::request(1, b"1234")).unwrap();
    take(pair.server.outgoing());
    let piece = raw::frame(raw::CHUNK, 1, &[7; 100]);
    let cut = drip(&mut pair, &piece, 1, SECOND);
    assert!(cut.is_err_and(|after| after <= 20 * SECOND), "{cut:?}");
}

#[test]
fn a_connection_between_two_frames_may_wait() {
    // [frame.progress]
    let mut pair = Pair::open();
    let frame = raw::request(1, b"1234");
    pair.server_reads(&frame[..10]).unwrap();
    pair.server_reads(&frame[10..]).unwrap();
    assert_eq!(pair.server_alone_for(100 * SECOND), Ok(()));
    let mut pair = Pair::open();
    pair.server_reads(&frame[..10]).unwrap();
    assert_eq!(pair.server_alone_for(10 * SECOND - MS), Ok(()));
    assert_eq!(pair.server_alone_for(MS), Err(ConnectionError::Stalled));
}

#[test]
fn a_message_that_nobody_waits_for_any_more_is_not_late() {
    // [frame.progress] [frame.pieces]: the call is over, and its client sends none of the rest.
    let ends: [fn(&mut Pair); 3] = [
        |pair| pair.answer_parked(),
        |pair| {
            let (call, _) = pair.waiting.pop().unwrap();
            pair.server.unpark(call).unwrap();
            pair.server.fail(call, &Status::unavailable("no"));
        },
        |pair| {
            let (call, _) = pair.waiting.last().unwrap();
            pair.server.stop_items(*call);
        },
    ];
    for end in ends {
        let mut pair = Pair::open();
        let request = Frame {
            kind: raw::REQUEST,
            call: 1,
            flags: raw::ITEMS,
            method: WAIT.number(),
            ..Frame::default()
        };
        pair.server_reads(&request.bytes()).unwrap();
        let row = begin(raw::ITEM, 0, 1, LIMIT);
        pair.server_reads(&row).unwrap();
        pair.server_reads(&chunk(1, &[7; 1000])).unwrap();
        end(&mut pair);
        take(pair.server.outgoing());
        // What else is in flight goes on, if pings are answered.
        assert_eq!(pair.server_alone_for(14 * SECOND), Ok(()));
    }
}

#[test]
fn t5_a_frame_is_not_late_while_the_server_does_not_read_it() {
    // [frame.progress]: answers wait for a client that takes them slowly; until then nothing is read.
    let mut pair = Pair::open();
    pair.server_reads(&raw::request(1, b"1234")).unwrap();
    assert!(!pair.server.outgoing().is_empty());
    let frame = raw::request(2, b"1234");
    pair.server_reads(&frame[..10]).unwrap();
    assert_eq!(pair.server_alone_for(25 * SECOND), Ok(()));
    take(pair.server.outgoing());
    // From now on it is read, and has as long as any other.
    assert_eq!(pair.server_alone_for(5 * SECOND), Ok(()));
    assert_eq!(
        pair.server_alone_for(10 * SECOND),
        Err(ConnectionError::Stalled)
    );
}

#[test]
fn t4_a_handshake_at_a_byte_a_second_is_cut_off() {
    // [open.timeout]
    let mut pair = Pair::new();
    for byte in raw::hello().chunks(1).take(5) {
        pair.server_reads(byte).unwrap();
        if pair.server_alone_for(SECOND).is_err() {
            break;
        }
    }
    let late = pair.server_looks();
    assert_eq!(late, Err(ConnectionError::HandshakeTimeout(5 * SECOND)));

    let mut pair = Pair::new();
    take(pair.client.outgoing());
    for byte in raw::ack().chunks(1).take(5) {
        pair.client_reads(byte).unwrap();
        pair.now += SECOND;
    }
    let late = pair.client_looks();
    assert_eq!(late, Err(ConnectionError::HandshakeTimeout(5 * SECOND)));
}
