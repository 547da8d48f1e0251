//! Every malformed frame has one outcome: an error on its call, or the end of the connection.

use rpc_core::Code;
use rpc_core::connection::ConnectionError;
use rpc_core::wire::WireError;

use super::harness::*;
use super::raw::{self, Frame};

/// What the client is told about call 16 when the server reads these bytes instead of the
/// client's; afterwards a good call succeeds.
#[track_caller]
fn outcome_of(bytes: &[u8]) -> ClientSaw {
    let mut pair = Pair::open();
    assert_eq!(pair.call(ECHO, 1, b"").number(), 16);
    take(pair.client.outgoing());
    pair.server_reads(bytes).unwrap();
    assert!(pair.server_saw.is_empty(), "nothing runs");
    assert_eq!(pair.server.running(), 0);
    pair.drive();
    let [outcome] = &pair.client_saw[..] else {
        panic!("{:?}", pair.client_saw);
    };
    let outcome = outcome.clone();
    pair.assert_usable();
    outcome
}

#[track_caller]
fn assert_refused(bytes: &[u8], code: Code) {
    let ClientSaw::Failed {
        status,
        not_processed,
        unknown_method,
        ..
    } = outcome_of(bytes)
    else {
        panic!("not refused");
    };
    assert_eq!(status.code(), code, "{status}");
    assert!(not_processed && !unknown_method, "{status}");
}

#[track_caller]
fn assert_violation(outcome: Result<(), ConnectionError>) {
    assert!(
        matches!(outcome, Err(ConnectionError::Violation(_))),
        "{outcome:?}"
    );
}

fn request(flags: u8, body: &[u8]) -> Vec<u8> {
    let (kind, method) = (raw::REQUEST, ECHO.number());
    Frame {
        kind,
        flags,
        method,
        body,
        call: 16,
        ..Frame::default()
    }
    .bytes()
}

#[test]
fn undefined_flags_in_a_request() {
    // [frame.flags]
    for bit in [2, 3, 4, 7] {
        assert_refused(&request(1 << bit, b"x"), Code::InvalidArgument);
    }
    let mut pair = Pair::open();
    pair.server_reads(&request(raw::ONEWAY | 0x80, b"x"))
        .unwrap();
    assert!(
        pair.server_saw.is_empty() && pair.is_quiet(),
        "a oneway request is never answered"
    );
}

#[test]
fn t7_bad_metadata_fails_its_call_only() {
    // [body.metadata]
    let with = |block: &[u8]| request(raw::METADATA, block);
    let pair_of = |key: &[u8], value: &[u8]| with(&raw::metadata([(key, value)]));
    let long_key = [b'k'; 129];
    for key in [
        &b""[..],
        b"Upper",
        b"nul\0",
        b"cr\r",
        b"lf\n",
        "ü".as_bytes(),
        b"\xff",
        &long_key,
    ] {
        assert_refused(&pair_of(key, b"v"), Code::InvalidArgument);
    }
    for value in [
        &b"nul\0"[..],
        b"cr\r",
        b"lf\n",
        "ü".as_bytes(),
        b"\xff",
        b"\x7f",
    ] {
        assert_refused(&pair_of(b"k", value), Code::InvalidArgument);
    }
    assert_refused(&pair_of(b"rpc-timeout", b"1"), Code::InvalidArgument);
    // Cut short: the block, a pair in it, the length itself.
    assert_refused(&with(b"\x05\x00\x01k"), Code::InvalidArgument);
    assert_refused(&with(b"\x02\x00\x01k"), Code::InvalidArgument);
    assert_refused(&with(b"\x05"), Code::InvalidArgument);
    assert_refused(&with(b""), Code::InvalidArgument);
}

