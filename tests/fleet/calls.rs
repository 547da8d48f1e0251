//! Calls that fail or are slow: where they are tried again, and what that may cost.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::future::join_all;
use rpc::balance::Fixed;
use rpc::resilience::{BreakerPolicy, BudgetPolicy, HedgePolicy, RetryPolicy};
use rpc::{CallOptions, Channel, ChannelBuilder, Code, Resilience, Status};
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient, Mood};
use super::gate::Gate;
use super::*;
use crate::common::until;

const UNAVAILABLE: u64 = 14;
const INVALID_ARGUMENT: u64 = 3;

fn fail(mood: &Mood, code: u64) {
    mood.fails.store(code, SeqCst);
}

fn without_outliers() -> ChannelBuilder {
    Channel::builder().outliers(None)
}

async fn count_failed(client: &GreeterClient, calls: u64) -> u64 {
    count_failed_every(millis(1), client, calls).await
}

async fn count_failed_every(pace: Duration, client: &GreeterClient, calls: u64) -> u64 {
    let mut failed = 0;
    for nonce in 0..calls {
        failed += u64::from(client.lookup(nonce).await.is_err());
        tokio::time::sleep(pace).await;
    }
    failed
}

/// S3-10: fail over tries another server, never the one that failed.
#[tokio::test(start_paused = true)]
async fn s3_10_fail_over_goes_elsewhere() {
    let crew = Crew::of(3).await;
    fail(crew.mood(0), UNAVAILABLE);
    fail(crew.mood(1), UNAVAILABLE);
    let client = crew.client_of(without_outliers().balancing("round_robin"));
    for nonce in 0..30 {
        let before = [0, 1, 2].map(|number| crew.calls(number));
        assert_eq!(client.lookup(nonce).await.unwrap(), 2);
        for (number, before) in before.into_iter().enumerate() {
            assert!(crew.calls(number) - before <= 1, "tried twice");
        }
        tokio::time::sleep(millis(100)).await;
    }
    assert_eq!(client.channel().stats().retries, crew.all_calls() - 30);
}

/// At most once: a call that may have been executed and is not idempotent has one attempt.
#[tokio::test(start_paused = true)]
async fn s3_10_what_is_not_idempotent_is_not_repeated() {
    let crew = Crew::of(3).await;
    (0..3).for_each(|number| fail(crew.mood(number), UNAVAILABLE));
    let client = crew.client_of(without_outliers());
    for nonce in 0..30 {
        let status = client.hello(nonce).await.unwrap_err();
        assert_eq!(
            (status.code(), status.is_not_processed()),
            (Code::Unavailable, false)
        );
    }
    assert_eq!((crew.all_calls(), crew.ledger.most()), (30, 1));
}

/// S3-10: fail try stays at the same server; fail fast does nothing of the sort.
#[tokio::test(start_paused = true)]
async fn s3_10_fail_try_stays_and_fail_fast_fails() {
    let crew = Crew::of(3).await;
    (0..3).for_each(|number| fail(crew.mood(number), UNAVAILABLE));
    let client = crew.client_of(without_outliers().balancing("round_robin"));
    let stays = client.with_options(CallOptions::new().with_retry(RetryPolicy::fail_try()));
    assert!(stays.lookup(0).await.is_err());
    let mut calls = [0, 1, 2].map(|number| crew.calls(number));
    calls.sort_unstable();
    assert_eq!(calls, [0, 0, 3]);
    let fails = client.with_options(CallOptions::new().with_retry(RetryPolicy::fail_fast()));
    assert!(fails.lookup(1).await.is_err());
    assert_eq!(crew.all_calls(), 4);
    // A method may have a policy of its own.
    let builder = without_outliers().method_resilience(
        "Greeter.lookup",
        Resilience::new().with_retry(RetryPolicy::default().with_attempts_max(2)),
    );
    let client = crew.client_of(builder);
    assert!(client.lookup(2).await.is_err());
    assert_eq!(crew.all_calls(), 6);
}

