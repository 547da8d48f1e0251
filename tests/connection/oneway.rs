//! Oneway calls whose client has gone: the work is done all the same.

use std::time::Duration;

use rpc::{Channel, Server};
use tokio::time::Instant;

use crate::common::{soon, unique, until};
use crate::{Work, WorkClient, Worker, builder, pair};

const GRACE: Duration = Duration::from_secs(3);

/// A server on which one oneway handler waits whose client has gone.
async fn orphaned(worker: &Worker, timeout: Option<Duration>) -> Server {
    let (client, _, server) = pair(builder(worker).shutdown_grace(GRACE), |_, ends| ends);
    let client = match timeout {
        Some(timeout) => client.with_timeout(timeout),
        None => client,
    };
    client.wait_alone(1).await.unwrap();
    // Somebody waited for this one.
    let waiting = tokio::spawn(async move { client.wait(2).await });
    until(|| worker.waiting() == 2).await;
    waiting.abort();
    until(|| server.connection_count() == 0 && worker.dropped() == 1).await;
    server
}

/// `[call.oneway]`
#[tokio::test(start_paused = true)]
async fn a_oneway_call_outlives_its_connection() {
    let worker = Worker::default();
    let server = orphaned(&worker, None).await;
    assert_eq!(server.load().calls_in_flight, 1, "it keeps its place");
    worker.go.add_permits(1);
    until(|| worker.swallowed() == 1).await;
    assert_eq!(worker.dropped(), 1);
    until(|| server.load().calls_in_flight == 0).await;
    server.shutdown().await;
}

/// The client ends as soon as it has called: what it wrote is read before its end is.
#[tokio::test]
async fn a_oneway_call_right_before_the_end_of_its_client_is_done() {
    let targets = [
        "tcp://127.0.0.1:0".to_owned(),
        format!("mem://{}", unique("oneway")),
    ];
    for target in targets {
        let worker = Worker::default();
        let server = builder(&worker).bind(target).await.unwrap();
        for done in 1..=20 {
            let client = WorkClient::connect(server.uri()).await.unwrap();
            client.wait_alone(1).await.unwrap();
            drop(client);
            until(|| worker.waiting() == done && server.connection_count() == 0).await;
            worker.go.add_permits(1);
            until(|| worker.swallowed() == done).await;
        }
        assert_eq!(worker.dropped(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_orphan_ends_at_its_deadline() {
    for nearest in [1, 5] {
        let worker = Worker::default();
        let begin = Instant::now();
        let (client, _, server) = pair(builder(&worker), |_, ends| ends);
        let deadlines = [Some(3), None, Some(nearest), Some(4)];
        for (waiting, seconds) in (1..).zip(deadlines) {
            let called = match seconds {
                Some(seconds) => client.with_timeout(Duration::from_secs(seconds)),
                None => client.clone(),
            };
            called.wait_alone(1).await.unwrap();
            until(|| worker.waiting() == waiting).await;
        }
        drop(client);
        until(|| server.connection_count() == 0).await;
        let mut ends: Vec<_> = deadlines.into_iter().flatten().collect();
        ends.sort_unstable();
        for (dropped, end) in (1..).zip(ends) {
            let at = begin + Duration::from_secs(end);
            tokio::time::sleep_until(at - Duration::from_millis(1)).await;
            assert_eq!(worker.dropped(), dropped - 1, "not before {end} s");
            tokio::time::sleep_until(at + Duration::from_millis(1)).await;
            until(|| worker.dropped() == dropped).await;
        }
        assert_eq!(server.load().calls_in_flight, 1, "the one without");
        worker.go.add_permits(1);
        until(|| server.load().calls_in_flight == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_orphans_until_its_grace_is_over() {
    for finishes in [true, false] {
        let worker = Worker::default();
        let server = orphaned(&worker, None).await;
        let begin = Instant::now();
        let shutdown = tokio::spawn(server.shutdown());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!shutdown.is_finished());
        if finishes {
            worker.go.add_permits(1);
            shutdown.await.unwrap();
            assert_eq!(begin.elapsed(), Duration::from_secs(1));
            assert_eq!((worker.swallowed(), worker.dropped()), (1, 1));
        } else {
            shutdown.await.unwrap();
            assert_eq!(begin.elapsed(), GRACE);
            until(|| worker.dropped() == 2).await;
        }
    }
}

/// Whether its connection went before the server or with it.
#[tokio::test(start_paused = true)]
async fn a_dropped_server_stops_oneway_calls() {
    let worker = Worker::default();
    drop(orphaned(&worker, None).await);
    until(|| worker.dropped() == 2).await;
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker), |_, ends| ends);
    client.wait_alone(1).await.unwrap();
    until(|| worker.waiting() == 1).await;
    drop(server);
    until(|| worker.dropped() == 1).await;
}

/// Coming and going does not make room for more work than the server takes.
#[tokio::test]
async fn orphans_keep_their_places_on_the_server() {
    let worker = Worker::default();
    let builder = builder(&worker).calls_max(5);
    let target = format!("mem://{}", unique("orphans"));
    let server = builder.bind(target).await.unwrap();
    for _ in 0..20 {
        let channel = Channel::connect(server.uri()).await.unwrap();
        WorkClient::new(channel).wait_alone(1).await.unwrap();
        until(|| server.connection_count() == 0).await;
    }
    assert_eq!(worker.waiting(), 5);
    let load = server.load();
    assert_eq!((load.calls_in_flight, load.calls_refused), (5, 15));
    worker.go.add_permits(5);
    until(|| server.load().calls_in_flight == 0).await;
    soon(server.shutdown()).await;
}