#[test]
fn t7_too_much_metadata_fails_its_call_only() {
    // [body.metadata]
    let with = |block: Vec<u8>| request(raw::METADATA, &block);
    let value = [b'v'; 1024];
    let pairs = |count| (0..count).map(|_| (&b"k"[..], &b""[..]));
    let kib = |count| (0..count).map(|_| (&b"k"[..], &value[..]));
    assert_refused(&with(raw::metadata(pairs(65))), Code::ResourceExhausted);
    assert_refused(&with(raw::metadata(pairs(10_000))), Code::ResourceExhausted);
    assert_refused(&with(raw::metadata(kib(8))), Code::ResourceExhausted);
    let big = vec![b'v'; 16 * 1024 + 1];
    assert_refused(
        &with(raw::metadata([(&b"k"[..], &big[..])])),
        Code::ResourceExhausted,
    );

    let mut pair = Pair::open();
    pair.server_reads(&with(raw::metadata(pairs(64)))).unwrap();
    assert_eq!(pair.server_saw.len(), 1, "64 pairs are not too much");
}

#[test]
fn t7_bad_metadata_in_an_answer_fails_its_call_only() {
    // [body.metadata] [call.once]
    let block = raw::metadata([(&b"k"[..], &b"\r\n"[..])]);
    for kind in [raw::RESPONSE, raw::ERROR] {
        let mut pair = Pair::open();
        pair.call(ECHO, 1, b"");
        take(pair.client.outgoing());
        let (flags, extra) = (raw::METADATA, 13);
        let answer = Frame {
            kind,
            flags,
            extra,
            call: 16,
            body: &block,
            ..Frame::default()
        };
        pair.client_reads(&answer.bytes()).unwrap();
        assert_eq!(pair.client_saw[0].code(), Some(Code::Internal));
    }
}

#[test]
fn a_malformed_error_still_ends_its_call_with_its_code() {
    // [body.error]
    for (extra, code) in [
        (5, Code::NotFound),
        (0, Code::Unknown),
        (17, Code::Unknown),
        (0x105, Code::Unknown),
        (0xffff, Code::Unknown),
    ] {
        for body in [&b""[..], b"\x01", b"\x02\x00a", b"\x02\x00\xff\xfe"] {
            let mut pair = Pair::open();
            pair.call(ECHO, 1, b"");
            take(pair.client.outgoing());
            let error = Frame {
                kind: raw::ERROR,
                call: 16,
                extra,
                body,
                ..Frame::default()
            };
            pair.client_reads(&error.bytes()).unwrap();
            assert_eq!(pair.client_saw[0].code(), Some(code));
        }
    }
}

#[test]
fn s1_14_an_oversized_request_fails_alone() {
    // [frame.oversized] [frame.memory]: just over the limit, over it with all overhead, far over it.
    for length in [LIMIT + 1, LIMIT + 16 * 1024 + 1, 2 << 20] {
        assert_refused(&request(0, &vec![7; length]), Code::ResourceExhausted);
    }
    for length in [LIMIT as u32 + 1, 64 << 20] {
        assert_refused_by_its_header(length);
    }
}

/// Refused as soon as the header is read; the body is skipped when it comes.
fn assert_refused_by_its_header(length: u32) {
    let mut pair = Pair::open();
    pair.call(ECHO, 1, b"");
    take(pair.client.outgoing());
    let frame = Frame {
        kind: raw::REQUEST,
        call: 16,
        ..Frame::default()
    };
    pair.server_reads(&raw::header(length, frame)).unwrap();
    pair.carry_to_client().unwrap();
    assert_eq!(pair.client_saw[0].code(), Some(Code::ResourceExhausted));
    for piece in vec![7; length as usize].chunks(1 << 20) {
        pair.server_reads(piece).unwrap();
    }
    pair.assert_usable();
}

#[test]
fn t1_a_length_bomb_closes_before_any_body() {
    // [frame.oversized] [frame.memory] [conn.error]
    for length in [(64 << 20) + 1, 1 << 31, u32::MAX] {
        for kind in 0..=u8::MAX {
            let header = raw::header(
                length,
                Frame {
                    kind,
                    call: 16,
                    ..Frame::default()
                },
            );
            let mut pair = Pair::open();
            for outcome in [pair.server_reads(&header), pair.client_reads(&header)] {
                let too_large = matches!(
                    outcome,
                    Err(ConnectionError::Wire(WireError::FrameTooLarge { .. }))
                );
                assert!(too_large, "{outcome:?}");
            }
        }
    }
}