/// F15: when all fail, attempts stay a tenth above calls, whatever each call may try.
#[tokio::test(start_paused = true)]
async fn f15_an_outage_is_not_answered_with_more_load() {
    let crew = Crew::of(3).await;
    (0..3).for_each(|number| fail(crew.mood(number), UNAVAILABLE));
    let retry = RetryPolicy::default().with_attempts_max(4);
    let builder = without_outliers()
        .resilience(Resilience::new().with_retry(retry))
        .retry_budget(BudgetPolicy::default().with_reserve_per_second(0.0));
    let client = crew.client_of(builder);
    let calls = 20_000;
    assert_eq!(count_failed(&client, calls).await, calls);
    let (attempts, stats) = (crew.all_calls(), client.channel().stats());
    println!(
        "F15: {attempts} attempts for {calls} calls, {} over budget",
        stats.over_budget
    );
    assert_eq!(attempts, calls + stats.retries);
    assert!(
        attempts > calls && attempts as f64 <= 1.1 * calls as f64,
        "{attempts}"
    );
    assert!(stats.over_budget > 0);
}

/// S3-10 (fail backup): a second attempt at another server when the first is late; the first success
/// counts, and the loser's handler is stopped.
#[tokio::test(start_paused = true)]
async fn s3_10_a_late_call_is_hedged_elsewhere() {
    let crew = Crew::of(2).await;
    crew.mood(0).delay.store(60_000, SeqCst);
    let hedging = HedgePolicy::after(millis(20)).with_share_max(0.5);
    let builder = without_outliers()
        .balancing(Fixed::first())
        .resilience(Resilience::new().with_hedging(hedging));
    let client = crew.client_of(builder);
    // Finds out that the other one is to be connected to.
    let _ = tokio::time::timeout(millis(30), client.lookup(9)).await;
    let cancelled = || crew.mood(0).cancelled.load(SeqCst);
    until(|| cancelled() == crew.calls(0)).await;
    for nonce in 0..2 {
        let began = Instant::now();
        assert_eq!(client.lookup(nonce).await.unwrap(), 1);
        assert!(began.elapsed() <= millis(25), "{:?}", began.elapsed());
    }
    until(|| cancelled() == crew.calls(0)).await;
    let stats = client.channel().stats();
    assert_eq!((stats.hedges, stats.hedges_won), (2, 2));
    assert_eq!(crew.mood(0).running.load(SeqCst), 0);
    // What is not idempotent is never made twice.
    let _ = tokio::time::timeout(seconds(1), client.hello(10)).await;
    let _ = tokio::time::timeout(seconds(1), client.hello(11)).await;
    assert_eq!(client.channel().stats().hedges, 2);
}

