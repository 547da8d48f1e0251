//! Whatever is configured, nothing panics, and shares stay shares.

use std::time::Duration;

use proptest::num::f64::ANY;
use proptest::prelude::*;
use rpc_core::Status;
use rpc_runtime::resilience::{
    Attempted, BackoffPolicy, BreakerPolicy, BudgetPolicy, CircuitBreaker, HedgePolicy, Hedging,
    OutlierDetector, OutlierPolicy, RetryBudget, RetryPolicy, SuccessRate,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_can_be_configured(
        numbers in prop::array::uniform4(ANY),
        times in prop::array::uniform4(any::<Duration>()),
        counts in prop::array::uniform2(any::<u32>()),
        calls in prop::collection::vec((any::<Duration>(), any::<bool>(), ANY), 0..60),
    ) {
        let budget = BudgetPolicy::default().with_share(numbers[0]).with_reserve_per_second(numbers[1]);
        let budget = RetryBudget::new(budget);
        let breaker = BreakerPolicy::default()
            .with_multiplier(numbers[0])
            .with_calls_min(counts[0])
            .with_window(times[0])
            .with_rejected_share_max(numbers[1]);
        let breaker = CircuitBreaker::new(breaker);
        let hedge = HedgePolicy::for_slowest(numbers[0]).with_share_max(numbers[1]);
        let hedging = Hedging::new(hedge, times[1]);
        let backoff = BackoffPolicy::default()
            .with_base(times[0]).with_factor(numbers[2]).with_cap(times[1]);
        let retry = RetryPolicy::default().with_attempts_max(counts[0]).with_backoff(backoff);
        let mut rule = SuccessRate::default();
        rule.deviations = numbers[3];
        rule.hosts_min = 0;
        rule.calls_min = 0;
        let outlier = OutlierPolicy::default()
            .with_interval(times[0])
            .with_ejection_time(times[1], times[2])
            .with_ejected_share_max(numbers[0])
            .with_consecutive_failures(counts[1])
            .with_success_rate(Some(rule));
        let mut detector = OutlierDetector::new(outlier, times[3]);
        let health = [detector.add(0), detector.add(1)];
        let status = Status::unavailable("");
        for (index, (now, failed, random)) in calls.into_iter().enumerate() {
            budget.note_call(now);
            let attempted = Attempted::new(&status, index as u32).with_idempotent(failed);
            let _ = retry.decide(&attempted, &budget, now, random);
            let _ = breaker.allow(now, random);
            breaker.note_accepted(now);
            let share = breaker.rejected_share(now);
            prop_assert!((0.0..=1.0).contains(&share), "{}", share);
            let _ = hedging.begin(now);
            hedging.record(now);
            let _ = hedging.permit(now, &budget);
            let health = &health[index % 2];
            if health.record(now, failed) {
                detector.judge(now, health, now, failed);
            }
            detector.handle_timeout(now);
            prop_assert!(detector.ejected() <= 1);
        }
    }
}