#[test]
fn t1_memory_follows_the_bytes_received() {
    // [frame.memory]
    let header = raw::header(
        LIMIT as u32,
        Frame {
            kind: raw::REQUEST,
            call: 1,
            ..Frame::default()
        },
    );
    let mut pair = Pair::open();
    pair.server_reads(&header).unwrap();
    for received in 1..=2000 {
        pair.server_reads(&[0]).unwrap();
        assert!(pair.server_buffer() <= 64 * 1024 + 2 * received + 100);
    }
}

#[test]
fn frames_that_carry_no_message_are_short() {
    // [frame.oversized] [conn.ping]: skipped whole or in parts, and counted.
    let ping = raw::frame(raw::PING, 0, &[7; 16 * 1024 + 1]);
    let mut pair = Pair::open();
    for _ in 0..1000 {
        pair.server_reads(&ping).unwrap();
        pair.client_reads(&ping).unwrap();
    }
    pair.assert_usable();
    assert_violation(pair.server_reads(&ping));
    assert_violation(pair.client_reads(&ping));
}

#[test]
fn an_error_over_all_limits_still_ends_its_call() {
    // [frame.oversized] [call.once]
    let mut pair = Pair::open();
    let call = pair.call(ECHO, 1, b"").number() as u32;
    take(pair.client.outgoing());
    pair.client_reads(&raw::frame(
        raw::ERROR,
        call,
        &vec![0; LIMIT + 16 * 1024 + 1],
    ))
    .unwrap();
    assert_eq!(pair.client_saw[0].code(), Some(Code::ResourceExhausted));
}

#[test]
fn s1_14_after_any_refusal_a_valid_call_succeeds() {
    // [call.method] [call.arguments]: unknown method and undecodable arguments are the caller's to tell.
    let mut pair = Pair::open();
    pair.call(UNKNOWN, 1, &[9; 5000]);
    let undecodable = pair.call(WAIT, 2, b"\xff");
    pair.drive();
    assert_eq!(pair.client_saw[0].code(), Some(Code::Unimplemented));
    pair.server.unpark(undecodable).unwrap();
    pair.server.fail(
        undecodable,
        &rpc_core::Status::invalid_argument("argument `a`: not a number"),
    );
    pair.drive();
    assert_eq!(pair.client_saw[1].code(), Some(Code::InvalidArgument));
    pair.assert_usable();
}

#[test]
fn frames_of_unknown_kinds_are_skipped_and_counted() {
    // [frame.kinds]: those of later versions, and those without a meaning yet.
    let kinds = [0, 12, 13, 100, 127, 200, 255];
    let mut pair = Pair::open();
    for round in 0..1000 {
        let strange = raw::frame(kinds[round % kinds.len()], round as u32, b"what?");
        pair.server_reads(&strange).unwrap();
        pair.client_reads(&strange).unwrap();
    }
    pair.assert_usable();
    // [conn.flood] limits how many come in a second, this how many come at all.
    pair.now += std::time::Duration::from_secs(1);
    assert_violation(pair.server_reads(&raw::frame(99, 0, b"")));
    assert_violation(pair.client_reads(&raw::frame(99, 0, b"")));
}

#[test]
fn frames_of_the_wrong_direction_close_the_connection() {
    // [conn.error]: whole or oversized.
    let skipped = vec![0; 2 * LIMIT];
    for body in [&b""[..], &skipped] {
        for kind in [raw::RESPONSE, raw::ERROR] {
            assert_violation(Pair::open().server_reads(&raw::frame(kind, 1, body)));
        }
        assert_violation(Pair::open().client_reads(&raw::frame(raw::REQUEST, 1, body)));
    }
    // Of a stream that the client does not have.
    assert_violation(Pair::open().client_reads(&raw::frame(raw::CANCEL, 1, b"")));
    assert_violation(Pair::open().client_reads(&raw::frame(raw::GO_AWAY, 0, b"1234567")));
}

