//! However a connection or a handler ends, each call ends once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rpc_core::codec::CodecError;
use rpc_core::connection::{Answered, CallId, RequestHead, ServerEvent, StartError};
use rpc_core::{Code, Metadata, Status};

use super::harness::*;
use super::raw;

/// Starts a call that the server has read and has not answered, nor parked.
fn inline(pair: &mut Pair) -> CallId {
    let call = pair.call(WAIT, 1, b"inline");
    let bytes = take(pair.client.outgoing());
    let mut input = &bytes[..];
    let event = pair.server.handle_input(&mut input).unwrap();
    assert!(matches!(&event, Some(ServerEvent::Request(request)) if request.id == call));
    call
}

#[test]
fn a_call_that_runs_while_the_server_closes_is_still_answered_once() {
    // [conn.go-away] [call.once]
    let mut pair = Pair::open();
    let parked = pair.call(WAIT, 7, b"parked");
    pair.drive();
    let running = inline(&mut pair);
    assert_eq!(pair.server.close("bye"), [parked.number()]);
    assert_eq!(pair.server.running(), 1);
    assert_eq!(
        pair.server.unpark(parked),
        None,
        "its answer is to be dropped"
    );
    reply(&mut pair.server, running, &Metadata::new(), b"in time");
    assert_eq!(pair.server.running(), 0);
    assert!(pair.server.close("again").is_empty());
    pair.drive();
    let last = running.number();
    let reason = "bye".into();
    let replied = ClientSaw::Replied {
        kept: 1,
        metadata: Metadata::new(),
        body: b"in time".into(),
    };
    assert_eq!(
        pair.client_saw,
        [ClientSaw::GoAway { last, reason }, replied]
    );
    assert_eq!(
        pair.client.open_calls(),
        1,
        "the parked one ends with the stream"
    );
}