/// Calls that are not answered in time tell how long calls take: at least so long.
#[tokio::test(start_paused = true)]
async fn what_was_not_answered_in_time_counts_for_the_delay_of_hedges() {
    let crew = Crew::of(2).await;
    let slow = |delay| (0..2).for_each(|number| crew.mood(number).delay.store(delay, SeqCst));
    let hedging = HedgePolicy::for_slowest(0.05);
    let builder = without_outliers().resilience(Resilience::new().with_hedging(hedging));
    let client = crew.client_of(builder);
    let within = |time| client.with_options(CallOptions::new().with_timeout(time));
    slow(10_000);
    for nonce in 0..40 {
        let status = within(millis(100)).lookup(nonce).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    assert_eq!(client.channel().stats().hedges, 0);
    slow(500);
    within(seconds(5)).lookup(40).await.unwrap();
    assert_eq!(client.channel().stats().hedges, 1);
}

/// A handler may have run out of time with a call of its own, at once: that says nothing of how long calls
/// take.
#[tokio::test(start_paused = true)]
async fn who_fails_at_once_does_not_count_for_the_delay_of_hedges() {
    let crew = Crew::of(2).await;
    let code = u64::from(Code::DeadlineExceeded.number());
    (0..2).for_each(|number| crew.mood(number).fails.store(code, SeqCst));
    let hedging = HedgePolicy::for_slowest(0.05);
    let builder = without_outliers().resilience(Resilience::new().with_hedging(hedging));
    let client = crew.client_of(builder);
    for nonce in 0..40 {
        let status = client.lookup(nonce).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    for number in 0..2 {
        crew.mood(number).fails.store(0, SeqCst);
        crew.mood(number).delay.store(500, SeqCst);
    }
    // Until latencies are read again.
    tokio::time::sleep(seconds(4)).await;
    client.lookup(40).await.unwrap();
    assert_eq!(client.channel().stats().hedges, 0);
}

/// Nor does the time for which servers are connected to, whoever waits for it.
#[tokio::test(start_paused = true)]
async fn connecting_does_not_count_for_the_delay_of_hedges() {
    let crew = Crew::of(2).await;
    let gate = Gate::closed();
    let resilience = Resilience::new().with_hedging(HedgePolicy::for_slowest(0.5));
    let builder = gate.before(without_outliers()).resilience(resilience);
    let client = crew.client_of(builder);
    let calls = (0..40).map(|nonce| client.lookup(nonce));
    let opening = async {
        tokio::time::sleep(seconds(2)).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(join_all(calls), opening);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    (0..2).for_each(|number| crew.mood(number).delay.store(500, SeqCst));
    // Until latencies are read again, and both are connected to.
    tokio::time::sleep(seconds(4)).await;
    for nonce in 40..44 {
        client.lookup(nonce).await.unwrap();
    }
    assert!(client.channel().stats().hedges > 0);
}

/// A hedge that fails by the fault of its server leaves the first attempt to be awaited.
#[tokio::test(start_paused = true)]
async fn s3_10_only_a_success_wins() {
    let crew = Crew::of(2).await;
    crew.mood(0).delay.store(100, SeqCst);
    fail(crew.mood(1), UNAVAILABLE);
    let hedging = HedgePolicy::after(millis(20)).with_share_max(0.5);
    let builder = without_outliers()
        .balancing(Fixed::first())
        .resilience(Resilience::new().with_hedging(hedging));
    let client = crew.client_of(builder);
    for nonce in 0..10 {
        assert_eq!(client.lookup(nonce).await.unwrap(), 0);
    }
    assert!(client.channel().stats().hedges > 0);
}

/// F8: a server whose calls all fail is out after five of them, gets a probe at a time, and is back
/// with the first that succeeds. What the caller is to blame for takes nobody out.
#[tokio::test(start_paused = true)]
async fn f8_who_fails_is_taken_out_and_let_back_in() {
    let crew = Crew::of(3).await;
    let client = crew.client_of(Channel::builder().balancing("round_robin"));
    let fails_fast = CallOptions::new().with_retry(RetryPolicy::fail_fast());
    let client = client.with_options(fails_fast);
    assert_eq!(count_failed(&client, 300).await, 0);
    fail(crew.mood(0), INVALID_ARGUMENT);
    assert!(count_failed(&client, 300).await > 50);
    assert_eq!(client.channel().stats().ejections, 0);
    fail(crew.mood(0), UNAVAILABLE);
    assert_eq!(count_failed(&client, 300).await, 5);
    assert_eq!(client.channel().stats().ejections, 1);
    let is_ejected = || {
        client
            .channel()
            .stats()
            .endpoints
            .iter()
            .filter(|e| e.is_ejected)
            .count()
    };
    assert_eq!(is_ejected(), 1);
    // 30 s, then 60 s: a probe each.
    assert_eq!(count_failed_every(millis(20), &client, 4_750).await, 2);
    fail(crew.mood(0), 0);
    assert_eq!(count_failed_every(millis(20), &client, 6_500).await, 0);
    assert_eq!(is_ejected(), 0);
    assert!(crew.calls(0) > 250);
}

/// F8: if all fail, no more than half are out, and calls are still made.
#[tokio::test(start_paused = true)]
async fn f8_never_are_most_of_them_out() {
    let crew = Crew::of(4).await;
    (0..4).for_each(|number| fail(crew.mood(number), UNAVAILABLE));
    let client = crew.client_of(Channel::builder().balancing("round_robin"));
    count_failed(&client, 1_000).await;
    let stats = client.channel().stats();
    let ejected = stats.endpoints.iter().filter(|e| e.is_ejected).count();
    assert_eq!(ejected, 2);
    assert!(crew.all_calls() >= 1_000);
}

/// F7: a server that is ten times as slow gets less than a tenth of the calls, and so few of them by
/// default that of a hundred calls ninety-nine take no longer than if all were well.
#[tokio::test(start_paused = true)]
async fn f7_a_slow_server_gets_few_calls() {
    async fn share(policy: &str) -> (f64, Duration) {
        let crew = Crew::of(3).await;
        for number in 0..3 {
            let delay = if number == 0 { 100 } else { 10 };
            crew.mood(number).delay.store(delay, SeqCst);
        }
        let client = crew.client_of(Channel::builder().balancing(policy));
        let end = Instant::now() + seconds(20);
        let workers = (0..16).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    client.pause(0).await.unwrap();
                    took.push(began.elapsed());
                }
                took
            })
        });
        let mut took = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            took.extend(worker.await.unwrap());
        }
        took.sort_unstable();
        let share = crew.calls(0) as f64 / crew.all_calls() as f64;
        (share, took[took.len() * 99 / 100])
    }
    let p2c = share("p2c").await;
    let least_request = share("least_request").await;
    let round_robin = share("round_robin").await;
    println!(
        "F7: share of the slow server and p99: {p2c:?}; least request {least_request:?}; in turn \
         {round_robin:?}"
    );
    assert!(p2c.0 <= 0.1 && p2c.1 <= millis(20), "{p2c:?}");
    assert!(least_request.0 <= 0.1, "{least_request:?}");
    assert!(round_robin.0 > 0.3 && round_robin.1 >= millis(100));
}

