//! Thousands of streams, opened and dropped at any moment, leave nothing behind.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use fastrand::Rng;
use futures_util::{FutureExt as _, stream};
use rpc::{Channel, Streaming};
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::contract::{Flowing, Flows as _, FlowsClient, builder, collect, connect};
use crate::common::{network, soon, until};

/// Begins a call with streams, and drops it wherever it happens to be.
async fn dabble(client: &FlowsClient, mut rng: Rng) {
    let numbers = Streaming::new(stream::iter(0..rng.u64(0..3000)));
    let (items, patience) = (rng.usize(0..40), rng.usize(0..20));
    let work = async {
        let mut stream = match rng.u32(0..7) {
            0 => client.count(rng.u64(0..3000)).await?,
            1 => client.double(numbers).await?,
            2 => client.fail_at(rng.u64(0..30)).await?,
            3 => client.stall().await?,
            4 => client.answer_the_end(numbers).await?,
            5 => return client.sum(numbers).await.map(drop),
            _ => return client.take(numbers, rng.u64(0..9)).await.map(drop),
        };
        for _ in 0..items {
            if stream.next().await.is_none() {
                break;
            }
        }
        Ok(())
    };
    let mut work = Box::pin(work);
    for _ in 0..patience {
        if work.as_mut().now_or_never().is_some() {
            return;
        }
        yield_now().await;
    }
}

/// Cancels have a pace; the time is virtual.
#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_leave_nothing_behind() {
    let (flowing, (wires, exchange)) = (Flowing::default(), network(|_, ends| ends));
    let server = builder(&flowing).serve(exchange).unwrap();
    let client = FlowsClient::new(Channel::builder().with_connector(Arc::new(wires.clone())));
    client.add(1, 2).await.unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..100 {
        let callers = (0..100).map(|_| {
            let (client, rng) = (client.clone(), rng.fork());
            tokio::spawn(async move { dabble(&client, rng).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    }
    let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(600);
    while server.load().calls_in_flight > 0 {
        assert!(tokio::time::Instant::now() < give_up, "{:?}", server.load());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    until(|| flowing.alive.load(SeqCst) == 0 && tasks() == before).await;
    for stats in server.stats() {
        assert_eq!(stats.in_flight, 0, "{}", stats.path);
    }
    // As many more as a connection may have at once fit into its tables.
    let mut open = Vec::new();
    for _ in 0..500 {
        open.push(client.stall().await.unwrap());
    }
    assert_eq!(server.load().calls_in_flight, 500);
    assert_eq!(wires.opened(), 1, "and it is the same connection");
}

/// Streams of all lengths and paces at once, on several threads: each item comes, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_streams_at_once_lose_nothing() {
    let (server, client, _) = connect().await;
    let mut rng = Rng::with_seed(fastrand::u64(..));
    let echoes = (0..300_usize).map(|number| {
        let (client, large) = (client.clone(), rng.u32(0..10) == 0);
        let lengths: Vec<_> = (0..rng.usize(0..200))
            .map(|_| match rng.u32(0..20) {
                0 if large => rng.usize(60_000..200_000),
                1 => rng.usize(1_000..10_000),
                _ => rng.usize(0..100),
            })
            .collect();
        tokio::spawn(async move {
            let parts = lengths.clone().into_iter();
            let parts = parts.map(move |length| vec![number as u8; length]);
            let echoed = client.echo(Streaming::new(stream::iter(parts))).await;
            let (items, status) = collect(echoed.unwrap()).await;
            assert!(status.is_none(), "{status:?}");
            assert!(items.iter().map(Vec::len).eq(lengths));
            assert!(items.iter().flatten().all(|byte| *byte == number as u8));
        })
    });
    for echo in echoes.collect::<Vec<_>>() {
        soon(echo).await.unwrap();
    }
    until(|| server.load().calls_in_flight == 0).await;
    assert_eq!(server.connection_count(), 1);
}
