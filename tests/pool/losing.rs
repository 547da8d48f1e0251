//! Connections that break, cannot be made or take long, and channels that are closed.

use futures_util::FutureExt;
use futures_util::future::join_all;
use rpc::{CallOptions, Code, ConnectionPool};

use crate::common::{soon, until};
use crate::harbour::{Harbour, Work, WorkClient, stats};
use crate::{millis, seconds};

fn singles(connections: usize) -> ConnectionPool {
    ConnectionPool::new()
        .with_max_connections(connections)
        .with_calls_per_connection_max(1)
}

/// S0-12: one that the peer has closed is not handed out.
#[tokio::test(start_paused = true)]
async fn s0_12_a_broken_connection_is_never_handed_out() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(4).with_min_connections(4));
    client.echo().await.unwrap();
    until(|| stats(&client).open == 4).await;
    for broken in 0..3 {
        harbour.net.cut(broken);
    }
    until(|| harbour.net.made() > 4).await;
    for _ in 0..50 {
        let calls = join_all((0..4).map(|_| client.pause(1))).await;
        assert!(calls.into_iter().all(|call| call.unwrap() >= 3));
    }
    assert_eq!(client.channel().stats().connections.open, 4);
}

/// S0-17: who connects slowly is in nobody's way.
#[tokio::test(start_paused = true)]
async fn s0_17_a_slow_connect_blocks_nobody() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(2));
    client.echo().await.unwrap();
    harbour.net.set_delay(seconds(1));
    let running = client.clone();
    let running = tokio::spawn(async move { running.pause(100).await });
    until(|| harbour.log.running() == 1).await;
    let began = tokio::time::Instant::now();
    // Needs a second connection, but the first is free again before that is there.
    assert_eq!(client.echo().await.unwrap(), 0);
    assert_eq!(began.elapsed().as_millis(), 100);
    running.await.unwrap().unwrap();
    for _ in 0..10 {
        assert_eq!(client.echo().await.unwrap(), 0);
    }
    assert_eq!(began.elapsed().as_millis(), 100);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(stats(&client).open, 2, "what was begun is of use later");
}

/// S0-17: closing one that is broken lets a caller in line have a new one.
#[tokio::test(start_paused = true)]
async fn s0_17_a_broken_connection_makes_room_for_another() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(1));
    let lost = client.clone();
    let lost = tokio::spawn(async move { lost.wait().await });
    until(|| harbour.log.running() == 1).await;
    let callers: Vec<_> = (0..3).map(|_| echo(&client)).collect();
    until(|| stats(&client).waiting == 3).await;
    harbour.net.cut(0);
    let status = lost.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.is_not_processed(), "it may have been executed");
    for call in soon(join_all(callers)).await {
        assert_eq!(call.unwrap().unwrap(), 1);
    }
    assert_eq!(harbour.net.most(), 1);
}

fn echo(client: &WorkClient) -> tokio::task::JoinHandle<rpc::Result<usize>> {
    let client = client.clone();
    tokio::spawn(async move { client.echo().await })
}

/// S0-17: a server that drains keeps its calls, and those in line go to a new connection meanwhile.
#[tokio::test(start_paused = true)]
async fn s0_17_a_connection_that_drains_makes_room_at_once() {
    let mut harbour = Harbour::new();
    let client = harbour.client(singles(1));
    let last = client.clone();
    let last = tokio::spawn(async move { last.wait().await });
    until(|| harbour.log.running() == 1).await;
    let waits = client.with_options(CallOptions::new().with_wait_for_ready(true));
    let next = echo(&waits);
    until(|| stats(&client).waiting == 1).await;
    let old = harbour.replace_server();
    let drained = tokio::spawn(old.shutdown());
    assert_eq!(soon(next).await.unwrap().unwrap(), 1);
    assert!(
        !last.is_finished(),
        "it runs to its end on the old connection"
    );
    harbour.log.go.add_permits(1);
    assert_eq!(soon(last).await.unwrap().unwrap(), 0);
    soon(drained).await.unwrap();
}

