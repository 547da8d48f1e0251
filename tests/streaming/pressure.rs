//! Back-pressure: how far a producer runs ahead, and whom a consumer that stands still holds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use rpc::{Channel, Code, StreamLimits, Streaming};
use tokio::sync::Barrier;
use tokio::time::Instant;

use super::contract::{Flowing, Flows as _, FlowsClient, Numbers, builder, collect, connect};
use crate::common::{Ends, Stuck, network, soon, until};

/// The window of a stream, as shipped.
const WINDOW_BYTES: usize = 257 * 1024;
/// What a producer may have made that is not sent: what goes out at once, and one item more.
const BATCH_BYTES: usize = 32 * 1024 + 1007;

/// Items of [`Flows::endless`] that fit into so many bytes.
const fn parts(bytes: usize) -> usize {
    // 1,000 bytes, their length in bincode, the length of the item.
    bytes / 1007
}

/// As many round trips as it takes until nothing moves any more.
async fn settle(client: &FlowsClient, count: &AtomicUsize) -> usize {
    let mut quiet = 0;
    let mut before = count.load(SeqCst);
    while quiet < 30 {
        client.add(1, 2).await.unwrap();
        let now = count.load(SeqCst);
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    before
}

/// Numbers without end, and how many were made.
fn counted_numbers() -> (Numbers, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let numbers = stream::iter(0..).inspect({
        let made = made.clone();
        move |_| {
            made.fetch_add(1, SeqCst);
        }
    });
    (Streaming::new(numbers), made)
}

/// Its window stays as wide as it is: built without optimisation, both ends may be so slow that they
/// look like a long way.
#[tokio::test]
async fn f13_a_server_is_ahead_of_its_consumer_by_a_window_and_a_batch() {
    let (server, _, flowing) = connect().await;
    let limits = StreamLimits::SHIPPED.with_growth_bytes(0);
    let channel = Channel::builder().stream_limits(limits);
    let client = FlowsClient::new(channel.connect(server.uri()).await.unwrap());
    let mut endless = client.endless().await.unwrap();
    let mut taken = 0;
    for step in [0, 1, 10, 100, 1000] {
        for _ in 0..step {
            soon(endless.next()).await.unwrap().unwrap();
            taken += 1;
        }
        let ahead = soon(settle(&client, &flowing.made)).await - taken;
        println!("{taken} taken, {ahead} ahead");
        assert!(ahead <= parts(WINDOW_BYTES + BATCH_BYTES), "{ahead}");
        assert!(
            ahead >= parts(WINDOW_BYTES / 2),
            "the window is used: {ahead}"
        );
    }
}

#[tokio::test]
async fn f13_a_client_is_ahead_of_its_consumer_by_a_window_and_a_batch() {
    let (_server, client, flowing) = connect().await;
    let (numbers, made) = counted_numbers();
    let ignoring = tokio::spawn({
        let client = client.clone();
        async move { client.ignore(numbers).await }
    });
    until(|| flowing.alive.load(SeqCst) == 1).await;
    let ahead = soon(settle(&client, &made)).await;
    println!("{ahead} ahead");
    // A small number takes five bytes, a larger one seven.
    assert!(ahead <= (WINDOW_BYTES + BATCH_BYTES) / 5, "{ahead}");
    assert!(ahead >= WINDOW_BYTES / 2 / 9, "{ahead}");
    ignoring.abort();
}

/// More streams that nobody reads than the window of a connection has room for.
#[tokio::test]
async fn a_consumer_that_stands_still_stops_nobody_else() {
    let (_server, client, flowing) = connect().await;
    let mut still = Vec::new();
    for _ in 0..20 {
        still.push(client.endless().await.unwrap());
    }
    let mut uploads = Vec::new();
    for _ in 0..20 {
        let (client, (numbers, _)) = (client.clone(), counted_numbers());
        uploads.push(tokio::spawn(async move { client.ignore(numbers).await }));
    }
    until(|| flowing.alive.load(SeqCst) == 40).await;
    let ahead = soon(settle(&client, &flowing.made)).await;
    println!("20 streams that nobody reads: {ahead} ahead");
    assert!(ahead <= parts(20 * (WINDOW_BYTES + BATCH_BYTES)));
    for _ in 0..3 {
        let counted = soon(collect(client.count(20_000).await.unwrap())).await;
        assert!(counted.1.is_none() && counted.0.into_iter().eq(0..20_000));
        let numbers = Streaming::new(stream::iter(0..20_000));
        assert_eq!(soon(client.sum(numbers)).await.unwrap(), 199_990_000);
        assert_eq!(soon(client.add(1, 2)).await.unwrap(), 3);
    }
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}

/// In order, none missing, none twice.
#[tokio::test]
async fn a_million_items() {
    let (_server, client, _) = connect().await;
    let mut numbers = client.count(1_000_000).await.unwrap();
    for expected in 0..1_000_000 {
        assert_eq!(numbers.next().await.unwrap().unwrap(), expected);
    }
    assert!(numbers.next().await.is_none());
    let numbers = Streaming::new(stream::iter(0..1_000_000));
    let doubled = client.double(numbers).await.unwrap();
    let mut doubled = doubled.enumerate();
    let mut count = 0;
    while let Some((index, number)) = doubled.next().await {
        assert_eq!(number.unwrap(), 2 * index as u64);
        count += 1;
    }
    assert_eq!(count, 1_000_000);
}

/// What the slowest of a thousand streams had when all together had `items` for each of them, for
/// one that the fastest had. All of them are open before any is counted.
async fn fairness(limits: StreamLimits, items: usize) -> f64 {
    const STREAMS: usize = 1000;
    let (server, _, _) = connect().await;
    let channel = Channel::builder().stream_limits(limits);
    let client = FlowsClient::new(channel.connect(server.uri()).await.unwrap());
    let total = Arc::new(AtomicUsize::new(0));
    let begin = Arc::new(Barrier::new(STREAMS));
    let consumers = (0..STREAMS).map(|_| {
        let (client, begin, total) = (client.clone(), begin.clone(), total.clone());
        tokio::spawn(async move {
            let mut stream = client.endless().await.unwrap();
            stream.next().await.unwrap().unwrap();
            begin.wait().await;
            let mut taken = 0_usize;
            while total.fetch_add(1, SeqCst) < STREAMS * items {
                stream.next().await.unwrap().unwrap();
                taken += 1;
            }
            taken
        })
    });
    let consumers: Vec<_> = consumers.collect();
    let taken = join_all(consumers).await.into_iter().map(Result::unwrap);
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable();
    let (least, most) = (taken[0], taken[STREAMS - 1]);
    println!("{STREAMS} streams: {least} to {most} items");
    least as f64 / most as f64
}

/// With a small window, so that those who come first have little more at once than the others.
#[tokio::test]
async fn a_thousand_streams_progress_fairly() {
    let fairness = fairness(StreamLimits::new(16 * 1024, 1024 * 1024), 500).await;
    assert!(fairness >= 0.8, "{fairness}");
}

#[tokio::test]
#[ignore = "seconds of full load: `.ci/run` runs it in release mode"]
async fn a_thousand_streams_progress_fairly_for_seconds() {
    let begin = Instant::now();
    let fairness = fairness(StreamLimits::SHIPPED, 5000).await;
    println!("{fairness} over {:?}", begin.elapsed());
    assert!(fairness >= 0.8, "{fairness}");
}

/// The client's reader or its writer passes so many bytes, then nothing.
fn stuck(reads: usize, writes: usize) -> impl Fn(usize, Ends) -> Ends + Send + Sync + 'static {
    move |number, (reader, writer)| {
        let left = |bytes| if number == 0 { bytes } else { usize::MAX };
        let (reader, writer) = (
            Stuck {
                inner: reader,
                left: left(reads),
            },
            Stuck {
                inner: writer,
                left: left(writes),
            },
        );
        (Box::new(reader), Box::new(writer))
    }
}

