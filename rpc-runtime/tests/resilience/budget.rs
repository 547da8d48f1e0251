//! The budget of all extra attempts (Finagle).

use std::time::Duration;

use proptest::prelude::*;
use rpc_core::Status;
use rpc_runtime::resilience::{Attempted, BudgetPolicy, RetryBudget, RetryPolicy};

use super::{ms, secs};

/// Attempts of calls that all fail, at this rate for so long.
fn outage(policy: BudgetPolicy, calls_per_second: u64, seconds: u64) -> u64 {
    let budget = RetryBudget::new(policy);
    let retry = RetryPolicy::default().with_attempts_max(4);
    let status = Status::unavailable("down");
    let mut attempts = 0;
    for call in 0..calls_per_second * seconds {
        let now = secs(100) + secs(1).mul_f64(call as f64 / calls_per_second as f64);
        budget.note_call(now);
        let mut tried = 1;
        let again = |tried| {
            let attempted = Attempted::new(&status, tried).with_idempotent(true);
            retry.decide(&attempted, &budget, now, 0.5).is_ok()
        };
        while again(tried) {
            tried += 1;
        }
        attempts += u64::from(tried);
    }
    attempts
}

#[test]
fn in_a_total_outage_attempts_are_the_share_and_the_reserve_more() {
    let (calls, seconds) = (1000, 60);
    let attempts = outage(BudgetPolicy::default().with_share(0.2), calls, seconds);
    let ratio = attempts as f64 / (calls * seconds) as f64;
    println!("{ratio:.3} attempts a call");
    let reserve = 10 * (seconds + 10);
    assert!(
        attempts <= calls * seconds * 12 / 10 + reserve,
        "{attempts}"
    );
    assert!(ratio > 1.15, "the budget is there to be used: {ratio}");
}

/// F15, one hop: 2,000 calls a second, all replicas `UNAVAILABLE` for 30 s.
#[test]
fn f15_a_retry_storm_is_a_tenth_more_calls() {
    let attempts = outage(BudgetPolicy::default(), 2000, 30);
    let ratio = attempts as f64 / 60_000.0;
    println!("{ratio:.3} attempts a call");
    // A tenth, and the reserve of 10 a second over 30 s and the window.
    assert!(ratio <= 1.1 + 400.0 / 60_000.0, "{ratio}");
}

#[test]
fn a_client_that_calls_rarely_may_still_retry() {
    let attempts = outage(BudgetPolicy::default(), 1, 60);
    assert_eq!(attempts, 240, "four attempts each");
}

#[test]
fn what_was_not_used_in_ten_seconds_is_lost() {
    let budget = RetryBudget::new(BudgetPolicy::default().with_reserve_per_second(0.0));
    (0..1000).for_each(|_| budget.note_call(secs(100)));
    assert_eq!(budget.available(secs(109)), 100);
    assert_eq!(budget.available(secs(111)), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// In any ten seconds: no more than the share of the calls of twenty, and the reserve.
    #[test]
    fn nobody_overdraws(
        steps in prop::collection::vec((0_u64..2000, 0_u64..50, 0_u64..50), 1..100),
        share in 0.0..1.0_f64,
    ) {
        let policy = BudgetPolicy::default().with_share(share);
        let budget = RetryBudget::new(policy);
        let (mut now, mut calls, mut spent) = (secs(1000), Vec::new(), Vec::new());
        let within = |times: &[Duration], now: Duration, window| {
            times.iter().filter(|time| now.saturating_sub(**time) < window).count() as f64
        };
        for (pause, noted, asked) in steps {
            now += ms(pause);
            for _ in 0..noted {
                budget.note_call(now);
                calls.push(now);
            }
            for _ in 0..asked {
                if budget.withdraw(now) {
                    spent.push(now);
                }
            }
            // The window moves in steps of a second.
            let earned = share * within(&calls, now, secs(20)) + 100.0;
            prop_assert!(within(&spent, now, secs(9)) <= earned);
        }
    }
}
