//! A server that goes loses no call: each runs to its end or was not processed.

use rpc_core::Code;
use rpc_core::connection::{ConnectionError, RequestHead, StartError};

use super::clock::kinds;
use super::harness::*;
use super::raw;

#[test]
fn calls_before_the_go_away_finish_and_calls_behind_it_are_not_processed() {
    // [conn.go-away] [call.once]
    let mut pair = Pair::open();
    let first = pair.call(WAIT, 1, b"1");
    pair.drive();
    pair.server.drain("moving");
    assert!(!pair.server.is_drained(), "1 runs");
    let behind = pair.call(WAIT, 2, b"2");
    pair.oneway(ECHO, b"nobody will know");
    pair.carry_to_server().unwrap();
    assert_eq!(pair.server.running(), 1, "2 did not begin");
    let text = "moving".to_owned();
    pair.carry_to_client().unwrap();
    assert_eq!(
        pair.client_saw[0],
        ClientSaw::GoAway {
            last: first.number(),
            reason: text
        }
    );
    let ClientSaw::Failed {
        kept: 2,
        status,
        not_processed: true,
        ..
    } = &pair.client_saw[1]
    else {
        panic!("{:?}", pair.client_saw)
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(behind > first);
    assert!(!pair.client.accepts_calls() && !pair.client.is_drained());
    let refused = pair
        .client
        .start_call(RequestHead::new(ECHO), 3, |_| Ok(()));
    assert!(matches!(refused, Err(StartError::Closed)));
    pair.answer_parked();
    assert!(pair.server.is_drained(), "the answer may be written");
    pair.drive();
    assert!(pair.client.is_drained());
    assert_eq!(pair.ends().len(), 2);
    assert_eq!(pair.client.in_flight(), 0);
}

#[test]
fn a_second_go_away_says_no_more_than_the_first() {
    // [conn.go-away]: what was refused in between was not accepted.
    let mut pair = Pair::open();
    let first = pair.call(WAIT, 1, b"");
    pair.drive();
    pair.server.drain("moving");
    pair.server.drain("moving on");
    pair.call(ECHO, 2, b"");
    pair.carry_to_server().unwrap();
    pair.server.close("now");
    let written = take(pair.server.outgoing());
    let sent: Vec<u8> = kinds(&written).iter().map(|frame| frame.0).collect();
    assert_eq!(sent, [raw::GO_AWAY, raw::ERROR, raw::GO_AWAY]);
    pair.client_reads(&written).unwrap();
    for saw in [&pair.client_saw[0], &pair.client_saw[2]] {
        assert!(matches!(saw, ClientSaw::GoAway { last, .. } if *last == first.number()));
    }
}

#[test]
fn a_server_that_goes_before_the_hello_tells_so_behind_the_ack() {
    // [conn.go-away] [open.early]: nothing that comes with the hello is processed.
    let mut pair = Pair::new();
    pair.server.drain("moving");
    assert!(!pair.server.is_drained() && pair.server.outgoing().is_empty());
    pair.call(ECHO, 1, b"early");
    pair.drive();
    let reason = "moving".to_owned();
    let opened = [ClientSaw::Opened, ClientSaw::GoAway { last: 0, reason }];
    assert_eq!(pair.client_saw[..2], opened);
    assert_eq!(pair.client_saw[2].code(), Some(Code::Unavailable));
    assert!(pair.server.is_drained() && pair.client.is_drained());
}

/// One interleaving: `steps` pieces of the way before the call starts, of which each is carried
/// either way in turn.
fn race(call_at: usize, drain_at: usize, method: rpc_core::MethodId, heed: bool, cut: usize) {
    let mut pair = Pair::with_cuts(Cut::Every(cut), Cut::Every(cut));
    pair.call(WAIT, 1, b"runs before");
    let mut started = None;
    for step in 0..16 {
        if step == drain_at {
            pair.server.drain("moving");
        }
        if step == call_at {
            let head = RequestHead::new(method);
            started = Some(pair.client.start_call(head, 2, |_| Ok(())));
            if let Some(Ok(call)) = &started {
                pair.calls.insert(2, *call);
            }
        }
        match step % 3 {
            0 => pair.carry_to_server().unwrap(),
            1 => pair.carry_to_client().unwrap(),
            _ if step == 14 => pair.answer_parked(),
            _ => {}
        }
        if heed && let Some(last) = last_accepted(&pair) {
            pair.heed_go_away(last);
        }
    }
    pair.drive();
    pair.answer_parked();
    pair.drive();
    assert!(pair.is_quiet());
    assert!(pair.server.running() == 0 && pair.client.in_flight() == 0);
    let ran = pair.server_saw.iter().filter(|saw| match saw {
        ServerSaw::Request { body, .. } => body.is_empty(),
        _ => false,
    });
    let ran = ran.count();
    let ends: Vec<_> = pair.ends().into_iter().filter(|end| end.0 == 2).collect();
    match (started.unwrap(), &ends[..]) {
        (Err(StartError::Closed), []) => assert_eq!(ran, 0),
        (Ok(_), [(_, ClientSaw::Replied { .. })]) => assert_eq!(ran, 1),
        (
            Ok(_),
            [
                (
                    _,
                    ClientSaw::NotProcessed(_)
                    | ClientSaw::Failed {
                        not_processed: true,
                        ..
                    },
                ),
            ],
        ) => assert_eq!(ran, 0),
        (started, ends) => panic!("{started:?} {ends:?}"),
    }
    assert!(pair.ends().iter().filter(|end| end.0 == 1).count() == 1);
    super::ids::tolerates_exactly_100(&mut pair);
}

#[test]
fn a_call_at_every_step_around_a_go_away_ends_once() {
    // [conn.go-away] [call.once]: with its reply, or as not processed.
    for call_at in 0..16 {
        for drain_at in 0..16 {
            for method in [ECHO, WAIT] {
                for heed in [false, true] {
                    for cut in [1, 7, 1000] {
                        race(call_at, drain_at, method, heed, cut);
                    }
                }
            }
        }
    }
}

#[test]
fn a_drained_pair_still_notices_that_its_peer_has_gone() {
    // [conn.go-away] [conn.keep-alive]
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"");
    pair.drive();
    pair.server.drain("moving");
    pair.carry_to_client().unwrap();
    let seconds = super::clock::SECOND;
    assert_eq!(
        pair.client_alone_for(20 * seconds),
        Err(ConnectionError::Silent)
    );
    assert_eq!(
        pair.server_alone_for(20 * seconds),
        Err(ConnectionError::Silent)
    );
}
