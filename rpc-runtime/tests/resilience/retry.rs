//! Whether a call is tried again: every code, promise and stage.

use std::time::Duration;

use rpc_core::{Code, Status};
use rpc_runtime::resilience::{
    Attempted, BudgetPolicy, GiveUp, Pushback, RetryBudget, RetryPolicy,
};

use super::{ms, secs};

fn decide(policy: &RetryPolicy, attempted: Attempted<'_>) -> Result<Duration, GiveUp> {
    policy.decide(&attempted, &RetryBudget::default(), secs(1), 1.0)
}

#[test]
fn every_code_with_every_promise() {
    let policy = RetryPolicy::default();
    for code in (1..=16).map(Code::from_number) {
        let processed = Status::new(code, "");
        let unprocessed = Status::new(code, "").with_not_processed();
        let attempts = [
            decide(&policy, Attempted::new(&processed, 1)),
            decide(&policy, Attempted::new(&processed, 1).with_idempotent(true)),
            decide(&policy, Attempted::new(&unprocessed, 1)),
        ];
        let expected = match code {
            Code::Unavailable => [Err(GiveUp::MaybeProcessed), Ok(ms(10)), Ok(ms(10))],
            _ => [Err(GiveUp::Code); 3],
        };
        assert_eq!(attempts, expected, "{code}");
    }
}

#[test]
fn attempts_are_capped_and_pauses_grow() {
    let status = Status::unavailable("");
    let again = |policy: &RetryPolicy, attempts| {
        decide(
            policy,
            Attempted::new(&status, attempts).with_idempotent(true),
        )
    };
    let policy = RetryPolicy::default();
    assert_eq!(again(&policy, 2), Ok(ms(16)));
    assert_eq!(again(&policy, 3), Err(GiveUp::Attempts));
    assert_eq!(
        again(&policy.clone().with_attempts_max(1), 1),
        Err(GiveUp::Attempts)
    );
    assert_eq!(
        again(&policy.clone().with_attempts_max(0), 1),
        Err(GiveUp::Attempts)
    );
    let many = policy.with_attempts_max(99);
    assert!(again(&many, 4).is_ok());
    assert_eq!(
        again(&many, RetryPolicy::ATTEMPTS_MAX),
        Err(GiveUp::Attempts)
    );
}

#[test]
fn the_deadline_is_not_slept_through() {
    let status = Status::unavailable("").with_not_processed();
    let left = |left| Attempted::new(&status, 1).with_remaining(Some(left));
    let policy = RetryPolicy::default();
    assert_eq!(decide(&policy, left(ms(10))), Err(GiveUp::Deadline));
    assert_eq!(decide(&policy, left(ms(11))), Ok(ms(10)));
}

#[test]
fn a_server_says_when_and_whether() {
    let policy = RetryPolicy::default();
    let said = |status: Status, pushback: Pushback| {
        let status = pushback.put(status.with_not_processed());
        assert_eq!(Pushback::of(&status), Some(pushback));
        decide(&policy, Attempted::new(&status, 1))
    };
    let after = Pushback::After(ms(700));
    assert_eq!(said(Status::unavailable(""), after), Ok(ms(700)));
    assert_eq!(said(Status::resource_exhausted(""), after), Ok(ms(700)));
    assert_eq!(said(Status::internal(""), after), Err(GiveUp::Code));
    let stop = Pushback::Stop;
    assert_eq!(said(Status::unavailable(""), stop), Err(GiveUp::Pushback));
    assert_eq!(
        said(Status::resource_exhausted(""), stop),
        Err(GiveUp::Code)
    );
}

#[test]
fn a_pushback_that_is_no_number_says_stop() {
    for value in ["-1", "", "soon", "1.5", "99999999999999999999"] {
        let mut metadata = rpc_core::Metadata::new();
        metadata.insert(Pushback::KEY, value).unwrap();
        let status = Status::unavailable("").with_metadata(metadata);
        assert_eq!(Pushback::of(&status), Some(Pushback::Stop), "{value:?}");
    }
    assert_eq!(Pushback::of(&Status::unavailable("")), None);
}

#[test]
fn s3_10_fail_fast_fail_try_and_fail_over() {
    let status = Status::unavailable("").with_not_processed();
    let again = |policy: RetryPolicy| decide(&policy, Attempted::new(&status, 1)).is_ok();
    assert!(!again(RetryPolicy::fail_fast()));
    assert!(again(RetryPolicy::fail_try()) && !RetryPolicy::fail_try().fails_over());
    assert!(again(RetryPolicy::fail_over()) && RetryPolicy::fail_over().fails_over());
}

#[test]
fn codes_are_the_users_choice() {
    let policy = RetryPolicy::default().with_codes(&[Code::Aborted]);
    let again = |status: &Status| decide(&policy, Attempted::new(status, 1).with_idempotent(true));
    assert!(again(&Status::aborted("")).is_ok());
    assert_eq!(again(&Status::unavailable("")), Err(GiveUp::Code));
}

#[test]
fn the_budget_bounds_all_attempts_but_the_first_after_one_that_was_not_processed() {
    let nothing = BudgetPolicy::default()
        .with_share(0.0)
        .with_reserve_per_second(0.0);
    let budget = RetryBudget::new(nothing);
    let policy = RetryPolicy::default();
    let decide = |attempted| policy.decide(&attempted, &budget, secs(1), 1.0);
    let (processed, unprocessed) = (
        Status::unavailable(""),
        Status::unavailable("").with_not_processed(),
    );
    let idempotent = Attempted::new(&processed, 1).with_idempotent(true);
    assert_eq!(decide(idempotent), Err(GiveUp::Budget));
    assert!(decide(Attempted::new(&unprocessed, 1)).is_ok());
    assert_eq!(decide(Attempted::new(&unprocessed, 2)), Err(GiveUp::Budget));
}
