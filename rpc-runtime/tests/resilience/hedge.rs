//! Hedging: a second attempt for the late ones.

use std::time::Duration;

use rpc_core::{Code, Status};
use rpc_runtime::balance::Dice;
use rpc_runtime::resilience::{BudgetPolicy, HedgePolicy, Hedging, RetryBudget};

use super::{ms, secs};

const CALLS: u64 = 100_000;

/// Latencies, sorted, and the share of calls that were sent twice.
struct Run {
    latencies: Vec<Duration>,
    extra: f64,
}

impl Run {
    fn quantile(&self, share: f64) -> Duration {
        self.latencies[(self.latencies.len() as f64 * share) as usize - 1]
    }
}

/// 1,000 calls a second that take 5 to 15 ms, but every hundredth takes a second.
fn run(policy: Option<HedgePolicy>) -> Run {
    let mut dice = Dice::new(3);
    let start = secs(1000);
    let hedging = policy.map(|policy| Hedging::new(policy, start));
    let budget = RetryBudget::default();
    let mut extra = 0;
    let mut usual = move || ms(5) + ms(10).mul_f64(dice.unit());
    let mut latencies = Vec::new();
    for call in 0..CALLS {
        let now = start + ms(call);
        budget.note_call(now);
        let mut latency = if call % 100 == 99 { secs(1) } else { usual() };
        if let Some(hedging) = &hedging
            && let Some(delay) = hedging.begin(now)
            && latency > delay
            && hedging.permit(now + delay, &budget)
        {
            extra += 1;
            let second = delay + usual();
            // The slower attempt is cancelled: what it took until then is known.
            hedging.record(latency.min(second));
            latency = latency.min(second);
        }
        if let Some(hedging) = &hedging {
            hedging.record(latency);
        }
        latencies.push(latency);
    }
    latencies.sort_unstable();
    Run {
        latencies,
        extra: extra as f64 / CALLS as f64,
    }
}

#[test]
fn a_fixed_delay_cuts_the_tail_with_one_percent_extra_calls() {
    let plain = run(None);
    assert_eq!(plain.quantile(0.999), secs(1));
    let delay = ms(20);
    let hedged = run(Some(HedgePolicy::after(delay)));
    let (p99, p999) = (plain.quantile(0.99), hedged.quantile(0.999));
    println!(
        "p99 {p99:?}, p99.9 {p999:?} for {:.2} % extra calls",
        hedged.extra * 100.0
    );
    assert!(p999 <= p99 + delay, "{p999:?}");
    assert!(hedged.extra <= 0.01, "{}", hedged.extra);
}

#[test]
fn a_measured_delay_cuts_the_tail_for_the_share_it_was_given() {
    let hedged = run(Some(HedgePolicy::for_slowest(0.02)));
    let p999 = hedged.quantile(0.999);
    println!(
        "p99.9 {p999:?} for {:.2} % extra calls",
        hedged.extra * 100.0
    );
    // Before the first reading, 3 s, there are no hedges: 30 of 100 calls beyond the quantile.
    assert!(p999 <= ms(35), "{p999:?}");
    assert!(hedged.extra <= 0.021, "{}", hedged.extra);
}

/// F15: hedges are few even if every call is late.
#[test]
fn f15_when_all_calls_are_late_hedges_are_five_percent() {
    let hedging = Hedging::new(HedgePolicy::after(ms(1)), secs(1000));
    let budget = RetryBudget::default();
    let mut hedges = 0;
    for call in 0..CALLS {
        let now = secs(1000) + ms(call);
        budget.note_call(now);
        let delay = hedging.begin(now).unwrap();
        hedges += u64::from(hedging.permit(now + delay, &budget));
    }
    let share = hedges as f64 / CALLS as f64;
    println!("{:.2} %", share * 100.0);
    assert!((0.045..=0.051).contains(&share), "{share}");
}

#[test]
fn hedges_and_retries_share_a_budget() {
    let nothing = BudgetPolicy::default()
        .with_share(0.0)
        .with_reserve_per_second(1.0);
    let budget = RetryBudget::new(nothing);
    let hedging = Hedging::new(HedgePolicy::after(ms(1)), secs(1000));
    let now = secs(1000);
    assert!((0..10_000).all(|_| hedging.begin(now) == Some(ms(1))));
    let hedges = (0..100).filter(|_| hedging.permit(now, &budget)).count();
    assert_eq!(hedges, 10);
    assert!(!budget.withdraw(now), "nothing is left for retries");
}

#[test]
fn without_enough_to_go_by_there_are_no_hedges() {
    let hedging = Hedging::new(HedgePolicy::for_slowest(0.05), secs(0));
    (0..19).for_each(|_| hedging.record(ms(10)));
    assert_eq!(hedging.begin(secs(1)), None);
    assert_eq!(hedging.begin(secs(4)), None, "19 calls");
    (0..100).for_each(|_| hedging.record(ms(10)));
    let delay = hedging.begin(secs(8)).unwrap();
    assert!((ms(10)..ms(12)).contains(&delay), "{delay:?}");
    let quick = Hedging::new(HedgePolicy::after(Duration::ZERO), secs(0));
    assert_eq!(quick.begin(secs(1)), Some(HedgePolicy::DELAY_MIN));
}

#[test]
fn a_server_that_fails_leaves_the_other_attempt_to_be_awaited() {
    for code in (1..=16).map(Code::from_number) {
        let awaits = matches!(
            code,
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::DataLoss
        );
        assert_eq!(Hedging::is_final(&Status::new(code, "")), !awaits, "{code}");
    }
}
