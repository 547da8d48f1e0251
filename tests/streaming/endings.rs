//! What ends a stream: its deadline, whoever takes or makes its items, its connection, its server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use rpc::{CallOptions, Channel, Code, Server, Streaming};
use tokio::time::Instant;

use super::contract::{
    Alive, Flowing, Flows as _, FlowsClient, Numbers, builder, collect, connect,
};
use crate::common::{Cut, Ends, Wires, network, soon, until};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn client(wires: &Wires) -> FlowsClient {
    FlowsClient::new(Channel::builder().with_connector(Arc::new(wires.clone())))
}

/// A client and a server over a network in memory.
fn pair() -> (FlowsClient, Server, Flowing) {
    let (flowing, (wires, exchange)) = (Flowing::default(), network(|_, ends| ends));
    let server = builder(&flowing).serve(exchange).unwrap();
    (client(&wires), server, flowing)
}

/// Waits for a server.
fn patient() -> CallOptions {
    CallOptions::new().with_wait_for_ready(true)
}

/// Lets the time pass until a condition holds.
async fn later(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(ms(1)).await;
        }
    })
    .await;
}

/// An upload that never ends, and how many of it are alive.
fn endless() -> (Numbers, Arc<AtomicUsize>) {
    let count = Arc::default();
    let alive = Alive::new(&count);
    let numbers = stream::iter(0..).inspect(move |_| {
        let _ = &alive;
    });
    (Streaming::new(numbers), count)
}

/// The best of ten: other work of this machine is not the framework's.
#[tokio::test]
async fn t14_a_panic_of_a_stream_is_told_within_10_ms() {
    let (_server, client, _) = connect().await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        let (items, status) = soon(collect(client.panic_at(2).await.unwrap())).await;
        best = best.min(begin.elapsed());
        assert_eq!((items.len(), status.unwrap().code()), (2, Code::Internal));
    }
    assert!(best <= ms(10), "{best:?}");
}

/// The server drops the producer by its own clock: the client sends nothing at a deadline.
#[tokio::test(start_paused = true)]
async fn the_deadline_drops_producers_on_both_sides() {
    let (client, server, flowing) = pair();
    let client = client.with_timeout(ms(300));
    let mut unread = client.endless().await.unwrap();
    let mut stalled = client.stall().await.unwrap();
    let begin = Instant::now();
    later(|| flowing.alive.load(SeqCst) == 0).await;
    assert!(begin.elapsed() <= ms(301), "{:?}", begin.elapsed());
    assert_eq!(stalled.next().await.unwrap().unwrap(), 7);
    let status = stalled.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // What had arrived is still there, and then the end.
    let mut count = 0;
    let status = loop {
        match unread.next().await.unwrap() {
            Ok(_) => count += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(count > 0);

    let (numbers, alive) = endless();
    let begin = Instant::now();
    let status = client.ignore(numbers).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    later(|| alive.load(SeqCst) + flowing.alive.load(SeqCst) == 0).await;
    assert!(begin.elapsed() <= ms(301), "{:?}", begin.elapsed());
    later(|| server.load().calls_in_flight == 0).await;
}

/// A call that is answered in a round trip comes back to find the producer gone.
#[tokio::test]
async fn a_producer_stops_within_a_round_trip() {
    let (_server, client, flowing) = connect().await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let mut stream = client.endless().await.unwrap();
        soon(stream.next()).await.unwrap().unwrap();
        assert_eq!(flowing.alive.load(SeqCst), 1);
        let begin = Instant::now();
        drop(stream);
        client.add(1, 2).await.unwrap();
        times.push(begin.elapsed());
        assert_eq!(flowing.alive.load(SeqCst), 0);
    }
    times.sort();
    println!(
        "from the drop to a call that finds it gone: {:?}",
        times[10]
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_uploads_drops_the_upload() {
    let (server, client, flowing) = connect().await;
    let (numbers, alive) = endless();
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.ignore(numbers).await }
    });
    until(|| flowing.alive.load(SeqCst) == 1).await;
    calling.abort();
    until(|| alive.load(SeqCst) + flowing.alive.load(SeqCst) == 0).await;
    until(|| server.load().calls_in_flight == 0).await;
    // One that was never sent, too.
    let (numbers, alive) = endless();
    assert!(client.ignore(numbers).now_or_never().is_none());
    until(|| alive.load(SeqCst) + flowing.alive.load(SeqCst) == 0).await;
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

/// The client's side of the first connection ends after so many bytes.
fn cut_after(bytes: usize) -> impl Fn(usize, Ends) -> Ends + Send + Sync + 'static {
    move |number, (reader, writer)| {
        let left = if number == 0 { bytes } else { usize::MAX };
        (Box::new(Cut { reader, left }), writer)
    }
}