#[test]
fn a_call_that_runs_while_the_server_closes_can_fail_or_park() {
    // [call.once]
    let mut pair = Pair::open();
    let failing = inline(&mut pair);
    let parking = inline(&mut pair);
    assert!(pair.server.close("bye").is_empty());
    pair.server.park(parking, None, 2);
    pair.server.fail(failing, &Status::internal("no"));
    assert_eq!(pair.server.close("again"), [2]);
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn a_closed_server_reads_nothing_more() {
    // [conn.go-away]
    let mut pair = Pair::open();
    pair.server.close("bye");
    take(pair.server.outgoing());
    pair.call(ECHO, 1, b"too late");
    pair.carry_to_server().unwrap();
    pair.server_reads(&raw::frame(raw::RESPONSE, 0, b"nonsense"))
        .unwrap();
    assert!(pair.server_saw.is_empty() && pair.server.is_idle());
}

#[test]
fn a_closed_client_reads_and_sends_nothing_more() {
    // [call.once]
    let mut pair = Pair::open();
    let call = pair.call(ECHO, 1, b"");
    pair.drive();
    let open = pair.call(WAIT, 2, b"");
    take(pair.client.outgoing());
    let mut ended = Vec::new();
    pair.client.close(|kept, _| ended.push(*kept));
    pair.client.close(|kept, _| ended.push(*kept));
    assert_eq!(ended, [2], "once");
    assert_eq!(pair.client.release(open), Some(2));
    assert_eq!(pair.client.release(open), None);
    assert_eq!(pair.client.release(call), None);
    pair.client_reads(&raw::frame(raw::PING, 0, &[0; 8]))
        .unwrap();
    pair.client_reads(&raw::frame(raw::REQUEST, 0, b"nonsense"))
        .unwrap();
    assert!(pair.client.outgoing().is_empty(), "no cancel and no pong");
    let head = RequestHead::new(ECHO);
    assert!(matches!(
        pair.client.start_call(head, 3, |_| Ok(())),
        Err(StartError::Closed)
    ));
    assert!(matches!(
        pair.client.start_oneway(head, |_| Ok(())),
        Err(StartError::Closed)
    ));
}

#[test]
fn after_a_go_away_the_calls_below_it_finish() {
    // [conn.go-away]
    let mut pair = Pair::open();
    let calls: Vec<CallId> = (0..4).map(|kept| pair.call(WAIT, kept, b"")).collect();
    let last = calls[1].number();
    let go_away = [&last.to_le_bytes()[..], b"moving"].concat();
    pair.client_reads(&raw::frame(raw::GO_AWAY, 0, &go_away))
        .unwrap();
    let reason = "moving".into();
    assert_eq!(pair.client_saw, [ClientSaw::GoAway { last, reason }]);
    assert!(!pair.client.accepts_calls());
    let mut ended = Vec::new();
    pair.client.close_above(last, |kept| ended.push(*kept));
    assert_eq!(ended, [2, 3]);
    pair.carry_to_server().unwrap();
    pair.answer_parked();
    pair.drive();
    assert_eq!(
        pair.client_saw.len(),
        3,
        "calls 0 and 1 are answered, 2 and 3 have ended"
    );
    assert!(pair.is_quiet());
}

#[test]
fn t14_a_body_that_panics_or_fails_leaves_the_connection_whole() {
    // [call.once]
    let mut pair = Pair::open();
    let head = RequestHead::new(ECHO);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pair.client.start_call::<()>(head, 1, |out| {
            out.extend_from_slice(b"half");
            panic!("a user's Serialize")
        })
    }));
    assert!(panicked.is_err());
    let failed = pair.client.start_call::<()>(head, 2, |out| {
        out.extend_from_slice(b"half");
        Err(CodecError::encode("no"))
    });
    assert!(matches!(failed, Err(StartError::Encode(_))));
    assert_eq!(pair.client.open_calls(), 0);
    assert!(pair.client.outgoing().is_empty());

    let call = inline(&mut pair);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pair.server.reply::<()>(call, &Metadata::new(), |out| {
            out.extend_from_slice(b"half");
            panic!("a user's Serialize")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(pair.server.running(), 1, "not answered yet");
    pair.server
        .fail(call, &Status::internal("the handler panicked"));
    pair.drive();
    assert_eq!(pair.client_saw[0].code(), Some(Code::Internal));

    let call = inline(&mut pair);
    let answered = pair
        .server
        .reply::<()>(call, &Metadata::new(), |_| Err(CodecError::encode("no")));
    assert_eq!(answered, Answered::Error(Code::Internal));
    pair.drive();
    assert_eq!(pair.client_saw[1].code(), Some(Code::Internal));
    pair.assert_usable();
}

#[test]
fn a_cancel_that_crosses_the_answer_is_ignored() {
    // [call.cancel] [call.once]
    let mut pair = Pair::open();
    let call = inline(&mut pair);
    pair.client.release(call);
    pair.carry_to_server().unwrap();
    assert!(pair.server_saw.is_empty(), "it runs and is not parked");
    reply(&mut pair.server, call, &Metadata::new(), b"");
    pair.drive();
    assert!(pair.client_saw.is_empty());
    pair.assert_usable();
}

#[test]
fn a_oneway_call_cannot_be_cancelled_and_is_not_answered() {
    // [call.once] [call.oneway]
    let mut pair = Pair::open();
    let oneway = raw::Frame {
        kind: raw::REQUEST,
        flags: raw::ONEWAY,
        call: 9,
        ..Default::default()
    };
    let bytes = oneway.bytes();
    let event = pair.server.handle_input(&mut &bytes[..]).unwrap();
    let Some(ServerEvent::Request(request)) = event else {
        panic!("{event:?}")
    };
    pair.server.park_oneway(request.id, None, 9);
    pair.server_reads(&raw::frame(raw::CANCEL, 9, b"")).unwrap();
    assert!(pair.server_saw.is_empty(), "it runs on");
    assert!(pair.server.outgoing().is_empty());
    assert_eq!(pair.server.unpark(request.id), Some(9));
    pair.server.finish_oneway(request.id);
    assert!(pair.server.is_idle(), "ended, and nothing to write");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    // [body.error] [body.go-away]
    let mut pair = Pair::open();
    let call = inline(&mut pair);
    pair.server.fail(call, &Status::internal("é".repeat(4000)));
    pair.server.close(&"é".repeat(4000));
    pair.drive();
    let expected = "é".repeat(2048);
    assert!(
        matches!(&pair.client_saw[0], ClientSaw::Failed { status, .. } if status.message() == expected)
    );
    assert!(matches!(&pair.client_saw[1], ClientSaw::GoAway { reason, .. } if *reason == expected));
}

#[test]
fn a_server_that_closes_before_the_hello_sends_no_frame() {
    // [open.ack]: frames follow only an acceptance.
    let mut pair = Pair::new();
    pair.server_reads(&raw::hello()[..5]).unwrap();
    assert!(pair.server.close("shutting down").is_empty());
    assert!(pair.server.outgoing().is_empty());
    pair.server_reads(&raw::hello()[5..]).unwrap();
    assert!(pair.server_saw.is_empty(), "too late to open");
    assert_eq!(pair.server.poll_timeout(), None);
}
