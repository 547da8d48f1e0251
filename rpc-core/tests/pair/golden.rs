//! Every frame, byte for byte: a change here is a change of the protocol.

use std::time::Duration;

use rpc_core::connection::{RequestHead, Sent};
use rpc_core::{Code, MethodId, Status, StreamLimits};

use super::harness::*;
use super::raw;

const METHOD: MethodId = MethodId::from_number(0x3132_3334);

/// Bytes from hex digits; blanks are for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

#[track_caller]
fn assert_bytes(written: Vec<u8>, golden: &str) {
    assert_eq!(written, hex(golden), "written: {written:02x?}");
}

/// What the client writes next.
fn client_writes(pair: &mut Pair) -> Vec<u8> {
    take(pair.client.outgoing())
}

/// As [`client_writes`], and the server reads it.
fn client_writes_and_sends(pair: &mut Pair) -> Vec<u8> {
    let written = client_writes(pair);
    pair.server_reads(&written).unwrap();
    written
}

/// What the server writes next.
fn server_writes(pair: &mut Pair) -> Vec<u8> {
    take(pair.server.outgoing())
}

#[test]
fn s1_8_hello_and_ack() {
    // [open.magic] [open.hello] [open.ack] [open.extension]
    let mut pair = Pair::new();
    let hello = client_writes(&mut pair);
    pair.server_reads(&hello).unwrap();
    assert_bytes(
        hello,
        "93 72 70 63  01 01 01 00  01 00 00 00  08 00 00 00
         01 00  04 00  00 94 01 00", // messages up to 101 KiB
    );
    assert_bytes(
        server_writes(&mut pair),
        "93 72 70 63  01 00 01 00  01 00 00 00  2f 00 00 00
         01 00  04 00  00 94 01 00
         02 00  04 00  00 04 00 00
         04 00  0f 00  01 07 62 69 6e 63 6f 64 65  02 04 6a 73 6f 6e
         03 00  08 00  07 47 72 65 65 74 65 72",
    );
}

#[test]
fn s1_8_a_refusal() {
    // [open.reject] [open.extension]
    let mut pair = Pair::new();
    pair.server_reads(&raw::preface([1, 1, 9, 0], &[]))
        .unwrap_err();
    assert_bytes(
        server_writes(&mut pair),
        "93 72 70 63  01 02 09 00  00 00 00 00  4c 00 00 00
         01 00  04 00  00 00 00 00
         02 00  04 00  00 00 00 00
         04 00  0f 00  01 07 62 69 6e 63 6f 64 65  02 04 6a 73 6f 6e
         03 00  00 00
         05 00  02 00  01 01
         06 00  1b 00  74 68 65 20 63 6c 69 65 6e 74 20 61 73 6b 73 20 66 6f 72 20 63 6f 64 65 63 20 39",
    );
}

#[test]
fn s0_5_s1_2_request_and_response() {
    // [frame.header] [frame.timeout] [body.metadata] [body.request] [body.response]
    let mut pair = Pair::open();
    let tenant = metadata(&[("t", "ab")]);
    let head = RequestHead::new(METHOD)
        .with_timeout(Some(Duration::from_millis(500)))
        .with_metadata(Some(&tenant));
    pair.call_with(head, 1, b"xyz");
    assert_bytes(
        client_writes(&mut pair),
        "0b 00 00 00  10 00 00 00  01 01 f4 01  34 33 32 31
         06 00  01 74  02 00 61 62  78 79 7a",
    );
    pair.oneway(METHOD, b"");
    assert_bytes(
        client_writes(&mut pair),
        "00 00 00 00  11 00 00 00  01 02 00 00  34 33 32 31",
    );

    let mut pair = Pair::open();
    pair.call_with(
        RequestHead::new(ECHO).with_metadata(Some(&tenant)),
        1,
        b"xyz",
    );
    pair.carry_to_server().unwrap();
    assert_bytes(
        server_writes(&mut pair),
        "0b 00 00 00  10 00 00 00  02 01 00 00  00 00 00 00
         06 00  01 74  02 00 61 62  78 79 7a",
    );
}

#[test]
fn errors() {
    // [frame.flags] [body.error]
    let mut pair = Pair::open();
    let tenant = metadata(&[("t", "ab")]);
    let call = pair.call_with(
        RequestHead::new(FAIL).with_metadata(Some(&tenant)),
        1,
        b"xyz",
    );
    assert_eq!(call.number(), 0x10);
    pair.carry_to_server().unwrap();
    assert_bytes(
        server_writes(&mut pair),
        "1b 00 00 00  10 00 00 00  03 09 09 00  00 00 00 00
         06 00  01 74  02 00 61 62
         0e 00  31 30 30 25 64 20 7b 7d 20 00 20 e2 9c 93  78 79 7a",
    );
    pair.call(UNKNOWN, 2, b"");
    pair.carry_to_server().unwrap();
    assert_bytes(
        server_writes(&mut pair),
        "10 00 00 00  11 00 00 00  03 14 0c 00  00 00 00 00
         0e 00  6e 6f 20 73 75 63 68 20 6d 65 74 68 6f 64",
    );
    let call = pair.call(WAIT, 3, b"");
    pair.carry_to_server().unwrap();
    pair.server.unpark(call).unwrap();
    pair.server.fail(call, &Status::internal(""));
    assert_bytes(
        server_writes(&mut pair),
        "02 00 00 00  12 00 00 00  03 00 0d 00  00 00 00 00  00 00",
    );
}