/// F18: wherever the connection is cut, what came is a beginning of what was sent, an end without an
/// error is the end, nobody hangs, and the next call has a connection.
#[tokio::test]
async fn f18_a_connection_is_cut_after_every_byte_of_a_stream() {
    const ITEMS: u64 = 12;
    let mut whole = 0;
    for bytes in 0..700 {
        let (flowing, (wires, exchange)) = (Flowing::default(), network(cut_after(bytes)));
        let server = builder(&flowing).serve(exchange).unwrap();
        let client = client(&wires);
        let (sender, numbers) = Streaming::channel(1);
        let feeding = tokio::spawn(async move {
            for number in 0..ITEMS {
                if sender.send(number).await.is_err() {
                    return false;
                }
            }
            true
        });
        let (items, status) = match soon(client.double(numbers)).await {
            Ok(doubled) => soon(collect(doubled)).await,
            Err(status) => (Vec::new(), Some(status)),
        };
        let expected = (0..ITEMS).map(|number| number * 2);
        assert!(items.iter().copied().eq(expected.take(items.len())));
        let was_sent = soon(feeding).await.unwrap();
        match status {
            None => {
                assert_eq!(
                    items.len() as u64,
                    ITEMS,
                    "the end came early, after {bytes}"
                );
                assert!(was_sent);
                whole += 1;
            }
            Some(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{bytes}: {status}");
                let patient = client.with_options(patient());
                assert_eq!(soon(patient.add(1, 2)).await.unwrap(), 3, "after {bytes}");
            }
        }
        until(|| server.load().calls_in_flight == 0).await;
    }
    println!("{whole} of 700 ended well");
    assert!((1..690).contains(&whole), "{whole}");
}

/// Streams that end within the grace end well.
#[tokio::test(start_paused = true)]
async fn a_server_that_shuts_down_lets_streams_end() {
    let (client, server, _) = pair();
    let (sender, numbers) = Streaming::channel(1);
    let mut doubled = client.double(numbers).await.unwrap();
    sender.send(1).await.unwrap();
    assert_eq!(doubled.next().await.unwrap().unwrap(), 2);
    let shutdown = tokio::spawn(server.shutdown());
    tokio::task::yield_now().await;
    for number in 2..100 {
        sender.send(number).await.unwrap();
        assert_eq!(doubled.next().await.unwrap().unwrap(), number * 2);
    }
    assert!(!shutdown.is_finished());
    drop(sender);
    assert!(doubled.next().await.is_none());
    let begin = Instant::now();
    soon(shutdown).await.unwrap();
    assert!(begin.elapsed() < ms(100), "nothing was left to wait for");
}

