//! Retries along a chain of services, each of which calls the next.

use rpc_core::Status;
use rpc_runtime::resilience::{
    Attempted, BudgetPolicy, GiveUp, Pushback, RetryBudget, RetryPolicy,
};

use super::secs;

/// The clients of a chain; the last one calls a server that always fails.
struct Chain {
    budgets: Vec<RetryBudget>,
    /// Attempts of each client.
    attempts: Vec<u64>,
    says_stop: bool,
}

impl Chain {
    fn new(hops: usize, policy: BudgetPolicy, says_stop: bool) -> Self {
        Self {
            budgets: (0..hops).map(|_| RetryBudget::new(policy)).collect(),
            attempts: vec![0; hops],
            says_stop,
        }
    }

    fn call(&mut self, hop: usize, millis: u64) -> Status {
        if hop == self.budgets.len() {
            return Status::unavailable("down");
        }
        let now = secs(100) + super::ms(millis);
        self.budgets[hop].note_call(now);
        let policy = RetryPolicy::default();
        for tried in 1.. {
            self.attempts[hop] += 1;
            let status = self.call(hop + 1, millis);
            let attempted = Attempted::new(&status, tried).with_idempotent(true);
            match policy.decide(&attempted, &self.budgets[hop], now, 0.5) {
                Ok(_) => {}
                Err(GiveUp::Code | GiveUp::MaybeProcessed) => return status,
                Err(_) if self.says_stop => return Pushback::Stop.put(status),
                Err(_) => return status,
            }
        }
        unreachable!("attempts are capped")
    }
}

/// Enough for every retry.
fn plenty() -> BudgetPolicy {
    BudgetPolicy::default().with_reserve_per_second(1e6)
}

#[test]
fn three_attempts_on_each_of_three_hops_are_three_and_not_twenty_seven() {
    let mut chain = Chain::new(3, plenty(), true);
    chain.call(0, 0);
    assert_eq!(chain.attempts, [1, 1, 3]);
    let mut without = Chain::new(3, plenty(), false);
    without.call(0, 0);
    assert_eq!(
        without.attempts,
        [3, 9, 27],
        "what happens if nobody says stop"
    );
}

/// F15: 2,000 calls a second, 30 s, three hops.
#[test]
fn f15_a_failing_leaf_gets_a_tenth_more_calls_through_three_hops() {
    let mut chain = Chain::new(3, BudgetPolicy::default(), true);
    for call in 0..60_000_u64 {
        chain.call(0, call / 2);
    }
    let leaf = chain.attempts[2] as f64 / 60_000.0;
    println!("{leaf:.3} attempts at the leaf for each call");
    assert_eq!(chain.attempts[..2], [60_000, 60_000]);
    assert!(leaf <= 1.11, "{leaf}");
}
