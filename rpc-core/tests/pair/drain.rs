//! A server that goes loses no call: each runs to its end or was not processed.

use rpc_core::connection::{ConnectionError, RequestHead, StartError};

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

/// What the client saw of go-aways: `None` in place of the last call of a first one.
fn go_aways(pair: &Pair) -> Vec<Option<u64>> {
    let lasts = pair.client_saw.iter().filter_map(|saw| match saw {
        ClientSaw::GoAway { last, reason } => {
            assert_eq!(reason, "moving");
            Some((*last != u64::MAX).then_some(*last))
        }
        _ => None,
    });
    lasts.collect()
}

#[test]
fn what_crosses_a_go_away_is_taken_and_what_comes_behind_the_pong_is_not_processed() {
    // [conn.go-away] [call.once] [call.oneway]
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"1");
    pair.drive();
    pair.server.drain(pair.now, "moving");
    let crossing = pair.call(WAIT, 2, b"2");
    pair.oneway(ECHO, b"it runs");
    pair.carry_to_server().unwrap();
    assert_eq!(pair.server.running(), 2, "and the oneway call is over");
    pair.carry_to_client().unwrap();
    assert_eq!(go_aways(&pair), [None]);
    assert!(!pair.client.accepts_calls() && !pair.client.is_drained());
    let refused = pair
        .client
        .start_call(RequestHead::new(ECHO), 3, |_| Ok(()));
    assert!(matches!(refused, Err(StartError::Closed)));
    pair.drive();
    let last = crossing.number() + 1;
    assert_eq!(go_aways(&pair), [None, Some(last)]);

    let behind = last as u32 + 1;
    pair.server_reads(&raw::request(behind, b"")).unwrap();
    let refusal = take(pair.server.outgoing());
    assert_eq!(kinds(&refusal), [(raw::ERROR, behind)]);
    assert!(!pair.server.is_drained(), "1 and 2 run");
    pair.answer_parked();
    assert!(pair.server.is_drained(), "the answers may be written");
    pair.drive();
    assert!(pair.client.is_drained());
    assert_eq!(pair.ends().len(), 2);
    assert_eq!(pair.client.in_flight(), 0);
}

#[test]
fn who_does_not_answer_a_go_away_is_waited_for_for_a_second() {
    // [conn.go-away] [call.once]
    let mut pair = Pair::open();
    pair.server.drain(pair.now, "moving");
    let told = take(pair.server.outgoing());
    pair.server_alone_for(SECOND - MS).unwrap();
    let first = pair.call(ECHO, 1, b"in time");
    pair.carry_to_server().unwrap();
    assert!(!pair.server.is_drained());
    let answer = take(pair.server.outgoing());
    pair.server_alone_for(MS).unwrap();
    assert!(pair.server.is_drained());
    pair.call(ECHO, 2, b"too late");
    pair.client_reads(&[told, answer].concat()).unwrap();
    pair.drive();
    assert_eq!(go_aways(&pair), [None, Some(first.number())]);
    pair.heed_go_away(first.number());
    let [(1, ClientSaw::Replied { .. }), (2, refused)] = pair.ends()[..] else {
        panic!("{:?}", pair.client_saw)
    };
    assert!(matches!(
        refused,
        ClientSaw::Failed {
            not_processed: true,
            ..
        }
    ));
}

#[test]
fn a_second_during_which_nothing_is_read_does_not_count() {
    // [conn.go-away]: its client does not take the answers.
    let mut pair = Pair::open();
    pair.server.drain(pair.now, "moving");
    pair.server_alone_for(10 * SECOND).unwrap();
    assert!(!pair.server.is_drained());
    pair.call(ECHO, 1, b"");
    pair.drive();
    assert!(pair.server.is_drained() && pair.client.is_drained());
    assert!(matches!(pair.ends()[..], [(1, ClientSaw::Replied { .. })]));
}

#[test]
fn a_later_go_away_names_no_more_calls_than_an_earlier_one() {
    // [conn.go-away]: what was refused in between was not accepted.
    let mut pair = Pair::open();
    let first = pair.call(WAIT, 1, b"");
    pair.drive();
    pair.server.drain(pair.now, "moving");
    pair.server.drain(pair.now, "moving on");
    let first_told = take(pair.server.outgoing());
    assert_eq!(kinds(&first_told), [(raw::GO_AWAY, 0), (raw::PING, 0)]);
    pair.server_alone_for(SECOND).unwrap();
    let call = pair.call(ECHO, 2, b"");
    pair.carry_to_server().unwrap();
    pair.server.close("moving");
    let written = take(pair.server.outgoing());
    let error = (raw::ERROR, call.number() as u32);
    assert_eq!(
        kinds(&written),
        [(raw::GO_AWAY, 0), error, (raw::GO_AWAY, 0)]
    );
    pair.client_reads(&written).unwrap();
    assert_eq!(go_aways(&pair), [Some(first.number()); 2]);
}

#[test]
fn a_server_that_goes_before_the_hello_tells_so_behind_the_ack() {
    // [conn.go-away] [open.early]: what comes with the hello is on its way.
    let mut pair = Pair::new();
    pair.server.drain(pair.now, "moving");
    assert!(!pair.server.is_drained() && pair.server.outgoing().is_empty());
    let early = pair.call(ECHO, 1, b"early");
    pair.drive();
    assert_eq!(pair.client_saw[0], ClientSaw::Opened);
    assert_eq!(go_aways(&pair), [None, Some(early.number())]);
    assert!(matches!(pair.ends()[..], [(1, ClientSaw::Replied { .. })]));
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
            pair.server.drain(pair.now, "moving");
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
    pair.server.drain(pair.now, "moving");
    pair.carry_to_client().unwrap();
    assert_eq!(
        pair.client_alone_for(20 * SECOND),
        Err(ConnectionError::Silent)
    );
    assert_eq!(
        pair.server_alone_for(20 * SECOND),
        Err(ConnectionError::Silent)
    );
}