/// A client that reads nothing more: its producer blocks, and after 30 s the connection is closed.
#[tokio::test(start_paused = true)]
async fn f13_a_client_that_does_not_read_ends_its_connection() {
    let flowing = Flowing::default();
    let (wires, exchange) = network(stuck(50_000, usize::MAX));
    let server = builder(&flowing).keep_alive(None).serve(exchange).unwrap();
    let channel = Channel::builder().keep_alive(None);
    let client = FlowsClient::new(channel.with_connector(Arc::new(wires.clone())));
    let endless = client.endless().await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(flowing.alive.load(SeqCst), 1);
    let made = flowing.made.load(SeqCst);
    assert!(made <= parts(WINDOW_BYTES + BATCH_BYTES), "{made}");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(flowing.alive.load(SeqCst), 0);
    assert_eq!(server.load().calls_in_flight, 0);
    drop(endless);
}

/// A server that reads nothing more while a client uploads.
#[tokio::test(start_paused = true)]
async fn f13_a_server_that_does_not_read_fails_the_upload() {
    let flowing = Flowing::default();
    let (wires, exchange) = network(stuck(usize::MAX, 50_000));
    let _server = builder(&flowing).keep_alive(None).serve(exchange).unwrap();
    let channel = Channel::builder().keep_alive(None);
    let client = FlowsClient::new(channel.with_connector(Arc::new(wires)));
    let (numbers, made) = counted_numbers();
    let begin = Instant::now();
    let status = client.ignore(numbers).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let waited = begin.elapsed().as_secs();
    // At the latest when nothing was taken for 30 s; here the server misses the rest of a frame.
    assert!(waited <= 31, "{waited} s");
    let made = made.load(SeqCst);
    assert!(made <= (WINDOW_BYTES + BATCH_BYTES) / 5, "{made}");
}

/// However many items there are, and in this process there is always one more: other tasks have
/// their turn.
#[tokio::test]
async fn a_consumer_of_endless_items_gives_others_a_turn() {
    let in_process = builder(&Flowing::default()).in_process().unwrap();
    let client = FlowsClient::new(Channel::from_invoke(in_process));
    let mut endless = client.endless().await.unwrap();
    let other = tokio::spawn(async {});
    let mut taken = 0;
    while !other.is_finished() && taken < 10_000 {
        endless.next().await.unwrap().unwrap();
        taken += 1;
    }
    assert!(other.is_finished());
}
