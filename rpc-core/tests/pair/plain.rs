//! Plain requests that are admitted together, and replies that are handed over together.

use rpc_core::codec::CodecError;
use rpc_core::connection::{Answered, PlainRequest, Replies};
use rpc_core::wire::{Encoded, Follows, Parts};
use rpc_core::{Code, Metadata};

use super::harness::*;

const ALL: usize = 64;

/// The bytes of calls `1..=count`, which the client has open.
fn requests(pair: &mut Pair, count: u64) -> Vec<u8> {
    for kept in 1..=count {
        pair.call(ECHO, kept, &[kept as u8; 3]);
    }
    let bytes = take(pair.client.outgoing());
    pair.server.handle_receipt(pair.now, bytes.len());
    bytes
}

fn answer(replies: &mut Replies, request: PlainRequest<'_>) {
    let answered = replies.reply(request.id, &Metadata::new(), |out| {
        out.extend_from_slice(request.body);
        Ok(())
    });
    assert!(matches!(answered, Ok(Answered::Reply)));
}

/// What the client keeps for the calls that were replied to, in the order of the replies.
fn replied(pair: &Pair) -> Vec<u64> {
    let kept = pair.client_saw.iter().filter_map(|saw| match saw {
        ClientSaw::Replied { kept, body, .. } => {
            assert_eq!(*body, [*kept as u8; 3]);
            Some(*kept)
        }
        _ => None,
    });
    kept.collect()
}

#[test]
fn all_of_a_read_are_admitted_and_answered_together() {
    // [call.once]
    let mut pair = Pair::open();
    let bytes = requests(&mut pair, 5);
    let (mut input, mut replies) = (&bytes[..], Replies::default());
    let mut admitted = pair.server.admit_plain(input, ALL, &mut replies);
    assert_eq!(pair.server.running(), 5);
    for request in &mut admitted {
        assert_eq!(request.method, ECHO);
        answer(&mut replies, request);
    }
    assert!(pair.server.outgoing().is_empty() && !replies.is_empty());
    assert_eq!(pair.server.running(), 5, "nobody else takes it for idle");
    pair.server.settle(admitted, &mut replies, &mut input);
    assert!(input.is_empty() && replies.is_empty());
    assert_eq!(pair.server.running(), 0);
    pair.carry_to_client().unwrap();
    assert_eq!(replied(&pair), [1, 2, 3, 4, 5]);
    pair.assert_usable();
}

#[test]
fn who_was_not_started_is_admitted_again() {
    // [call.id] [call.once]
    let mut pair = Pair::open();
    let bytes = requests(&mut pair, 4);
    let (mut input, mut replies) = (&bytes[..], Replies::default());
    let mut admitted = pair.server.admit_plain(input, 3, &mut replies);
    assert_eq!(pair.server.running(), 3, "as many as were asked for");
    answer(&mut replies, admitted.next().unwrap());
    pair.server.settle(admitted, &mut replies, &mut input);
    assert_eq!(pair.server.running(), 0);
    assert_eq!(input.len(), bytes.len() * 3 / 4);
    pair.server_reads(input).unwrap();
    pair.carry_to_client().unwrap();
    assert_eq!(replied(&pair), [1, 2, 3, 4]);
    pair.assert_usable();
}

#[test]
fn a_go_away_meanwhile_refuses_nobody() {
    // [conn.go-away] [call.once]
    let mut pair = Pair::open();
    let bytes = requests(&mut pair, 3);
    let (mut input, mut replies) = (&bytes[..], Replies::default());
    let mut admitted = pair.server.admit_plain(input, ALL, &mut replies);
    answer(&mut replies, admitted.next().unwrap());
    pair.server.drain(pair.now, "moving");
    assert!(!pair.server.is_drained());
    answer(&mut replies, admitted.next().unwrap());
    pair.server.settle(admitted, &mut replies, &mut input);
    pair.server_reads(input).unwrap();
    pair.drive();
    assert_eq!(replied(&pair), [1, 2, 3]);
    assert!(pair.server.is_drained() && pair.client.is_drained());
}

#[test]
fn t2_no_more_are_admitted_than_there_is_room_for() {
    // [call.in-flight]
    let mut config = server_config();
    config.calls_max = 2;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    let bytes = requests(&mut pair, 4);
    let mut replies = Replies::default();
    let mut admitted = pair.server.admit_plain(&bytes, ALL, &mut replies);
    assert_eq!(pair.server.running(), 2);
    assert_eq!((&mut admitted).count(), 2);
    assert!(admitted.is_empty());
}

#[test]
fn what_is_not_plain_is_left() {
    let mut pair = Pair::open();
    let mut bytes = requests(&mut pair, 1);
    pair.oneway(ECHO, b"no answer");
    bytes.extend(take(pair.client.outgoing()));
    let (mut input, mut replies) = (&bytes[..], Replies::default());
    let mut admitted = pair.server.admit_plain(input, ALL, &mut replies);
    answer(&mut replies, admitted.next().unwrap());
    assert!(admitted.next().is_none());
    pair.server.settle(admitted, &mut replies, &mut input);
    assert!(!input.is_empty());
    let cut = &input[..input.len() - 1];
    for unfit in [input, cut] {
        let admitted = pair.server.admit_plain(unfit, ALL, &mut replies);
        assert!(admitted.is_empty());
    }
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn a_reply_that_fails_or_goes_on_is_ended_by_the_connection() {
    // [call.once]
    let mut pair = Pair::open();
    let bytes = requests(&mut pair, 4);
    let (mut input, mut replies) = (&bytes[..], Replies::default());
    let mut admitted = pair.server.admit_plain(input, ALL, &mut replies);
    answer(&mut replies, admitted.next().unwrap());
    let none = Metadata::new();
    let mut end = |replies: &mut Replies,
                   body: &dyn Fn(&mut Vec<u8>) -> Result<Follows, CodecError>| {
        let call = admitted.next().unwrap().id;
        let told = |out: &mut Vec<u8>| body(out).map(|follows| Encoded::new(follows, Parts::new()));
        let unended = replies.reply(call, &none, told).unwrap_err();
        pair.server.collect(replies);
        pair.server.end_reply(call, unended)
    };
    let failed = end(&mut replies, &|out| {
        out.push(7);
        Err(CodecError::encode("it cannot"))
    });
    assert_eq!(failed, Answered::Error(Code::Internal));
    let long = end(&mut replies, &|out| {
        out.extend([0; LIMIT + 1]);
        Ok(Follows::Nothing)
    });
    assert_eq!(long, Answered::Error(Code::ResourceExhausted));
    let streams = end(&mut replies, &|_| Ok(Follows::Items));
    assert_eq!(streams, Answered::Items);
    pair.server.settle(admitted, &mut replies, &mut input);
    assert_eq!(pair.server.running(), 1, "items follow one of them");
    pair.carry_to_client().unwrap();
    assert_eq!(replied(&pair), [1]);
    let codes: Vec<_> = pair.client_saw.iter().filter_map(ClientSaw::code).collect();
    assert_eq!(codes, [Code::Internal, Code::ResourceExhausted]);
    assert!(matches!(
        pair.client_saw.last(),
        Some(ClientSaw::Streams { kept: 4, .. })
    ));
}
