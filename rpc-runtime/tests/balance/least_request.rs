//! Least request (gRPC A48): calls in flight alone decide.

use rpc_runtime::balance::Backend;

use super::fleet::{Behaviour, Fleet, backends, ms, secs};

/// S3-10, server load: who is slow has more calls in flight, and gets fewer.
#[test]
fn s3_10_a_slow_server_gets_fewer_calls_and_no_more_than_others_in_flight() {
    let mut fleet = Fleet::new("least_request", backends(10), Behaviour::Steady(ms(10)));
    fleet.set("s3", Behaviour::Steady(ms(100)));
    fleet.run(secs(5), 5000.0);
    let slow = fleet.run(secs(20), 5000.0).of("s3");
    println!("{:.2} %", slow * 100.0);
    // Half the calls in flight of a healthy one would be 1 %, the same number 1.1 %.
    assert!(slow < 0.03, "{slow}");
}

#[test]
fn more_choices_find_the_idle_ones_more_often() {
    let busiest = |choices| {
        let mut fleet = Fleet::new(choices, backends(20), Behaviour::Exponential(ms(20)));
        let mut sum = 0;
        for _ in 0..200 {
            fleet.run(ms(20), 3000.0);
            sum += fleet
                .backends
                .list()
                .iter()
                .map(|b| b.in_flight())
                .max()
                .unwrap();
        }
        f64::from(sum) / 200.0
    };
    let (two, ten) = (busiest("least_request:2"), busiest("least_request:10"));
    println!("calls in flight at the busiest: {two:.1} with two choices, {ten:.1} with ten");
    assert!(ten < two, "{ten} {two}");
}

#[test]
fn weights_hold() {
    let list = vec![Backend::new("heavy").with_weight(2), Backend::new("light")];
    let mut fleet = Fleet::new("least_request", list, Behaviour::Steady(ms(10)));
    let shares = fleet.run(secs(50), 2000.0);
    let ratio = shares.of("heavy") / shares.of("light");
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
}
