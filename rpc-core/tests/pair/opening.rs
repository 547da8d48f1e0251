//! Who gets in, who does not, and what both are told.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::connection::{ConnectionError, Refusal, ServerConnection};
use rpc_core::wire::{Verdict, WireError};

use super::harness::*;
use super::raw;

const SECOND: Duration = Duration::from_secs(1);

/// A pair whose server has read these bytes, and what it made of them.
fn server_after(bytes: &[u8]) -> (Pair, Result<(), ConnectionError>) {
    let mut pair = Pair::new();
    let outcome = pair.server_reads(bytes);
    (pair, outcome)
}

#[track_caller]
fn refusal(outcome: Result<(), ConnectionError>) -> Refusal {
    match outcome {
        Err(ConnectionError::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

/// What a client makes of the server's answer to this hello.
fn told(hello: &[u8]) -> Refusal {
    let (mut pair, outcome) = server_after(hello);
    let at_server = refusal(outcome);
    let at_client = refusal(pair.carry_to_client());
    assert_eq!(at_client, at_server, "both sides say the same");
    at_client
}

#[test]
fn t12_all_two_byte_openings() {
    // [open.magic]
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let opening = [first, second];
            let (mut pair, outcome) = server_after(&opening);
            let client = pair.client_reads(&opening);
            if opening == *b"\x93r" {
                assert_eq!((outcome, client), (Ok(()), Ok(())));
                continue;
            }
            let found = opening.to_vec();
            let stranger = ConnectionError::Wire(WireError::BadMagic { found });
            assert_eq!(outcome, Err(stranger.clone()));
            assert_eq!(client, Err(stranger));
        }
    }
}

#[test]
fn s1_12_t12_strangers_are_sent_away_even_byte_by_byte() {
    // [open.magic] [open.reject]
    let strangers: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // TLS ClientHello
        b"SSH-2.0-OpenSSH_9.6\r\n",
        &[0; 64],
        b"\x93rpC\x01\x01\x01\x00",
    ];
    for stranger in strangers {
        let mut pair = Pair::new();
        let outcomes: Vec<_> = stranger.iter().map(|b| pair.server_reads(&[*b])).collect();
        assert_eq!(
            outcomes.iter().filter(|o| o.is_err()).count(),
            1,
            "said once"
        );
        assert!(pair.server_saw.is_empty());
        assert!(pair.server.outgoing().len() < 1000);
        let (_, whole) = server_after(stranger);
        assert!(matches!(
            whole,
            Err(ConnectionError::Wire(WireError::BadMagic { .. }))
        ));
    }
}

#[test]
fn s1_12_a_slow_hello_is_cut_at_the_handshake_timeout() {
    // [open.timeout]: each byte that drips in is in time, the hello is not.
    let mut pair = Pair::new();
    for byte in &raw::hello()[..9] {
        assert_eq!(pair.pass(SECOND / 2), [Ok(()), Ok(())]);
        pair.server_reads(&[*byte]).unwrap();
    }
    assert_eq!(pair.server.poll_timeout(), Some(pair.now + SECOND / 2));
    let late = Err(ConnectionError::HandshakeTimeout(5 * SECOND));
    assert_eq!(pair.pass(SECOND / 2), [late.clone(), late]);
}

/// A server decides without the connection at hand, so that the hello may come first.
#[test]
fn a_client_that_is_turned_away_is_told_once_whether_it_was_let_in_or_not() {
    // [open.reject] [conn.go-away]
    let why = "no room";
    let mut pair = Pair::new();
    assert!(pair.server.refuse_connection(why));
    assert!(pair.server.refuse_connection("again"));
    let told = refusal(pair.carry_to_client());
    assert_eq!(told.verdict, Verdict::TooManyConnections);
    assert_eq!(told.reason, why);

    let mut pair = Pair::new();
    let call = pair.call(ECHO, 1, b"");
    pair.carry_to_server().unwrap();
    assert!(!pair.server.refuse_connection(why), "it was let in");
    pair.server.drain(pair.now, why);
    pair.drive();
    let go_away = ClientSaw::GoAway {
        last: call.number(),
        reason: why.to_owned(),
    };
    assert_eq!(pair.client_saw[0], ClientSaw::Opened);
    assert!(pair.client_saw.contains(&go_away), "{:?}", pair.client_saw);
    assert_eq!(pair.ends().len(), 1, "{:?}", pair.client_saw);
}