#[test]
fn calls_above_the_limit_in_flight_are_refused_unprocessed() {
    // [call.in-flight]
    let mut config = server_config();
    config.calls_max = 3;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    for kept in 1..=5 {
        pair.call(WAIT, kept, b"");
    }
    pair.drive();
    assert_eq!(pair.client.calls_max(), 3);
    for saw in &pair.client_saw[1..] {
        let ClientSaw::Failed { not_processed, .. } = saw else {
            panic!("{saw:?}")
        };
        assert!(*not_processed && saw.code() == Some(Code::ResourceExhausted));
    }
    assert_eq!(pair.server.running(), 3);
    pair.answer_parked();
    pair.drive();
    assert_eq!(pair.client_saw.len(), 6);
    pair.assert_usable();
}

#[test]
fn a_reply_over_the_limit_of_the_client_becomes_an_error() {
    // [call.reply-size]
    let mut config = client_config();
    config.message_bytes_max = 100;
    let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
    pair.call(ECHO, 1, &[0; 100]);
    pair.call(ECHO, 2, &[0; 101]);
    pair.call(FAIL, 3, &[0; 101]); // the typed error is too long, code and text are not
    pair.drive();
    let codes: Vec<_> = pair.client_saw[1..].iter().map(ClientSaw::code).collect();
    assert_eq!(
        codes,
        [
            None,
            Some(Code::ResourceExhausted),
            Some(Code::FailedPrecondition)
        ]
    );
    pair.assert_usable();
    // A server that does not keep to it is stopped at the client.
    for length in [101, 101 + 16 * 1024] {
        let call = pair.call(ECHO, 4, b"").number() as u32;
        take(pair.client.outgoing());
        pair.client_reads(&raw::frame(raw::RESPONSE, call, &vec![0; length]))
            .unwrap();
        assert_eq!(
            pair.client_saw.last().unwrap().code(),
            Some(Code::ResourceExhausted)
        );
    }
}

#[test]
fn metadata_does_not_count_against_the_longest_message() {
    // [call.reply-size] [frame.oversized]
    let mut pair = Pair::open();
    let value = "v".repeat(8000);
    let pairs = metadata(&[("k", &value)]);
    let head = rpc_core::connection::RequestHead::new(ECHO).with_metadata(Some(&pairs));
    pair.call_with(head, 1, &[1; LIMIT]);
    pair.drive();
    let replied = &pair.client_saw[0];
    assert!(matches!(replied, ClientSaw::Replied { body, .. } if body.len() == LIMIT));
    let refused = pair.client.start_call(head, 2, |out| {
        out.extend_from_slice(&[1; LIMIT + 1]);
        Ok(())
    });
    let Err(rpc_core::connection::StartError::TooLarge { length, limit, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((length, limit), (LIMIT + 1, LIMIT));
}

#[test]
fn the_time_left_travels() {
    // [frame.timeout]: 4096 ms is where the exponent begins.
    use std::time::Duration;
    for ms in [1, 4095, 4096, 8190, 86_400_000] {
        let timeout = Some(Duration::from_millis(ms));
        let mut pair = Pair::open();
        pair.call_with(
            rpc_core::connection::RequestHead::new(ECHO).with_timeout(timeout),
            1,
            b"",
        );
        pair.drive();
        let ServerSaw::Request {
            timeout: Some(seen),
            ..
        } = pair.server_saw[0]
        else {
            panic!("{:?}", pair.server_saw);
        };
        assert!(
            seen.as_millis() as u64 <= ms && seen.as_millis() as u64 * 2000 > ms * 1999,
            "{seen:?}"
        );
    }
}

#[test]
fn a_ping_in_the_middle_of_calls_disturbs_nobody() {
    // [conn.ping]
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"");
    pair.drive();
    for _ in 0..3 {
        pair.server_reads(&raw::frame(raw::PING, 0, &[7; 8]))
            .unwrap();
        assert_eq!(
            take(pair.server.outgoing()),
            raw::frame(raw::PONG, 0, &[7; 8])
        );
    }
    pair.answer_parked();
    pair.drive();
    assert!(pair.is_quiet());
}