/// Closing the channel ends calls on a connection that takes no more as well.
#[tokio::test(start_paused = true)]
async fn s0_17_closing_fails_calls_that_a_server_ends_before_it_goes() {
    let mut harbour = Harbour::new();
    let client = harbour.client(singles(2));
    let calling = client.clone();
    let last = tokio::spawn(async move { calling.wait().await });
    until(|| harbour.log.running() == 1).await;
    let old = harbour.replace_server();
    let drained = tokio::spawn(old.shutdown());
    until(|| harbour.net.made() == 2).await;
    assert_eq!(client.echo().await.unwrap(), 1);
    assert!(!last.is_finished());
    client.channel().close();
    let status = soon(last).await.unwrap().unwrap_err();
    assert!(status.message().contains("the channel is closed"));
    soon(drained).await.unwrap();
}

/// S0-17: closing the channel fails all who wait, at once: for a place, or for a connection.
#[tokio::test(start_paused = true)]
async fn s0_17_closing_fails_all_who_wait_at_once() {
    let harbour = Harbour::new();
    for is_blocked in [false, true] {
        harbour.net.set_blocked(is_blocked);
        let client = harbour.client(singles(2));
        let waits = client.with_options(CallOptions::new().with_wait_for_ready(true));
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let waits = waits.clone();
                tokio::spawn(async move { waits.wait().await })
            })
            .collect();
        let waiting = if is_blocked { 20 } else { 18 };
        until(|| stats(&client).waiting == waiting).await;
        tokio::time::sleep(seconds(1)).await;
        let began = tokio::time::Instant::now();
        client.channel().close();
        client.channel().close();
        for call in soon(join_all(callers)).await {
            let status = call.unwrap().unwrap_err();
            assert!(
                status.message().contains("the channel is closed"),
                "{status}"
            );
        }
        let status = client.echo().await.unwrap_err();
        assert!(
            status.message().contains("the channel is closed"),
            "{status}"
        );
        assert!(began.elapsed().is_zero());
        let now = stats(&client);
        assert_eq!((now.open, now.in_use, now.waiting), (0, 0, 0));
        tokio::time::sleep(seconds(60)).await;
        assert_eq!((harbour.net.open(), harbour.log.running()), (0, 0));
    }
}

/// A server that cannot be reached fails the calls that do not wait for it, and serves the others as
/// soon as it is back, in their order.
#[tokio::test(start_paused = true)]
async fn who_cannot_connect_fails_at_once_or_waits() {
    let harbour = Harbour::new();
    harbour.net.set_blocked(true);
    let client = harbour.client(singles(2));
    let status = soon(client.echo()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_not_processed());
    assert!(status.message().contains("test://server"), "{status}");
    let waits = client.with_options(CallOptions::new().with_wait_for_ready(true));
    let callers: Vec<_> = (0..10).map(|_| echo(&waits)).collect();
    until(|| stats(&client).waiting == 10).await;
    let status = waits.with_timeout(millis(50)).echo().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    harbour.net.set_blocked(false);
    for call in join_all(callers).await {
        call.unwrap().unwrap();
    }
    assert!(harbour.net.most() <= 2);
}

/// The next call after a loss connects again.
#[tokio::test(start_paused = true)]
async fn a_call_after_a_loss_connects_again() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(1));
    for lost in 0..20 {
        assert_eq!(client.echo().await.unwrap(), lost);
        tokio::time::sleep(seconds(2)).await;
        harbour.net.cut(lost);
        until(|| stats(&client).open == 0).await;
    }
}

/// Callers on another runtime do not wait for ever for who connected on one that has ended.
#[tokio::test]
async fn a_runtime_that_ends_while_it_connects_leaves_that_to_others() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(1));
    harbour.net.set_delay(seconds(3600));
    let (begun, end) = (client.clone(), std::sync::Barrier::new(2));
    let waiting = std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let runtime = runtime.unwrap();
            runtime.spawn(async move { begun.echo().await });
            runtime.block_on(tokio::task::yield_now());
            end.wait();
            end.wait();
        });
        end.wait();
        harbour.net.set_delay(seconds(0));
        let mut waiting = Box::pin(client.echo());
        assert!(waiting.as_mut().now_or_never().is_none());
        end.wait();
        ended.join().unwrap();
        waiting
    });
    assert_eq!(soon(waiting).await.unwrap(), 0);
    assert_eq!(client.echo().await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_on_a_runtime_that_has_ended_fails() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(1));
    let called = client.clone();
    let call = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        Box::pin(called.echo()).now_or_never()
    });
    let status = soon(call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.is_not_processed());
    assert_eq!(soon(client.echo()).await.unwrap(), 0);
}
