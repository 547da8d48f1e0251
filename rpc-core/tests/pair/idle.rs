//! A connection without calls is closed after a while.

use super::clock::{MS, SECOND, kinds};
use super::harness::*;
use super::raw;

const IDLE: std::time::Duration = rpc_core::IDLE_TIMEOUT;

fn go_aways(pair: &Pair) -> usize {
    // The first one names no call.
    let is_go_away =
        |saw: &&ClientSaw| matches!(saw, ClientSaw::GoAway { last, .. } if *last != u64::MAX);
    pair.client_saw.iter().filter(is_go_away).count()
}

#[test]
fn t5_the_server_closes_an_idle_connection_after_5_minutes() {
    // [conn.idle] [conn.go-away]
    let mut pair = Pair::open();
    pair.run_for(IDLE - MS).unwrap();
    assert_eq!(go_aways(&pair), 0);
    pair.run_for(MS).unwrap();
    assert_eq!(go_aways(&pair), 1);
    assert!(pair.server.is_drained() && pair.client.is_drained());
    assert!(!pair.client.accepts_calls());
    pair.run_for(IDLE).unwrap();
    assert_eq!(go_aways(&pair), 1, "said once");
    assert_eq!(pair.server.poll_timeout(), None, "and not looked for again");
}

#[test]
fn calls_keep_a_connection_and_pings_do_not() {
    // [conn.idle]
    let mut pair = Pair::open();
    for _ in 0..30 {
        pair.run_for(IDLE / 2).unwrap();
        pair.assert_usable();
    }
    for _ in 0..30 {
        pair.run_for(IDLE / 2).unwrap();
        pair.oneway(ECHO, b"");
        pair.drive();
    }
    assert_eq!(go_aways(&pair), 0);
    let ping = raw::frame(raw::PING, 0, &[0; 8]);
    for _ in 0..50 {
        pair.run_for(6 * SECOND).unwrap();
        pair.server_reads(&ping).unwrap();
    }
    pair.run_for(SECOND).unwrap();
    assert_eq!(go_aways(&pair), 1);
}

#[test]
fn oneway_calls_keep_the_connection_of_a_client_with_an_idle_timeout() {
    // [conn.idle]: although nothing is ever heard from the server.
    let mut config = client_config();
    config.idle_timeout = Some(60 * SECOND);
    let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
    pair.drive();
    for _ in 0..30 {
        pair.oneway(ECHO, b"");
        pair.drive();
        pair.run_for(10 * SECOND).unwrap();
        assert!(pair.client.accepts_calls());
    }
    pair.run_for(110 * SECOND).unwrap();
    assert!(pair.client.is_drained());
}

#[test]
fn a_long_call_is_not_idle_and_the_time_counts_from_its_end() {
    // [conn.idle]: with and without keep-alive.
    for keep_alive in [true, false] {
        let mut client = client_config();
        let mut server = server_config();
        if !keep_alive {
            client.keep_alive = None;
            server.keep_alive = None;
        }
        let mut pair = Pair::with_configs(client, server, Cut::Never, Cut::Never);
        pair.call(WAIT, 1, b"");
        pair.drive();
        pair.run_for(3 * IDLE + IDLE / 2).unwrap();
        assert_eq!(go_aways(&pair), 0);
        // The runtime tells the time with whatever it reads or is woken for.
        pair.server_looks().unwrap();
        pair.answer_parked();
        pair.drive();
        pair.run_for(IDLE / 2 - MS).unwrap();
        assert_eq!(go_aways(&pair), 0, "{keep_alive}");
        pair.run_for(IDLE).unwrap();
        assert_eq!(go_aways(&pair), 1, "{keep_alive}");
    }
}

#[test]
fn a_client_with_an_idle_timeout_takes_no_calls_behind_it() {
    // [conn.idle]
    for keep_alive in [true, false] {
        let mut config = client_config();
        config.idle_timeout = Some(60 * SECOND);
        if !keep_alive {
            config.keep_alive = None;
        }
        let mut pair = Pair::with_configs(config, server_config(), Cut::Never, Cut::Never);
        pair.call(WAIT, 1, b"");
        pair.drive();
        pair.run_for(150 * SECOND).unwrap();
        assert!(pair.client.accepts_calls(), "a call is in flight");
        pair.answer_parked();
        pair.drive();
        pair.run_for(60 * SECOND - MS).unwrap();
        assert!(pair.client.accepts_calls());
        assert!(!pair.client.is_drained());
        pair.run_for(MS).unwrap();
        assert!(!pair.client.accepts_calls());
        assert!(pair.client.is_drained());
        assert!(
            kinds(&pair.carried()[0][24..])
                .iter()
                .all(|(kind, _)| *kind != raw::GO_AWAY),
            "a client says nothing, it closes"
        );
    }
}
