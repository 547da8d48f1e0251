//! A peer that has gone is found out, and one that is there is left alone.

use rpc_core::connection::{ConnectionError, KeepAlive};

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

const PING_FRAME: (u8, u32) = (raw::PING, 0);

#[test]
fn t5_the_client_gives_up_a_silent_server_after_15_s() {
    // [conn.keep-alive]
    let mut pair = Pair::open();
    let start = pair.now;
    pair.call(WAIT, 1, b"");
    take(pair.client.outgoing());
    pair.client_alone_for(10 * SECOND - MS).unwrap();
    assert!(pair.client.outgoing().is_empty(), "no ping before 10 s");
    pair.client_alone_for(MS).unwrap();
    assert_eq!(kinds(pair.client.outgoing().chunk()), [PING_FRAME]);
    pair.client_alone_for(5 * SECOND - MS).unwrap();
    assert_eq!(kinds(&take(pair.client.outgoing())), [PING_FRAME], "once");
    assert_eq!(pair.client_alone_for(SECOND), Err(ConnectionError::Silent));
    assert_eq!(pair.now, start + 15 * SECOND);
    pair.close_client();
    assert_eq!(pair.ends(), [(1, &ClientSaw::Lost(1))]);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn t5_calls_that_were_given_up_find_out_that_the_server_has_gone() {
    // [conn.keep-alive]: their callers did not wait for 15 s, and neither will the next ones.
    let mut pair = Pair::open();
    let start = pair.now;
    pair.call_within(WAIT, 1, SECOND);
    let dropped = pair.call(WAIT, 2, b"");
    pair.client_alone_for(SECOND).unwrap();
    pair.client.release(dropped).unwrap();
    assert_eq!(pair.client.open_calls(), 0);
    take(pair.client.outgoing());
    pair.client_alone_for(9 * SECOND).unwrap();
    assert_eq!(kinds(&take(pair.client.outgoing())), [PING_FRAME]);
    assert_eq!(
        pair.client_alone_for(9 * SECOND),
        Err(ConnectionError::Silent)
    );
    assert_eq!(pair.now, start + 15 * SECOND);
}

#[test]
fn t5_callers_in_line_behind_cancels_that_wait_find_out_as_well() {
    // [conn.keep-alive] [call.cancel-pace]: no call is open, and none can begin.
    let mut pair = Pair::open();
    while pair.client.in_flight() < pair.client.calls_max() {
        let call = pair.call(WAIT, 1, b"");
        pair.client.release(call).unwrap();
    }
    assert_eq!(pair.client.open_calls(), 0);
    assert_eq!(
        pair.client_alone_for(20 * SECOND),
        Err(ConnectionError::Silent)
    );
}

#[test]
fn t5_the_server_gives_up_a_silent_client_after_15_s() {
    // [conn.keep-alive]
    let mut pair = Pair::open();
    let start = pair.now;
    let call = pair.call(WAIT, 1, b"");
    pair.carry_to_server().unwrap();
    pair.server_alone_for(10 * SECOND).unwrap();
    assert_eq!(kinds(&take(pair.server.outgoing())), [PING_FRAME]);
    let gone = pair.server_alone_for(10 * SECOND);
    assert_eq!(gone, Err(ConnectionError::Silent));
    assert_eq!(pair.now, start + 15 * SECOND);
    assert_eq!(pair.server.close("silent"), [call.number()]);
    assert_eq!(pair.server.running(), 0);
}

#[test]
fn t5_an_answer_that_nobody_takes_finds_out_that_the_client_has_gone() {
    // [conn.keep-alive]: no call runs any more, but its answer is not written.
    let mut pair = Pair::open();
    let start = pair.now;
    let call = pair.call(WAIT, 1, b"");
    pair.carry_to_server().unwrap();
    pair.server.unpark(call).unwrap();
    reply(&mut pair.server, call, &metadata(&[]), b"");
    assert_eq!(pair.server.running(), 0);
    let gone = pair.server_alone_for(20 * SECOND);
    assert_eq!(gone, Err(ConnectionError::Silent));
    assert_eq!(pair.now, start + 15 * SECOND);
}

#[test]
fn a_pong_keeps_the_connection_alive() {
    // [conn.keep-alive] [conn.ping] [conn.flood]: for an hour, and nobody takes it for a flood.
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"patient");
    pair.drive();
    pair.run_for(3600 * SECOND).unwrap();
    let [to_server, _] = pair.carried();
    let pings = kinds(&to_server[24..]);
    let pings = pings.iter().filter(|kind| **kind == PING_FRAME).count();
    assert!((180..=360).contains(&pings), "{pings}");
    pair.answer_parked();
    pair.drive();
    assert_eq!(pair.ends().len(), 1);
    pair.assert_usable();
}