#[test]
fn codes_have_the_numbers_of_grpc() {
    // [body.error]
    let names = "Ok Cancelled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists \
                 PermissionDenied ResourceExhausted FailedPrecondition Aborted OutOfRange \
                 Unimplemented Internal Unavailable DataLoss Unauthenticated Unknown";
    for (number, name) in (0..).zip(names.split(' ')) {
        assert_eq!(Code::from_number(number).to_string(), name);
    }
    assert_eq!(Code::from_number(u8::MAX), Code::Unknown);
    assert_eq!(Status::new(Code::Ok, "").code(), Code::Unknown);
}

#[test]
fn cancel() {
    // [call.cancel]
    let mut pair = Pair::open();
    let call = pair.call(WAIT, 1, b"");
    pair.carry_to_server().unwrap();
    pair.client.release(call);
    let written = client_writes(&mut pair);
    pair.server_reads(&written).unwrap();
    assert_bytes(
        written,
        "00 00 00 00  10 00 00 00  04 00 00 00  00 00 00 00",
    );
    assert_bytes(
        server_writes(&mut pair),
        "19 00 00 00  10 00 00 00  03 00 01 00  00 00 00 00
         17 00  63 61 6e 63 65 6c 6c 65 64 20 62 79 20 74 68 65 20 63 61 6c 6c 65 72",
    );
}

#[test]
fn ping_and_pong() {
    // [conn.ping] [body.ping]: both sides answer.
    let ping = hex("08 00 00 00  00 00 00 00  08 00 00 00  00 00 00 00  01 02 03 04 05 06 07 08");
    let pong = "08 00 00 00  00 00 00 00  09 00 00 00  00 00 00 00  01 02 03 04 05 06 07 08";
    let mut pair = Pair::open();
    pair.server_reads(&ping).unwrap();
    assert_bytes(server_writes(&mut pair), pong);
    pair.client_reads(&ping).unwrap();
    assert_bytes(client_writes(&mut pair), pong);
    pair.server_reads(&hex(pong)).unwrap();
    pair.client_reads(&hex(pong)).unwrap();
    assert!(pair.is_quiet(), "a pong is not answered");
}

#[test]
fn go_away() {
    // [conn.go-away] [body.go-away]
    let mut pair = Pair::open();
    pair.call(ECHO, 1, b"");
    pair.drive();
    pair.server.close("bye");
    assert_bytes(
        server_writes(&mut pair),
        "0b 00 00 00  00 00 00 00  0a 00 00 00  00 00 00 00
         10 00 00 00 00 00 00 00  62 79 65",
    );

    let mut pair = Pair::open();
    pair.server.drain(pair.now, "bye");
    assert_bytes(
        server_writes(&mut pair),
        "0b 00 00 00  00 00 00 00  0a 00 00 00  00 00 00 00
         ff ff ff ff ff ff ff ff  62 79 65
         08 00 00 00  00 00 00 00  08 00 00 00  00 00 00 00
         6c 61 73 74 63 61 6c 6c",
    );
}

#[test]
fn a_message_in_pieces() {
    // [frame.pieces] [frame.flags] [frame.kinds]: the length behind the metadata, then the pieces.
    const LENGTH: usize = 0x1_4001;
    let body = [vec![7; LENGTH - 1], vec![9]].concat();
    let mut pair = Pair::open();
    let tenant = metadata(&[("t", "ab")]);
    let head = |method| RequestHead::new(method).with_metadata(Some(&tenant));
    pair.call_with(head(METHOD), 1, &body);
    let written = client_writes(&mut pair);
    let (front, chunks) = written.split_at(16 + 12);
    assert_bytes(
        front.to_vec(),
        "0c 00 00 00  10 00 00 00  01 21 00 00  34 33 32 31
         06 00  01 74  02 00 61 62  01 40 01 00",
    );
    let (first, rest) = chunks.split_at(16 + 0x1_0000);
    assert_bytes(
        first[..16].to_vec(),
        "00 00 01 00  10 00 00 00  0b 00 00 00  00 00 00 00",
    );
    assert!(first[16..].iter().all(|byte| *byte == 7));
    let (last, end) = rest.split_at(16);
    assert!(end.len() == 0x4001 && end.ends_with(&[7, 9]));
    assert_bytes(
        last.to_vec(),
        "01 40 00 00  10 00 00 00  0b 00 00 00  00 00 00 00",
    );

    let mut pair = Pair::open();
    pair.call_with(head(ECHO), 1, &body);
    pair.carry_to_server().unwrap();
    let written = server_writes(&mut pair);
    // [frame.ahead]: what it has read, between the first frame of its reply and the others.
    assert_bytes(
        written[..48].to_vec(),
        "0c 00 00 00  10 00 00 00  02 21 00 00  00 00 00 00
         06 00  01 74  02 00 61 62  01 40 01 00
         04 00 00 00  00 00 00 00  07 00 00 00  00 00 00 00
         01 40 01 00",
    );
    assert_eq!(written[48..], *chunks);
}

