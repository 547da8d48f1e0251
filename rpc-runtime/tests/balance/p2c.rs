//! Power of two choices with peak EWMA: algorithms with figures from Finagle's and brpc's.

use rpc_runtime::balance::{Backend, Pick};

use super::fleet::{Behaviour, Fleet, backends, ms, secs};

const FAST: Behaviour = Behaviour::Steady(ms_const(10));
const SLOW: Behaviour = Behaviour::Steady(ms_const(100));

const fn ms_const(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

fn fleet(count: usize, behaviour: Behaviour) -> Fleet {
    Fleet::new("p2c", backends(count), behaviour)
}

/// S3-10, network quality: who takes longer gets fewer calls, and gets them back.
#[test]
fn a_slow_server_of_ten_gets_two_percent_and_recovers_within_three_decay_times() {
    let mut fleet = fleet(10, FAST);
    fleet.run(secs(5), 1000.0);
    fleet.set("s3", SLOW);
    fleet.run(secs(1), 1000.0);
    let slow = fleet.run(secs(60), 1000.0).of("s3");
    fleet.set("s3", FAST);
    fleet.run(secs(30), 1000.0);
    let healed = fleet.run(secs(10), 1000.0).of("s3");
    println!("slow {:.2} %, healed {:.2} %", slow * 100.0, healed * 100.0);
    assert!(slow < 0.02, "{slow}");
    assert!(healed > 0.08, "{healed}");
}

/// F7: with three replicas, a slow one gets no more than a tenth. Less than a hundredth, and the 99th
/// percentile is that of the others.
#[test]
fn f7_a_slow_server_of_three_gets_less_than_a_hundredth() {
    let share = |policy: &str| {
        let mut fleet = Fleet::new(policy, backends(3), FAST);
        fleet.set("s0", SLOW);
        fleet.run(secs(1), 2000.0);
        fleet.run(secs(60), 2000.0).of("s0")
    };
    let (slow, in_turn) = (share("p2c"), share("round_robin"));
    println!("{:.2} %, in turn {:.2} %", slow * 100.0, in_turn * 100.0);
    assert!(slow < 0.01, "{slow}");
    assert!(in_turn > 0.33, "the slow one is no problem to begin with");
}

#[test]
fn a_server_that_fails_fast_attracts_no_calls() {
    let mut fleet = fleet(10, FAST);
    fleet.run(secs(5), 1000.0);
    fleet.set("s3", Behaviour::Fails(ms(1)));
    let failing = fleet.run(secs(60), 1000.0).of("s3");
    println!("{:.2} %", failing * 100.0);
    assert!(failing < 0.02, "{failing}");
}

#[test]
fn equal_servers_get_equal_shares() {
    let mut fleet = fleet(10, Behaviour::Exponential(ms(10)));
    let ratio = fleet.run(secs(200), 1000.0).max_by_min();
    println!("max/min {ratio:.3}");
    assert!(ratio < 1.15, "{ratio}");
}

#[test]
fn a_new_server_is_not_flooded() {
    let mut fleet = fleet(9, FAST);
    fleet.run(secs(10), 1000.0);
    let (list, new) = (backends(10), "s9");
    fleet.replace(list);
    // It takes its time with its first calls, as servers do that fill their caches.
    fleet.set(new, Behaviour::Steady(ms(500)));
    let first = fleet.run(ms(400), 1000.0).calls(new);
    assert_eq!(first, 1, "one call until it has answered");
    fleet.run(ms(600), 1000.0);
    fleet.set(new, FAST);
    fleet.run(secs(50), 1000.0);
    let share = fleet.run(secs(10), 1000.0).of(new);
    assert!((0.08..0.12).contains(&share), "{share}");
}

#[test]
fn twice_the_weight_is_twice_the_calls_whether_idle_or_busy() {
    for (behaviour, rate, within) in [
        (FAST, 5.0, 0.05),
        (FAST, 100.0, 0.05),
        (FAST, 5000.0, 0.05),
        // Who gets more calls meets the peaks of a latency that varies widely more often.
        (Behaviour::Exponential(ms(10)), 2000.0, 0.1),
    ] {
        let list = vec![Backend::new("heavy").with_weight(2), Backend::new("light")];
        let mut fleet = Fleet::new("p2c", list, behaviour);
        fleet.run(secs(1), rate);
        let shares = fleet.run(secs(100_000).div_f64(rate), rate);
        let ratio = shares.of("heavy") / shares.of("light");
        println!("at {rate} calls/s {ratio:.3}");
        assert!(
            (ratio / 2.0 - 1.0).abs() < within,
            "at {rate} calls/s: {ratio}"
        );
    }
}

#[test]
fn a_slow_server_gets_few_calls_even_if_it_is_the_heaviest() {
    let list = vec![
        Backend::new("heavy").with_weight(8),
        Backend::new("a"),
        Backend::new("b"),
    ];
    let mut fleet = Fleet::new("p2c", list, FAST);
    fleet.set("heavy", Behaviour::Steady(secs(1)));
    fleet.run(secs(2), 1000.0);
    let slow = fleet.run(secs(60), 1000.0).of("heavy");
    println!("{:.2} %", slow * 100.0);
    assert!(slow < 0.1, "{slow}");
}

/// What plain EWMA cannot do: nothing is measured before the first timeout, but calls in flight are
/// counted.
#[test]
fn a_server_that_hangs_gets_no_calls_long_before_the_first_timeout() {
    let mut fleet = fleet(10, FAST);
    fleet.run(secs(5), 1000.0);
    fleet.set("s3", Behaviour::Hangs);
    let first = fleet.run(secs(1), 1000.0).calls("s3");
    let rest = fleet.run(Fleet::TIMEOUT - secs(1), 1000.0).of("s3");
    println!(
        "{first} calls in the first second, then {:.2} %",
        rest * 100.0
    );
    assert!(first < 20, "{first}");
    assert!(rest < 0.005, "{rest}");
}

/// Answers that came together are followed by calls that go out together.
#[test]
fn calls_that_are_made_together_stay_together() {
    let mut fleet = fleet(3, FAST);
    fleet.run(secs(10), 6000.0);
    let (now, list) = (fleet.now, fleet.backends.list());
    let busy = |index: usize| -> Vec<_> { (0..50).map(|_| list[index].begin(now)).collect() };
    let mut answered = busy(0);
    let _others = (busy(1), busy(2));
    let mut made = Vec::new();
    for random in 0..50 {
        answered.pop();
        let picked = fleet.backends.pick(&Pick::new(now, random)).unwrap();
        made.push((picked.index, list[picked.index].begin(now)));
    }
    let changes = made.windows(2).filter(|two| two[0].0 != two[1].0).count();
    println!("{changes} changes of server in 50 calls");
    assert!(
        changes < 10,
        "two choices alone change every third time: {changes}"
    );
}

/// One with few calls in flight is not preferred because it was picked last.
#[test]
fn calls_one_at_a_time_are_spread_as_two_choices_spread_them() {
    let mut fleet = fleet(10, FAST);
    let rare = fleet.run(secs(2_000), 10.0).max_by_min();
    println!("max/min {rare:.2}");
    assert!(rare < 1.3, "{rare}");
}

#[test]
fn a_list_that_changes_keeps_what_is_known() {
    let mut fleet = fleet(3, FAST);
    fleet.set("s0", SLOW);
    fleet.run(secs(10), 1000.0);
    let latency = fleet.backend("s0").latency(fleet.now);
    fleet.replace(backends(4));
    assert_eq!(fleet.backend("s0").latency(fleet.now), latency);
    assert!(latency > ms(30), "{latency:?}");
    assert_eq!(fleet.backend("s3").latency(fleet.now), ms(0));
}
