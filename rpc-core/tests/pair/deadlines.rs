//! A call ends at its deadline, on both sides, once.

use std::time::Duration;

use rpc_core::connection::{ConnectionError, RequestHead};
use rpc_core::{Code, Deadline};

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

#[test]
fn the_client_ends_a_call_at_its_deadline_and_expects_the_late_answer() {
    // [call.deadline] F14: no cancel frame, and an answer later is not an unknown one.
    let mut pair = Pair::open();
    for round in 0..300 {
        let call = pair.call_within(WAIT, round, 50 * MS);
        pair.carry_to_server().unwrap();
        assert_eq!(pair.client.poll_timeout(), Some(pair.now + 50 * MS));
        pair.now += 50 * MS;
        pair.client_looks().unwrap();
        assert_eq!(pair.ends(), [(round, &ClientSaw::Expired(round))]);
        assert!(pair.client.outgoing().is_empty(), "no cancel");
        // Its place is free when the server has said so.
        assert_eq!((pair.client.open_calls(), pair.client.in_flight()), (0, 1));
        assert_eq!(pair.client.release(call), None);
        // The handler is a moment faster than the timer of the server.
        pair.answer_parked();
        pair.server_looks().unwrap();
        pair.carry_to_client().unwrap();
        assert_eq!(pair.client.in_flight(), 0);
        pair.client_saw.clear();
    }
    pair.assert_usable();
    super::ids::tolerates_exactly_100(&mut pair);
}

#[test]
fn a_timeout_may_begin_when_the_time_is_told() {
    // [call.deadline]
    let mut pair = Pair::open();
    let head = RequestHead::new(WAIT).with_timeout_anchored_later(50 * MS);
    let early = pair.call_with(head, 1, b"");
    let ended = pair.call_with(head, 2, b"");
    assert!(pair.client.has_unanchored());
    assert_eq!(pair.client.deadline(early), None);
    pair.client.release(ended);
    pair.now += 30 * MS;
    pair.client.anchor(pair.now);
    assert!(!pair.client.has_unanchored());
    let due = pair.now + 50 * MS;
    assert_eq!(pair.client.deadline(early), Some(due));
    assert_eq!(pair.client.deadline(ended), None);
    pair.carry_to_server().unwrap();
    assert_eq!(pair.server.poll_timeout(), Some(due), "the whole of it");
    pair.now = due - MS;
    pair.client_looks().unwrap();
    assert_eq!(pair.client.open_calls(), 1, "not yet");
    pair.now = due;
    pair.client_looks().unwrap();
    assert_eq!(pair.ends(), [(1, &ClientSaw::Expired(1))]);
}

#[test]
fn the_server_answers_a_parked_call_at_its_deadline_once() {
    // [call.deadline] [call.once]
    let mut pair = Pair::open();
    // The client gives the time but does not watch it.
    let head = RequestHead::new(WAIT).with_timeout(Some(50 * MS));
    let call = pair.call_with(head, 1, b"");
    pair.carry_to_server().unwrap();
    pair.server_saw.clear();
    assert_eq!(pair.server.poll_timeout(), Some(pair.now + 50 * MS));
    pair.now += 49 * MS;
    pair.server_looks().unwrap();
    assert_eq!(pair.server.running(), 1, "not yet");
    pair.now += MS;
    pair.server_looks().unwrap();
    assert_eq!(pair.server_saw, [ServerSaw::Expired(call.number())]);
    assert_eq!(pair.server.running(), 0);
    assert_eq!(pair.server.unpark(call), None, "a late reply is dropped");
    pair.server_looks().unwrap();
    pair.server_reads(&raw::frame(raw::CANCEL, call.number() as u32, b""))
        .unwrap();
    assert_eq!(pair.server_saw.len(), 1, "handed back once");
    pair.drive();
    let [saw] = &pair.client_saw[..] else {
        panic!("{:?}", pair.client_saw)
    };
    assert_eq!(saw.code(), Some(Code::DeadlineExceeded));
    assert!(matches!(
        saw,
        ClientSaw::Failed {
            not_processed: false,
            ..
        }
    ));
    pair.assert_usable();
}