#[test]
fn a_message_of_64_kib_is_in_one_piece() {
    // [frame.pieces]
    let mut pair = Pair::open();
    pair.call(METHOD, 1, &[7; 0x1_0000]);
    assert_bytes(
        client_writes(&mut pair)[..17].to_vec(),
        "00 00 01 00  10 00 00 00  01 00 00 00  34 33 32 31  07",
    );
}

#[test]
fn the_streams_of_a_call() {
    // [stream.begin] [stream.items] [stream.end] [stream.credit] [stream.stop]
    let mut pair = Pair::open();
    let call = pair.start_stream(1, b"go");
    assert_bytes(
        client_writes_and_sends(&mut pair),
        "02 00 00 00  10 00 00 00  01 40 00 00  42 57 00 00  67 6f",
    );
    // Items that are sent together share a frame.
    assert_eq!(pair.client_sends(call, &[b"abc", b""]), Sent::All);
    assert_eq!(pair.client_sends(call, &[b"d"]), Sent::All);
    assert_bytes(
        client_writes_and_sends(&mut pair),
        "10 00 00 00  10 00 00 00  05 00 00 00  00 00 00 00
         03 00 00 00  61 62 63  00 00 00 00  01 00 00 00  64",
    );
    pair.client.end_items(call, Ok(()));
    assert_bytes(
        client_writes_and_sends(&mut pair),
        "00 00 00 00  10 00 00 00  06 00 00 00  00 00 00 00",
    );

    pair.begin_reply(call, b"ok");
    pair.server_sends(call, &[b"x"]);
    assert_bytes(
        server_writes(&mut pair),
        "02 00 00 00  10 00 00 00  02 40 00 00  00 00 00 00  6f 6b
         05 00 00 00  10 00 00 00  05 00 00 00  00 00 00 00  01 00 00 00  78",
    );
    pair.server.end_items(call);
    assert_bytes(
        server_writes(&mut pair),
        "00 00 00 00  10 00 00 00  06 00 00 00  00 00 00 00",
    );
}

#[test]
fn a_stream_that_fails_is_stopped_or_credited() {
    // [stream.end] [stream.credit] [stream.stop]
    let mut pair = Pair::open();
    let call = pair.start_stream(1, b"");
    assert_eq!(pair.client_sends(call, &[&[7; 0x3ffc]]), Sent::All);
    pair.drive();
    pair.server.streams().consumed(call, 0x4000, pair.now);
    assert_bytes(
        server_writes(&mut pair),
        "04 00 00 00  10 00 00 00  07 00 00 00  00 00 00 00  00 40 00 00",
    );
    let status = Status::aborted("no more");
    pair.client.end_items(call, Err(&status));
    assert_bytes(
        client_writes(&mut pair),
        "07 00 00 00  10 00 00 00  06 00 0a 00  00 00 00 00  6e 6f 20 6d 6f 72 65",
    );
    // The server does not know yet.
    pair.server.stop_items(call);
    assert_bytes(
        server_writes(&mut pair),
        "00 00 00 00  10 00 00 00  04 00 00 00  00 00 00 00",
    );
}

#[test]
fn a_long_row_of_items() {
    // [stream.items] [frame.pieces]
    let mut pair = Pair::open();
    let call = pair.start_stream(1, b"");
    client_writes_and_sends(&mut pair);
    assert_eq!(pair.client_sends(call, &[b"ab", &[7; 0x1_4000]]), Sent::All);
    let written = client_writes(&mut pair);
    assert_bytes(
        written[..46].to_vec(),
        "04 00 00 00  10 00 00 00  05 20 00 00  00 00 00 00  0a 40 01 00
         00 00 01 00  10 00 00 00  0b 00 00 00  00 00 00 00  02 00 00 00  61 62  00 40 01 00",
    );
    assert_bytes(
        written[written.len() - 16 - 0x400a..][..20].to_vec(),
        "0a 40 00 00  10 00 00 00  0b 00 00 00  00 00 00 00  07 07 07 07",
    );
}

#[test]
fn limits_of_streams_are_announced_if_they_are_others() {
    // [open.extension]
    let limits = StreamLimits::new(0x0102_0304, 0x1112_1314);
    let (mut client, mut server) = (client_config(), server_config());
    client.stream_limits = limits;
    server.stream_limits = limits;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    let hello = client_writes(&mut pair);
    pair.server_reads(&hello).unwrap();
    assert_bytes(
        hello[24..].to_vec(),
        "07 00  08 00  04 03 02 01  14 13 12 11",
    );
    assert_bytes(
        server_writes(&mut pair)[32..44].to_vec(),
        "07 00  08 00  04 03 02 01  14 13 12 11",
    );
}