#[test]
fn an_open_connection_has_no_handshake_timeout() {
    // [open.timeout]
    let mut pair = Pair::open();
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(
        pair.server.poll_timeout(),
        Some(pair.now + rpc_core::IDLE_TIMEOUT)
    );
    assert_eq!(pair.pass(100 * SECOND), [Ok(()), Ok(())]);
}

#[test]
fn a_timeout_that_never_comes_is_no_overflow() {
    // [open.timeout]
    let (mut client, mut server) = (client_config(), server_config());
    client.handshake_timeout = Duration::MAX;
    server.handshake_timeout = Duration::MAX;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(pair.pass(100 * SECOND), [Ok(()), Ok(())]);
}

#[test]
fn t12_versions() {
    // [open.hello] [open.ack] [open.reject]: highest and lowest version offered.
    for accepted in [[1, 1], [2, 1], [255, 0], [1, 0]] {
        let (mut pair, outcome) =
            server_after(&raw::preface([accepted[0], accepted[1], 1, 0], &[]));
        assert_eq!(outcome, Ok(()));
        assert_eq!(
            pair.server.outgoing().chunk()[4..6],
            [1, 0],
            "version 1, accepted"
        );
    }
    for refused in [[0, 0], [2, 2], [255, 2], [0, 1], [255, 255]] {
        let told = told(&raw::preface([refused[0], refused[1], 1, 0], &[]));
        assert_eq!(told.verdict, Verdict::UnsupportedVersion);
        assert_eq!(told.versions, (1, 1));
        let text = told.to_string();
        assert!(
            text.contains("versions 1 to 1, codecs bincode (1), json (2)"),
            "{text}"
        );
    }
}

#[test]
fn t12_an_unsupported_codec_is_told_what_is_supported() {
    // [open.reject]
    for codec in [0, 3, 127, 128, 255] {
        let told = told(&raw::preface([1, 1, codec, 0], &[]));
        assert_eq!(told.verdict, Verdict::UnsupportedCodec);
        assert_eq!(told.codecs, [(1, "bincode".into()), (2, "json".into())]);
        assert_eq!(told.reason, format!("the client asks for codec {codec}"));
    }
    let told = told(&raw::preface([1, 1, 1, 7], &[]));
    assert_eq!(told.verdict, Verdict::UnsupportedCompression);
}

#[test]
fn a_refused_client_had_no_call_processed() {
    // [open.reject] [open.early]
    let mut config = client_config();
    config.codec = 200;
    let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
    pair.call(ECHO, 1, b"early");
    refusal(pair.carry_to_server());
    refusal(pair.carry_to_client());
    assert!(pair.server_saw.is_empty());
    let mut ended = Vec::new();
    pair.client.close(|kept, _| ended.push(*kept));
    assert_eq!(ended, [1]);
    pair.server.close("the client knows already");
    assert!(
        pair.server.outgoing().is_empty(),
        "no frame follows a refusal"
    );
}

#[test]
fn malformed_hellos_are_refused() {
    // [open.extension] [open.ack]
    let long = raw::preface([1, 1, 1, 0], &[0; 16 * 1024 + 1]);
    let claims_4_gib = [&raw::hello()[..12], &[0xff; 4]].concat();
    let entry_cut = raw::preface([1, 1, 1, 0], &raw::extension(9, b"abc")[..6]);
    let limit_of_3_bytes = raw::preface([1, 1, 1, 0], &raw::extension(1, b"abc"));
    let critical = raw::preface([1, 1, 1, 0], &raw::extension(0x8000, b""));
    for hello in [long, claims_4_gib, entry_cut, limit_of_3_bytes, critical] {
        assert_eq!(told(&hello).verdict, Verdict::MalformedHello);
    }
}

#[test]
fn extensions_nobody_knows_are_skipped() {
    // [open.extension]
    let many: Vec<u8> = (100..200)
        .flat_map(|kind| raw::extension(kind, b"?"))
        .collect();
    let (pair, outcome) = server_after(&raw::preface([1, 1, 1, 0], &many));
    assert_eq!(outcome, Ok(()));
    assert_eq!(pair.server_saw, [ServerSaw::Opened { codec: 1 }]);
}

#[test]
fn a_limit_that_is_not_announced_does_not_limit() {
    // [open.extension]
    let mut pair = Pair::new();
    pair.client_reads(&raw::ack()).unwrap();
    assert!(pair.client.calls_max() > 0);
    pair.call(ECHO, 1, &[1; 1000]);

    let (mut pair, _) = server_after(&raw::hello());
    pair.server_reads(&raw::request(1, &[1; 1000])).unwrap();
    pair.carry_to_client().unwrap();
    assert!(pair.client.peer().is_some());
}