#[test]
fn a_oneway_call_is_stopped_at_its_deadline_and_not_answered() {
    // [call.deadline] [call.once]
    let mut pair = Pair::open();
    let oneway = raw::Frame {
        kind: raw::REQUEST,
        flags: raw::ONEWAY,
        call: 9,
        extra: 20,
        ..Default::default()
    };
    let bytes = oneway.bytes();
    pair.server.handle_receipt(pair.now, bytes.len());
    let Some(rpc_core::connection::ServerEvent::Request(request)) =
        pair.server.handle_input(&mut &bytes[..]).unwrap()
    else {
        panic!("no request")
    };
    let deadline = request.timeout.map(|timeout| pair.now + timeout);
    pair.server.park_oneway(request.id, deadline, 9);
    pair.now += 20 * MS;
    pair.server_looks().unwrap();
    assert_eq!(pair.server_saw, [ServerSaw::Expired(9)]);
    assert!(pair.server.is_idle(), "ended, and nothing to write");
}

#[test]
fn the_timer_is_never_later_than_the_earliest_deadline() {
    // [call.deadline]: in whatever order calls come and go; early looks change nothing.
    let mut numbers = Numbers(14);
    for _ in 0..300 {
        let mut pair = Pair::open();
        let start = pair.now;
        let mut deadlines = std::collections::BTreeMap::new();
        for kept in 0..numbers.below(40) as u64 {
            let time = MS * (1 + numbers.below(1000) as u32);
            pair.call_within(WAIT, kept, time);
            deadlines.insert(kept, start + time);
            pair.carry_to_server().unwrap();
            if numbers.below(4) == 0 {
                let gone = numbers.below(kept as usize + 1) as u64;
                pair.client.release(pair.calls[&gone]);
                deadlines.remove(&gone);
                pair.carry_to_server().unwrap();
            }
            let earliest = deadlines.values().min().copied();
            for due in [pair.client.poll_timeout(), pair.server.poll_timeout()] {
                assert!(earliest.is_none_or(|e| due.is_some_and(|due| due <= e)));
            }
            assert_eq!(pair.pass(Duration::ZERO), [Ok(()), Ok(())]);
            assert!(pair.ends().is_empty(), "nothing ends early");
        }
        pair.run_for(SECOND).unwrap();
        let ended: std::collections::BTreeSet<u64> = pair.ends().iter().map(|e| e.0).collect();
        assert!(ended.iter().eq(deadlines.keys()));
        assert_eq!(pair.ends().len(), deadlines.len());
        assert!(pair.is_quiet());
    }
}

#[test]
fn calls_whose_deadline_passes_at_once_end_in_their_order() {
    // [call.deadline]: the same conversation gives the same bytes.
    let mut pair = Pair::open();
    let head = RequestHead::new(WAIT).with_timeout(Some(5 * MS));
    let calls: Vec<u32> = (0..200)
        .map(|kept| pair.call_with(head, kept, b"").number() as u32)
        .collect();
    pair.carry_to_server().unwrap();
    pair.now += 5 * MS;
    pair.server_looks().unwrap();
    let written = kinds(pair.server.outgoing().chunk());
    assert!(written.iter().map(|frame| frame.1).eq(calls));
}