#[test]
fn anything_that_is_heard_answers_the_ping() {
    // [conn.keep-alive]: also a reply that comes instead of the pong.
    let mut pair = Pair::open();
    pair.call(WAIT, 1, b"");
    pair.call(WAIT, 2, b"");
    pair.drive();
    pair.client_alone_for(12 * SECOND).unwrap();
    let [first, _] = [pair.waiting[0].0, pair.waiting[1].0];
    pair.server.unpark(first).unwrap();
    reply(&mut pair.server, first, &metadata(&[]), b"");
    pair.carry_to_client().unwrap();
    assert_eq!(pair.client_alone_for(15 * SECOND - MS), Ok(()));
    assert_eq!(pair.client_alone_for(SECOND), Err(ConnectionError::Silent));
}

#[test]
fn an_idle_client_has_no_timer() {
    // [conn.keep-alive] [conn.idle]
    let mut pair = Pair::open();
    assert_eq!(pair.client.poll_timeout(), None);
    pair.assert_usable();
    // The look that the call asked for finds nothing to look for.
    pair.client_alone_for(20 * SECOND).unwrap();
    assert_eq!(pair.client.poll_timeout(), None);
    assert!(pair.client.outgoing().is_empty());
    pair.client_alone_for(3600 * SECOND).unwrap();
    pair.assert_usable();
}

#[test]
fn a_client_that_asked_for_it_pings_also_while_idle() {
    // [conn.keep-alive]
    let mut config = client_config();
    config.keep_alive = Some(KeepAlive::new(20 * SECOND, SECOND).when_idle());
    let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
    pair.drive();
    pair.run_for(200 * SECOND).unwrap();
    assert_eq!(kinds(&pair.carried()[0][24..]), [PING_FRAME; 10]);
    pair.client_alone_for(20 * SECOND).unwrap();
    assert_eq!(pair.client_alone_for(SECOND), Err(ConnectionError::Silent));
}

#[test]
fn without_keep_alive_silence_is_nothing() {
    // [conn.keep-alive]
    let mut client = client_config();
    client.keep_alive = None;
    let mut server = server_config();
    server.keep_alive = None;
    let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
    pair.call(WAIT, 1, b"");
    pair.drive();
    pair.client_alone_for(3600 * SECOND).unwrap();
    pair.server_alone_for(3600 * SECOND).unwrap();
    assert!(pair.client.outgoing().is_empty() && pair.server.outgoing().is_empty());
}

#[test]
fn a_closed_connection_looks_at_nothing() {
    // [conn.keep-alive]: a wake-up that was under way does no harm.
    let mut client = client_config();
    client.keep_alive = Some(KeepAlive::SHIPPED.when_idle());
    let mut pair = Pair::with_configs(client, server_config(), Cut::Never, Cut::Never);
    pair.call(WAIT, 1, b"");
    pair.drive();
    pair.close_client();
    pair.server.close("bye");
    take(pair.server.outgoing());
    assert_eq!(pair.due(), None);
    for _ in 0..3 {
        assert_eq!(pair.pass(10 * SECOND), [Ok(()), Ok(())]);
    }
    assert!(pair.client.outgoing().is_empty() && pair.server.outgoing().is_empty());
}
