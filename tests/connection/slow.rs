//! Handlers that compute for long before they first wait run on tasks of their own.

use std::time::Duration;

use rpc::{Bytes, Channel, Server, Status};

use crate::common::soon;

/// A client that sends something along with each call.
struct Caller {
    channel: Channel,
    ballast: Bytes,
}

impl Caller {
    /// The task that handles a call which computes for so long.
    async fn task(&self, millis: u64) -> String {
        let arguments = (&millis, &self.ballast);
        soon(self.channel.call("Task.of", &arguments))
            .await
            .unwrap()
    }
}

/// True if three calls in a row, of which none computes, are handled by one task: their
/// connection's.
async fn is_handled_in_place(caller: &Caller) -> bool {
    let first = caller.task(0).await;
    let mut same = true;
    for _ in 0..2 {
        same &= caller.task(0).await == first;
    }
    same
}

/// Calls that do not compute are handled in place soon; one that was interrupted may seem to, and on a busy
/// machine many are.
async fn until_handled_in_place(caller: &Caller) {
    let handled = async { while !is_handled_in_place(caller).await {} };
    tokio::time::timeout(Duration::from_secs(60), handled)
        .await
        .expect("it is taken for slow for ever");
}

#[tokio::test]
async fn a_method_that_became_quick_is_handled_in_place_again_however_busy_the_threads_are() {
    // [frame.pieces]: the handler of what is long has nothing to do before all of it is here.
    for ballast in [0, 100_000] {
        becomes_slow_and_quick_again(Bytes::from(vec![7; ballast])).await;
    }
}

async fn becomes_slow_and_quick_again(ballast: Bytes) {
    let handler = |(millis, _): (u64, Bytes)| async move {
        // Stands for a computation: the handler does not let others run.
        std::thread::sleep(Duration::from_millis(millis));
        Ok::<_, Status>(format!("{:?}", tokio::task::try_id()))
    };
    let server = Server::builder().add_function("Task.of", handler);
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let channel = Channel::connect(server.uri()).await.unwrap();
    let caller = Caller { channel, ballast };
    until_handled_in_place(&caller).await;
    for _ in 0..20 {
        caller.task(2).await;
    }
    assert!(!is_handled_in_place(&caller).await, "it is slow");
    // Whatever is spawned waits for its turn at least this long.
    let busy = tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    });
    until_handled_in_place(&caller).await;
    busy.abort();
}