/// F2: one that does not end is ended when the grace is over, with a code that says so.
#[tokio::test(start_paused = true)]
async fn f2_the_grace_ends_streams_that_do_not_end() {
    let flowing = Flowing::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&flowing).shutdown_grace(ms(500));
    let server = server.serve(exchange).unwrap();
    let client = client(&wires);
    let mut stalled = client.stall().await.unwrap();
    let (numbers, alive) = endless();
    let uploading = tokio::spawn(async move { client.ignore(numbers).await });
    until(|| flowing.alive.load(SeqCst) == 2).await;
    assert_eq!(stalled.next().await.unwrap().unwrap(), 7);
    let begin = Instant::now();
    tokio::spawn(server.shutdown());
    let status = stalled.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let took = begin.elapsed();
    assert!((ms(500)..ms(600)).contains(&took), "{took:?}");
    let status = uploading.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    later(|| alive.load(SeqCst) + flowing.alive.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn a_channel_that_is_closed_ends_its_streams() {
    let (server, client, flowing) = connect().await;
    let mut stalled = client.stall().await.unwrap();
    assert_eq!(soon(stalled.next()).await.unwrap().unwrap(), 7);
    let (numbers, alive) = endless();
    let uploading = tokio::spawn({
        let client = client.clone();
        async move { client.ignore(numbers).await }
    });
    until(|| flowing.alive.load(SeqCst) == 2).await;
    client.channel().close();
    let status = soon(stalled.next()).await.unwrap().unwrap_err();
    println!("closed: {status:?}");
    assert!(soon(stalled.next()).await.is_none());
    soon(uploading).await.unwrap().unwrap_err();
    until(|| alive.load(SeqCst) + flowing.alive.load(SeqCst) == 0).await;
    until(|| server.connection_count() == 0).await;
}

/// A stream keeps its connection, also when every other handle of it is gone.
#[tokio::test]
async fn a_stream_outlives_its_client() {
    let (server, client, _) = connect().await;
    let mut counted = client.count(50_000).await.unwrap();
    drop(client);
    for number in 0..50_000 {
        assert_eq!(soon(counted.next()).await.unwrap().unwrap(), number);
    }
    assert!(soon(counted.next()).await.is_none());
    drop(counted);
    until(|| server.connection_count() == 0).await;
}

/// Neither idle timeouts nor keep-alive end a stream of which nothing comes.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_lives_for_hours() {
    let (client, server, _) = pair();
    let (sender, numbers) = Streaming::channel(1);
    let mut doubled = client.double(numbers).await.unwrap();
    for number in 0..5 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        sender.send(number).await.unwrap();
        assert_eq!(doubled.next().await.unwrap().unwrap(), number * 2);
        assert_eq!(server.connection_count(), 1);
    }
}

/// When its server goes, a stream ends; the next one has a connection of its own.
#[tokio::test]
async fn streams_go_on_over_the_next_connection() {
    let (server, client, flowing) = connect().await;
    let uri = server.uri().to_owned();
    let mut endless = client.endless().await.unwrap();
    soon(endless.next()).await.unwrap().unwrap();
    drop(server);
    let status = soon(async {
        loop {
            if let Err(status) = endless.next().await.unwrap() {
                break status;
            }
        }
    });
    assert_eq!(status.await.code(), Code::Unavailable);
    until(|| flowing.alive.load(SeqCst) == 0).await;
    let _next = builder(&flowing).bind(&uri).await.unwrap();
    let patient = rpc::CallOptions::new().with_wait_for_ready(true);
    let counted = soon(client.with_options(patient).count(1000))
        .await
        .unwrap();
    assert!(soon(collect(counted)).await.0.into_iter().eq(0..1000));
}

/// An upload that begins before the connection is open waits for what the server says of its limits.
#[tokio::test]
async fn an_upload_may_be_the_first_call_of_a_connection() {
    let (client, _server, _) = pair();
    let sum = client.sum(Streaming::new(stream::iter(0..100_000)));
    assert_eq!(soon(sum).await.unwrap(), 4_999_950_000);

    let (flowing, (wires, exchange)) = (Flowing::default(), network(|_, ends| ends));
    let narrow = builder(&flowing).message_bytes_max(1000);
    let _server = narrow.serve(exchange).unwrap();
    let client = self::client(&wires);
    let parts = stream::iter([vec![1; 900], vec![2; 2000]]);
    let echoed = soon(client.echo(Streaming::new(parts))).await.unwrap();
    let (items, status) = soon(collect(echoed)).await;
    assert_eq!(items, [vec![1; 900]]);
    let status = status.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    assert_eq!(wires.opened(), 1);
}
