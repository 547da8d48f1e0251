//! A recorded conversation, played back cut short or damaged to one end alone.

use std::ops::Range;

use rpc_core::connection::ClientConnection;

use super::harness::*;
use super::raw;

/// A conversation without long bodies: what the client and the server wrote.
struct Recording {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

/// Calls of every kind; `kept` counts from 1.
fn calls(pair: &mut Pair) {
    let pairs = metadata(&[("tenant", "a"), ("trace.id", "0 1")]);
    let head = |method| rpc_core::connection::RequestHead::new(method).with_metadata(Some(&pairs));
    pair.call(ECHO, 1, b"small");
    pair.call(ECHO, 2, b"");
    pair.call(ECHO, 3, &[3; 300]);
    pair.call_with(head(ECHO), 4, b"with metadata");
    pair.call_with(head(FAIL), 5, b"typed error");
    pair.call(UNKNOWN, 6, b"unknown");
    pair.call(WAIT, 7, b"patient");
    pair.oneway(ECHO, b"oneway");
    pair.call(ECHO, 8, b"the last one");
}

const CALLS: u64 = 8;

fn record() -> Recording {
    let mut pair = Pair::new();
    calls(&mut pair);
    let given_up = pair.call(WAIT, 9, b"given up");
    pair.client.release(given_up);
    pair.drive();
    pair.answer_parked();
    pair.drive();
    pair.server.close("good bye");
    pair.drive();
    let [to_server, to_client] = pair.carried();
    let ping = raw::frame(raw::PING, 0, b"12345678");
    Recording {
        to_server: [to_server, &ping].concat(),
        to_client: [to_client, &ping].concat(),
    }
}

/// A client with the recorded calls open, that has written all.
fn waiting_client() -> Pair {
    let mut pair = Pair::new();
    calls(&mut pair);
    let given_up = pair.call(WAIT, 9, b"given up");
    pair.client.release(given_up);
    take(pair.client.outgoing());
    pair
}

/// Ends the connection of the client; every call has then ended exactly once.
fn end_client(pair: &mut Pair) {
    let mut ended: Vec<u64> = Vec::new();
    for saw in &pair.client_saw {
        match saw {
            ClientSaw::Replied { kept, .. } | ClientSaw::Failed { kept, .. } => ended.push(*kept),
            _ => {}
        }
    }
    let client: &mut ClientConnection<u64> = &mut pair.client;
    client.close(|kept, _| ended.push(*kept));
    assert_eq!(client.open_calls(), 0);
    ended.sort_unstable();
    assert!(ended.iter().copied().eq(1..=CALLS), "{ended:?}");
}

/// Ends the connection of the server; nothing runs then.
fn end_server(pair: &mut Pair) {
    pair.server.close("the stream ended");
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn f18_s0_7_the_stream_to_the_client_ends_anywhere() {
    // [call.once] [conn.error]
    let whole = record().to_client;
    for cut in 0..=whole.len() {
        let mut pair = waiting_client();
        pair.client_reads(&whole[..cut]).unwrap();
        end_client(&mut pair);
    }
}

#[test]
fn f18_s0_7_the_stream_to_the_server_ends_anywhere() {
    // [call.once] [conn.error]
    let whole = record().to_server;
    let mut before = 0;
    for cut in 0..=whole.len() {
        let mut pair = Pair::new();
        pair.server_reads(&whole[..cut]).unwrap();
        let seen = pair.server_saw.len();
        assert!(
            seen == before || seen == before + 1,
            "one more frame, one more event"
        );
        before = seen;
        end_server(&mut pair);
    }
}

/// Damages bytes as a fault or an attacker would.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.below(256) as u8,
            2 => set_integer(bytes, at, numbers),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(range(at, bytes.len(), numbers))),
            5 => {
                let part = bytes[range(at, bytes.len(), numbers)].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            _ => {
                let noise = (0..numbers.below(20)).map(|_| numbers.below(256) as u8);
                let noise: Vec<u8> = noise.collect();
                bytes.splice(at..at, noise);
            }
        }
    }
}

fn range(at: usize, end: usize, numbers: &mut Numbers) -> Range<usize> {
    at..end.min(at + 1 + numbers.below(64))
}

/// Puts a number on which arithmetic may trip where another number may be.
fn set_integer(bytes: &mut [u8], at: usize, numbers: &mut Numbers) {
    const TRIPS: [u32; 14] = [
        0,
        1,
        0x7f,
        0xff,
        0x7fff,
        0xffff,
        0x1_0000,
        LIMIT as u32,
        LIMIT as u32 + 16 * 1024,
        64 << 20,
        (64 << 20) + 1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ];
    let number = TRIPS[numbers.below(TRIPS.len())].to_le_bytes();
    let width = [1, 2, 4][numbers.below(3)].min(bytes.len() - at);
    bytes[at..at + width].copy_from_slice(&number[..width]);
}

/// The pieces in which damaged bytes arrive: one, two or many.
fn pieces<'a>(bytes: &'a [u8], numbers: &mut Numbers) -> std::slice::Chunks<'a, u8> {
    let size = match numbers.below(3) {
        0 => bytes.len(),
        1 => bytes.len().div_ceil(2),
        _ => 1 + numbers.below(200),
    };
    bytes.chunks(size.max(1))
}

/// Most mutations spare the first bytes, or few would come past them.
fn damaged(whole: &[u8], preface: usize, numbers: &mut Numbers) -> Vec<u8> {
    let spared = if numbers.below(10) == 0 { 0 } else { preface };
    let (front, rest) = whole.split_at(spared);
    let mut rest = rest.to_vec();
    damage(&mut rest, numbers);
    [front, &rest].concat()
}

/// Buffers for input follow what was received; output follows what was answered.
const MEMORY_MAX: usize = 256 * 1024;

#[test]
fn t1_t16_the_server_survives_50_000_mutations() {
    // [frame.memory] [conn.error]
    let whole = record().to_server;
    let mut numbers = Numbers(16);
    let mut closed = 0;
    for _ in 0..50_000 {
        let bytes = damaged(&whole, 24, &mut numbers);
        let mut pair = Pair::new();
        for piece in pieces(&bytes, &mut numbers) {
            if pair.server_reads(piece).is_err() {
                closed += 1;
                break;
            }
        }
        assert!(pair.server_buffer() + pair.server.outgoing().len() < MEMORY_MAX);
        end_server(&mut pair);
    }
    assert!(
        (1000..49_000).contains(&closed),
        "mutations that hit and that miss: {closed}"
    );
}

#[test]
fn t1_t16_the_client_survives_50_000_mutations() {
    // [frame.memory] [conn.error] [call.once]
    let whole = record().to_client;
    let mut numbers = Numbers(61);
    let mut closed = 0;
    for _ in 0..50_000 {
        let bytes = damaged(&whole, 63, &mut numbers);
        let mut pair = waiting_client();
        for piece in pieces(&bytes, &mut numbers) {
            if pair.client_reads(piece).is_err() {
                closed += 1;
                break;
            }
        }
        assert!(pair.client_buffer() + pair.client.outgoing().len() < MEMORY_MAX);
        end_client(&mut pair);
    }
    assert!(
        (1000..49_000).contains(&closed),
        "mutations that hit and that miss: {closed}"
    );
}
