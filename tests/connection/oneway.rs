//! Oneway calls whose client has gone: the work is done all the same.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use rpc::{Channel, Server};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
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

/// The client does not know when a oneway call ends, so it cannot keep to what the server takes: nothing is
/// lost all the same, and others are not refused for it.
#[tokio::test(start_paused = true)]
async fn oneway_calls_beyond_the_limit_wait_and_are_all_done() {
    const CALLS: u64 = 100;
    let worker = Worker::default();
    let builder = builder(&worker).calls_per_connection_max(4);
    let (client, wires, server) = pair(builder, |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    for n in 0..CALLS {
        client.wait_alone(n).await.unwrap();
    }
    until(|| worker.waiting() == 4).await;
    let other = tokio::spawn({
        let client = client.clone();
        async move { client.echo(7, vec![]).await }
    });
    // Longer than a client waits for a server that says nothing.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((worker.waiting(), worker.swallowed()), (4, 0));
    assert!(!other.is_finished());
    for done in 1..=CALLS {
        worker.go.add_permits(1);
        until(|| worker.swallowed() == done).await;
        let in_flight = server.load().calls_in_flight;
        assert!(in_flight <= 4, "{in_flight}");
    }
    assert_eq!(soon(other).await.unwrap().unwrap().0, 7);
    assert_eq!((worker.waiting(), worker.dropped()), (CALLS, 0));
    assert_eq!((wires.opened(), server.load().calls_refused), (1, 0));
}

/// Long ones come in pieces, in turns: more are on their way than the server takes.
#[tokio::test]
async fn long_oneway_calls_beyond_the_limit_are_all_done() {
    const CALLS: u64 = 40;
    let worker = Worker::default();
    let builder = builder(&worker).calls_per_connection_max(4);
    let (client, _, server) = pair(builder, |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    let long = vec![1; 300_000];
    let calls = (0..CALLS).map(|_| client.swallow(&long));
    for sent in soon(join_all(calls)).await {
        sent.unwrap();
    }
    assert_eq!(soon(client.echo(7, vec![])).await.unwrap().0, 7);
    until(|| worker.swallowed() == CALLS * 300_000).await;
    assert_eq!(server.load().calls_refused, 0);
}

/// Those that end at their deadline make room as well.
#[tokio::test(start_paused = true)]
async fn oneway_calls_that_never_end_hold_others_up_until_their_deadline() {
    let worker = Worker::default();
    let builder = builder(&worker).calls_per_connection_max(2);
    let (client, wires, server) = pair(builder, |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    let begin = Instant::now();
    let hasty = client.with_timeout(Duration::from_secs(20));
    for n in 0..2 {
        hasty.wait_alone(n).await.unwrap();
    }
    client.swallow(&[1; 5]).await.unwrap();
    assert_eq!(client.echo(7, vec![]).await.unwrap().0, 7);
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert_eq!((worker.swallowed(), worker.dropped()), (5, 2));
    // A server that shuts down takes what still waits.
    for n in 0..3 {
        client.wait_alone(n).await.unwrap();
    }
    until(|| worker.waiting() == 4).await;
    let waiting = tokio::spawn(async move { client.echo(8, vec![]).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let down = tokio::spawn(server.shutdown());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    worker.go.add_permits(3);
    assert_eq!(soon(waiting).await.unwrap().unwrap().0, 8);
    soon(down).await.unwrap();
    assert_eq!(worker.waiting(), 5, "the third of them as well");
    assert!(wires.opened() >= 1);
}

/// Takes nothing while it is shut.
struct Shutter<W> {
    inner: W,
    shut: Arc<AtomicBool>,
    opened: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Shutter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shut.load(Ordering::Relaxed) {
            std::task::ready!(self.opened.as_mut().poll(cx));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Who makes one call after the other does not line up behind those who were called and have yet to run:
/// the line would last as long as they go on. And others wait for what is in line before them.
#[tokio::test]
async fn a_line_of_those_who_go_on_calling_ends_and_is_short() {
    const CALLERS: u64 = 64;
    const CALLS: u64 = 100;
    let (shut, opened) = (Arc::<AtomicBool>::default(), Arc::new(Notify::new()));
    let (shutter, open) = (shut.clone(), opened.clone());
    let worker = Worker::default();
    let (client, _, _server) = pair(builder(&worker), move |_, (reader, inner)| {
        let (shut, opened) = (shutter.clone(), opened.clone());
        let opened = Box::pin(async move { opened.notified().await });
        (
            reader,
            Box::new(Shutter {
                inner,
                shut,
                opened,
            }),
        )
    });
    client.echo(1, vec![]).await.unwrap();
    shut.store(true, Ordering::Relaxed);
    let (waits, in_line) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let callers = (0..CALLERS).map(|_| {
        let (client, shut) = (client.clone(), shut.clone());
        let (waits, in_line) = (waits.clone(), in_line.clone());
        tokio::spawn(async move {
            let long = [0; 8 * 1024];
            let mut left = CALLS;
            while left > 0 {
                let bytes = match shut.load(Ordering::Relaxed) {
                    true => &long[..],
                    false => &[1],
                };
                let mut call = pin!(client.swallow(bytes));
                let counted = poll_fn(|cx| {
                    let polled = call.as_mut().poll(cx);
                    waits.fetch_add(polled.is_pending().into(), Ordering::Relaxed);
                    polled
                });
                counted.await.unwrap();
                if shut.load(Ordering::Relaxed) {
                    in_line.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                left -= u64::from(bytes.len() == 1);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    until(|| waits.load(Ordering::Relaxed) >= CALLERS).await;
    let in_line = in_line.load(Ordering::Relaxed);
    assert!(in_line <= 512 * 1024, "{in_line}");
    shut.store(false, Ordering::Relaxed);
    open.notify_one();
    for caller in soon(join_all(callers)).await {
        caller.unwrap();
    }
    let waits = waits.load(Ordering::Relaxed);
    println!("{waits} waits for {} calls", CALLERS * CALLS);
    assert!(waits <= 4 * CALLERS, "{waits}");
}
