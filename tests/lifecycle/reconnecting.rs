//! A client outlives its servers: backoff with full jitter, waiting or failing fast.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::closing::{GO_AWAY, accept};
use crate::common::{network, raw, soon};
use crate::{Address, Work, Worker, assert_unavailable, builder, client, ms, patient};

fn waits(attempts: &[Instant]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// 100 ms, growing by 1.6 to 10 s.
fn bound(failure: usize) -> Duration {
    let grown = 0.1 * 1.6_f64.powi(failure as i32);
    Duration::from_secs_f64(grown.min(10.0))
}

/// The waits of a call that waits for a server for a minute.
async fn waits_with_seed(seed: u64) -> Vec<Duration> {
    fastrand::seed(seed);
    let address = Address::default();
    let call = patient(&client(address.clone())).with_timeout(ms(60_000));
    let status = call.echo(1).await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
    waits(&address.attempts())
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spaced_by_a_growing_and_random_wait() {
    let (mut shares, mut counts) = (Vec::new(), Vec::new());
    for seed in 0..200 {
        let waits = waits_with_seed(seed).await;
        for (failure, wait) in waits.iter().enumerate() {
            // Tokio's timers are exact to the millisecond.
            assert!(*wait <= bound(failure) + ms(2), "{failure}: {wait:?}");
            shares.push(wait.as_secs_f64() / bound(failure).as_secs_f64());
        }
        let first = waits.iter().scan(ms(0), |at, wait| {
            *at += *wait;
            Some(*at)
        });
        counts.push(1 + first.filter(|at| *at <= ms(30_000)).count());
    }
    counts.sort();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    println!(
        "attempts in 30 s: {} to {}, median {}; mean wait {:.0} % of its bound",
        counts[0],
        counts[199],
        counts[100],
        mean * 100.0
    );
    assert!((0.45..0.55).contains(&mean), "full jitter: {mean}");
    assert!(shares.iter().any(|s| *s < 0.1) && shares.iter().any(|s| *s > 0.9));
    assert_eq!(waits_with_seed(1).await, waits_with_seed(1).await);
    assert_ne!(waits_with_seed(1).await, waits_with_seed(2).await);
}

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_wait_fail_at_once() {
    fastrand::seed(7);
    let address = Address::default();
    let client = client(address.clone());
    let begin = Instant::now();
    for _ in 0..1000 {
        let status = client.echo(1).await.unwrap_err();
        assert_unavailable(&status);
        assert!(status.is_not_processed());
        assert!(status.message().contains("test://address"), "{status}");
    }
    assert_eq!(begin.elapsed(), ms(0));
    assert_eq!(address.attempts().len(), 1, "the backoff holds for all");
    let status = client.echo(1).await.unwrap_err();
    assert!(status.message().contains("next attempt in"), "{status}");
    tokio::time::sleep(bound(0)).await;
    client.echo(1).await.unwrap_err();
    assert_eq!(address.attempts().len(), 2);
}

/// Many that wait share the attempts, and all go on when the server is there.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_go_on_when_the_server_comes() {
    fastrand::seed(3);
    let address = Address::default();
    let client = patient(&client(address.clone()));
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.echo(number).await })
        })
        .collect();
    tokio::time::sleep(ms(3000)).await;
    let tried = address.attempts().len();
    assert!((2..20).contains(&tried), "{tried}");
    let begin = Instant::now();
    let worker = Worker::default();
    let server = address.start(builder(&worker));
    for (number, call) in (0..).zip(calls) {
        assert_eq!(soon(call).await.unwrap().unwrap(), number);
    }
    println!("a server is used {:?} after it listens", begin.elapsed());
    assert!(begin.elapsed() <= bound(tried) + ms(2));
    assert_eq!(worker.started.get(), 100);
    assert_eq!(server.connection_count(), 1);
}

/// After a connection that was of use, the waits begin small again.
#[tokio::test(start_paused = true)]
async fn a_success_resets_the_backoff() {
    fastrand::seed(11);
    let address = Address::default();
    let client = client(address.clone());
    let waiting = patient(&client).with_timeout(ms(60_000));
    waiting.echo(1).await.unwrap_err();
    let server = address.start(builder(&Worker::default()));
    patient(&client).echo(1).await.unwrap();
    address.clear();
    server.shutdown().await;
    let before = address.attempts().len();
    waiting.echo(1).await.unwrap_err();
    let attempts = &address.attempts()[before..];
    for (failure, wait) in waits(attempts).into_iter().enumerate() {
        assert!(wait <= bound(failure) + ms(2), "{failure}: {wait:?}");
    }
    assert!(attempts.len() > 5);
}

/// T17: a server that accepts and sends everybody away is as good as none.
#[tokio::test(start_paused = true)]
async fn t17_a_server_that_sends_everybody_away_is_not_besieged() {
    fastrand::seed(5);
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = patient(&client(wires.clone())).with_timeout(ms(30_000));
    let call = tokio::spawn(async move { client.echo(1).await });
    let hostile = tokio::spawn(async move {
        loop {
            let mut stream = accept(&mut exchange).await;
            let mut go_away = raw::request(0, 0, 0, 8);
            go_away[8] = GO_AWAY;
            go_away.extend([0; 8]);
            // The client may have hung up.
            let _ = stream.write_all(&go_away).await;
        }
    });
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
    println!("T17: {} connections in 30 s", wires.opened());
    assert!(wires.opened() < 40, "{}", wires.opened());
    hostile.abort();
}

/// A connection that is old is replaced, and no call notices.
#[tokio::test(start_paused = true)]
async fn a_connection_of_maximum_age_is_replaced_without_a_failed_call() {
    fastrand::seed(13);
    let address = Address::default();
    let worker = Worker::default();
    let server = address.start(builder(&worker).connection_age_max(ms(1000)));
    let client = client(address.clone());
    let begin = Instant::now();
    let long = tokio::spawn({
        let client = client.clone();
        async move { client.pause(5000).await }
    });
    let mut calls = 1;
    while begin.elapsed() < ms(20_000) {
        client.pause(7).await.unwrap();
        calls += 1;
    }
    long.await.unwrap().unwrap();
    assert_eq!(worker.started.get(), calls, "each was run once");
    let ages = waits(&address.attempts());
    println!(
        "{calls} calls on {} connections, ages {:?} to {:?}",
        ages.len() + 1,
        ages.iter().min().unwrap(),
        ages.iter().max().unwrap()
    );
    assert!(ages.len() >= 15);
    assert!(
        ages.iter().all(|age| (ms(895)..=ms(1115)).contains(age)),
        "{ages:?}"
    );
    assert!(
        ages.iter().any(|age| age.abs_diff(ages[0]) > ms(5)),
        "spread"
    );
    drop(server);
}
