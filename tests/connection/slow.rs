//! Handlers that compute for long before they first wait run on tasks of their own.

use std::time::Duration;

use rpc::{Channel, Server, Status};

use crate::common::soon;

/// The task that handles a call which computes for so long.
async fn task(channel: &Channel, millis: u64) -> String {
    let arguments = (&millis,);
    soon(channel.call("Task.of", &arguments)).await.unwrap()
}

/// True if three calls in a row, of which none computes, are handled by one task: their
/// connection's.
async fn is_handled_in_place(channel: &Channel) -> bool {
    let first = task(channel, 0).await;
    let mut same = true;
    for _ in 0..2 {
        same &= task(channel, 0).await == first;
    }
    same
}

/// Calls that do not compute are handled in place soon; one that was interrupted may seem to.
async fn until_handled_in_place(channel: &Channel) {
    let mut calls = 0;
    while !is_handled_in_place(channel).await {
        calls += 3;
        assert!(calls < 300, "it is taken for slow for ever");
    }
}

#[tokio::test]
async fn a_method_that_became_quick_is_handled_in_place_again_however_busy_the_threads_are() {
    let handler = |(millis,): (u64,)| async move {
        // Stands for a computation: the handler does not let others run.
        std::thread::sleep(Duration::from_millis(millis));
        Ok::<_, Status>(format!("{:?}", tokio::task::try_id()))
    };
    let server = Server::builder().add_function("Task.of", handler);
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let channel = Channel::connect(server.uri()).await.unwrap();
    until_handled_in_place(&channel).await;
    for _ in 0..20 {
        task(&channel, 2).await;
    }
    assert!(!is_handled_in_place(&channel).await, "it is slow");
    // Whatever is spawned waits for its turn at least this long.
    let busy = tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    });
    until_handled_in_place(&channel).await;
    busy.abort();
}