#[test]
fn t12_an_ack_for_another_connection_is_a_violation() {
    // [open.ack]: version, codec and compression are echoed.
    for head in [[2, 0, 1, 0], [0, 0, 1, 0], [1, 0, 2, 0], [1, 0, 1, 1]] {
        let outcome = Pair::new().client_reads(&raw::preface(head, &[]));
        assert!(
            matches!(outcome, Err(ConnectionError::Violation(_))),
            "{head:?}: {outcome:?}"
        );
    }
}

#[test]
fn t16_an_ack_of_many_empty_names_is_only_so_long() {
    // [open.extension]
    let names = raw::extension(3, &[0; 16 * 1024 - 4]);
    let mut pair = Pair::new();
    pair.client_reads(&raw::preface([1, 0, 1, 0], &names))
        .unwrap();
    assert_eq!(pair.client.peer().unwrap().services.len(), 16 * 1024 - 4);
}

#[test]
fn a_refusal_from_a_server_of_few_words_can_be_read() {
    // [open.reject]: a verdict of a later version, no list and no text.
    let outcome = Pair::new().client_reads(&raw::preface([3, 99, 0, 0], &[]));
    let told = refusal(outcome);
    assert_eq!(told.verdict, Verdict::Other(99));
    assert_eq!(told.versions, (3, 3));
    let text = told.to_string();
    assert!(
        text.starts_with("no reason given; ") && text.ends_with("no codec listed"),
        "{text}"
    );
}

#[test]
fn names_too_long_for_the_ack_are_cut_between_characters() {
    // [open.extension]
    let mut config = server_config();
    config.codecs.push((200, "é".repeat(200)));
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    assert_eq!(pair.client_saw, [ClientSaw::Opened]);
    assert_eq!(pair.client.peer().unwrap().codecs[2].1, "é".repeat(127));
}

#[test]
fn a_list_too_long_for_the_ack_is_left_out() {
    // [open.extension]
    let mut config = server_config();
    config.services = (0..2000)
        .map(|n| format!("some.package.Service{n}"))
        .collect();
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    let ack = pair.client.peer().unwrap();
    assert!(ack.services.is_empty());
    assert_eq!(ack.codecs.len(), 2);
}

/// What the server is told about hello and a hundred requests, written at once and cut `at`.
fn hundred(cuts: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut server = ServerConnection::<u64>::new(Arc::new(server_config()), Pair::new().now);
    let stream = hundred_stream();
    let mut numbers = Vec::new();
    let mut done = 0;
    let end = stream.len();
    for at in cuts.into_iter().chain([end]) {
        let mut piece = &stream[done..at];
        while let Some(event) = server.handle_input(&mut piece).unwrap() {
            if let rpc_core::connection::ServerEvent::Request(request) = event {
                numbers.push(request.body[0]);
                reply(&mut server, request.id, &request.metadata, &request.body);
            }
        }
        done = at;
    }
    assert_eq!(server.running(), 0);
    numbers
}

fn hundred_stream() -> Vec<u8> {
    let mut stream = raw::hello();
    for number in 1..=100 {
        stream.extend_from_slice(&raw::request(u32::from(number), &[number; 3]));
    }
    stream
}

#[test]
fn s1_39_hello_and_a_hundred_requests_in_one_write_split_at_every_byte() {
    // [open.early] [frame.chunks]
    let expected: Vec<u8> = (1..=100).collect();
    let end = hundred_stream().len();
    assert_eq!(hundred([]), expected);
    assert_eq!(hundred(1..end), expected);
    for at in 1..end {
        assert_eq!(hundred([at]), expected, "split at {at}");
    }
}

#[test]
fn s1_39_ten_thousand_repetitions_with_other_splits() {
    // [open.early] [frame.chunks]
    let expected: Vec<u8> = (1..=100).collect();
    let end = hundred_stream().len();
    let mut numbers = Numbers(39);
    for round in 0..10_000 {
        let mut cuts: Vec<usize> = (0..1 + round % 20).map(|_| numbers.below(end)).collect();
        cuts.sort_unstable();
        assert_eq!(hundred(cuts.iter().copied()), expected, "split at {cuts:?}");
    }
}