/// F8: of six servers, one fails half of its calls, or all those of one method: it is taken out for
/// failing more than the others, and what is idempotent hardly notices before.
#[tokio::test(start_paused = true)]
async fn f8_who_fails_some_calls_is_taken_out_as_well() {
    const CALLS: u64 = 30_000;
    for only_one_method in [false, true] {
        let crew = Crew::of(6).await;
        let client = crew.client_of(Channel::builder().balancing("round_robin"));
        let (mut failed, mut late) = (0_u64, 0_u64);
        for nonce in 0..CALLS {
            let is_other = only_one_method && fastrand::bool();
            let fails = !is_other && (only_one_method || fastrand::bool());
            fail(crew.mood(0), if fails { UNAVAILABLE } else { 0 });
            let answer = match is_other {
                true => client.hello(nonce).await,
                false => client.lookup(nonce).await,
            };
            failed += u64::from(answer.is_err());
            // After two intervals of the detector.
            late += u64::from(answer.is_err() && nonce > CALLS * 2 / 3);
            tokio::time::sleep(millis(1)).await;
        }
        let stats = client.channel().stats();
        let share = crew.calls(0) as f64 / crew.all_calls() as f64;
        println!(
            "F8: one method {only_one_method}: {failed} of {CALLS} failed, {late} of them late; {} \
             ejections, {share:.3} of the calls",
            stats.ejections
        );
        assert!(stats.ejections >= 1, "{stats:?}");
        assert!(late * 1_000 <= CALLS && failed * 1_000 <= CALLS);
    }
}

/// S3-10: the breaker fails calls at once while most would fail, and lets them through again when
/// things are well.
#[tokio::test(start_paused = true)]
async fn s3_10_a_breaker_spares_who_is_down() {
    let crew = Crew::of(2).await;
    let resilience = Resilience::new()
        .with_retry(RetryPolicy::fail_fast())
        .with_breaker(BreakerPolicy::default());
    let client = crew.client_of(without_outliers().resilience(resilience));
    assert_eq!(count_failed(&client, 1_000).await, 0);
    (0..2).for_each(|number| fail(crew.mood(number), UNAVAILABLE));
    count_failed(&client, 5_000).await;
    let before = crew.all_calls();
    count_failed(&client, 5_000).await;
    let sent = crew.all_calls() - before;
    println!("breaker: {sent} of 5000 calls sent to servers that are down");
    assert!(sent < 1_000, "{sent}");
    let status = loop {
        let status: Status = client.lookup(0).await.unwrap_err();
        if status.is_not_processed() {
            break status;
        }
    };
    assert!(status.message().contains("failed lately"), "{status}");
    (0..2).for_each(|number| fail(crew.mood(number), 0));
    count_failed(&client, 10_000).await;
    assert_eq!(count_failed(&client, 1_000).await, 0);
    assert!(client.channel().stats().rejected > 3_000);
}

/// A channel to one server copes with failures as well, if that was asked for.
#[tokio::test(start_paused = true)]
async fn a_single_server_has_the_same_policies() {
    let target = format!("mem://{}", crate::common::unique("alone"));
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = calls.clone();
    let builder = rpc::Server::builder().add_function("Greeter.lookup", move |(_,): (u64,)| {
        let fails = counted.fetch_add(1, SeqCst) < 2;
        async move {
            if fails {
                Err(Status::unavailable("not now"))
            } else {
                Ok(0_usize)
            }
        }
    });
    let _server = builder.bind(&target).await.unwrap();
    let builder = Channel::builder().balancing(Fixed::first());
    let client = GreeterClient::new(builder.connect(&target).await.unwrap());
    assert_eq!(client.lookup(1).await.unwrap(), 0);
    assert_eq!(calls.load(SeqCst), 3);
}