#[test]
fn t15_extremes_never_panic() {
    // [call.deadline] [frame.timeout]
    for time in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        let mut pair = Pair::open();
        pair.call_within(WAIT, 1, time);
        let head = RequestHead::new(WAIT).with_timeout(Some(time));
        pair.call_with(head, 2, b"");
        pair.client_looks().unwrap();
        pair.carry().unwrap();
        pair.run_for(2 * MS).unwrap();
        let short = time < MS;
        assert_eq!(pair.ends().len(), if short { 2 } else { 0 }, "{time:?}");
        assert_eq!(pair.server.running(), if short { 0 } else { 2 });
        pair.now += Deadline::TIMEOUT_MAX;
        pair.client_looks().unwrap();
        assert_eq!(pair.client.open_calls(), usize::from(!short));
        pair.close_client();
        assert_eq!(pair.ends().len(), 2);
    }
    // Every bit pattern of the field, to a server that adds it to its clock.
    let mut pair = Pair::open();
    for extra in (0..=u16::MAX).step_by(61) {
        let (kind, call, method) = (raw::REQUEST, u32::from(extra) + 1, UNKNOWN.number());
        let frame = raw::Frame {
            kind,
            call,
            method,
            extra,
            ..Default::default()
        };
        pair.server_reads(&frame.bytes()).unwrap();
    }
}

#[test]
fn a_deadline_holds_while_the_handshake_is_open() {
    // [call.deadline] [open.early] [open.timeout]
    let mut pair = Pair::new();
    pair.call_within(ECHO, 1, SECOND);
    pair.call(ECHO, 2, b"patient");
    assert_eq!(pair.client.poll_timeout(), Some(pair.now + SECOND));
    pair.client_alone_for(SECOND).unwrap();
    assert_eq!(pair.ends(), [(1, &ClientSaw::Expired(1))]);
    assert_eq!(pair.client.poll_timeout(), Some(pair.now + 4 * SECOND));
    pair.drive();
    assert_eq!(pair.ends().len(), 2, "1 is not answered again");
    assert!(pair.is_quiet());
    pair.assert_usable();
    super::ids::tolerates_exactly_100(&mut pair);

    let mut pair = Pair::new();
    pair.call_within(ECHO, 1, SECOND);
    let late = pair.client_alone_for(10 * SECOND);
    assert_eq!(late, Err(ConnectionError::HandshakeTimeout(5 * SECOND)));
    assert_eq!(pair.ends(), [(1, &ClientSaw::Expired(1))]);
}

#[test]
fn a_call_released_before_its_deadline_never_expires() {
    // [call.deadline] [call.cancel]
    let mut pair = Pair::open();
    let call = pair.call_within(WAIT, 1, 50 * MS);
    pair.client.release(call);
    pair.drive();
    assert_eq!(
        pair.server_saw.last(),
        Some(&ServerSaw::Cancelled(call.number()))
    );
    pair.run_for(SECOND).unwrap();
    assert!(pair.client_saw.is_empty() && pair.is_quiet());
    assert_eq!(pair.server_saw.len(), 2);
}

#[test]
fn a_call_that_ran_out_of_time_holds_its_place_until_its_answer_is_here() {
    // [call.in-flight]: the server got it later than it began, and so stops it later.
    let mut config = server_config();
    config.calls_max = 2;
    let mut pair = Pair::with_configs(client_config(), config, Cut::Never, Cut::Never);
    pair.drive();
    pair.call_within(WAIT, 1, 100 * MS);
    let dropped = pair.call(WAIT, 2, b"");
    pair.now += 10 * MS;
    pair.drive();
    pair.now += 90 * MS;
    pair.client_looks().unwrap();
    assert_eq!(pair.client.open_calls(), 1);
    assert_eq!(pair.client.in_flight(), 2, "the server has not stopped it");
    // A cancel is there before the request that takes the place.
    pair.client.release(dropped).unwrap();
    assert_eq!(pair.client.in_flight(), 1);
    pair.call(ECHO, 3, b"");
    pair.drive();
    assert!(matches!(
        pair.client_saw.last(),
        Some(ClientSaw::Replied { kept: 3, .. })
    ));
    pair.pass(10 * MS).into_iter().for_each(Result::unwrap);
    pair.drive();
    assert_eq!(pair.client.in_flight(), 0);
    pair.assert_usable();
}
