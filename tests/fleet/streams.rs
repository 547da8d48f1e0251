//! Streams among the calls of a fleet: they are load while they last, and their end is an outcome.

use std::sync::atomic::Ordering::SeqCst;

use rpc::resilience::{BreakerPolicy, HedgePolicy};
use rpc::{CallOptions, Channel, ChannelBuilder, Code, Resilience, Status, Streaming};
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;
use crate::common::until;

const UNAVAILABLE: u64 = 14;
const INVALID_ARGUMENT: u64 = 3;
const HOUR: u32 = 3600;

fn in_flight(client: &GreeterClient) -> Vec<u32> {
    let endpoints = client.channel().stats().endpoints.into_iter();
    endpoints.map(|one| one.in_flight).collect()
}

/// A stream of an hour, and who sends it.
async fn long(client: &GreeterClient) -> (usize, Streaming<usize>) {
    let mut stream = client.repeat(HOUR, 1_000).await.unwrap();
    let number = stream.next().await.unwrap().unwrap();
    (number, stream)
}

/// Reads a stream to its end; gives how often it said something.
async fn read(stream: rpc::Result<Streaming<usize>>) -> Result<u32, Status> {
    let (mut stream, mut count) = (stream?, 0);
    while let Some(item) = stream.next().await {
        item?;
        count += 1;
    }
    Ok(count)
}

/// A client that knows all servers, and is connected to them.
async fn connected(crew: &Crew, builder: ChannelBuilder) -> GreeterClient {
    let client = crew.client_of(builder);
    let each = client.channel().each().await.unwrap().into_iter();
    let hello = async |one: GreeterClient| one.hello(0).await;
    let all = rpc::many::inform(each.map(GreeterClient::new), hello).await;
    assert!(all.iter().all(Result::is_ok));
    client
}

/// Whoever has the fewest calls under way has also the fewest streams.
#[tokio::test(start_paused = true)]
async fn a_stream_is_load_until_it_ends() {
    let mut crew = Crew::of(2).await;
    let client = connected(&crew, Channel::builder().balancing("least_request")).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(long(&client).await);
    }
    assert_eq!(in_flight(&client), [5, 5]);
    // Those who send them are spared other calls.
    streams.retain(|(number, _)| *number == 0);
    assert_eq!(in_flight(&client), [5, 0]);
    for _ in 0..20 {
        assert_eq!(client.pause(1).await.unwrap(), 1);
    }
    for _ in 0..5 {
        let (number, stream) = long(&client).await;
        assert_eq!(number, 1);
        streams.push((number, stream));
    }
    // They end with an error,
    crew.kill(1);
    for (number, stream) in &mut streams {
        if *number == 1 {
            while stream.next().await.is_some_and(|item| item.is_ok()) {}
        }
    }
    assert_eq!(in_flight(&client), [5, 0]);
    assert_eq!(client.channel().stats().ejections, 0);
    // or well, or are not wanted any more.
    assert_eq!(read(client.repeat(3, 10).await).await, Ok(3));
    assert_eq!(in_flight(&client), [5, 0]);
    drop(streams);
    assert_eq!(in_flight(&client), [0, 0]);
}

/// A stream may last: neither its length nor its silence speaks against its server.
#[tokio::test(start_paused = true)]
async fn a_stream_of_an_hour_is_not_an_hour_late() {
    let crew = Crew::of(1).await;
    let hedging = HedgePolicy::after(millis(20)).with_share_max(0.5);
    let resilience = Resilience::new()
        .with_breaker(BreakerPolicy::default())
        .with_hedging(hedging);
    let client = connected(&crew, Channel::builder().resilience(resilience)).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(client.repeat(HOUR, 1_000).await);
    }
    for _ in 0..20 {
        client.lookup(1).await.unwrap();
        tokio::time::sleep(seconds(1)).await;
    }
    for stream in streams {
        assert_eq!(read(stream).await, Ok(HOUR));
    }
    for _ in 0..100 {
        client.lookup(1).await.unwrap();
    }
    let stats = client.channel().stats();
    assert_eq!((stats.rejected, stats.ejections, stats.hedges), (0, 0, 0));
    let one = &stats.endpoints[0];
    assert!(one.latency < millis(50), "{:?}", one.latency);
    assert_eq!(one.in_flight, 0);
}

/// F8: a server whose streams fail behind their first items is taken out as one whose calls fail; one
/// whose callers are to blame is not, nor one whose streams last longer than their callers wish.
#[tokio::test(start_paused = true)]
async fn f8_who_tears_streams_is_taken_out() {
    let crew = Crew::of(3).await;
    let client = connected(&crew, Channel::builder().balancing("round_robin")).await;
    let torn = async |client: &GreeterClient, streams: u32| {
        let mut torn = 0;
        for _ in 0..streams {
            torn += u32::from(read(client.repeat(2, 5).await).await.is_err());
        }
        torn
    };
    crew.mood(0).fails.store(INVALID_ARGUMENT, SeqCst);
    assert_eq!(torn(&client, 60).await, 20);
    crew.mood(0).fails.store(0, SeqCst);
    let hurried = client.with_options(CallOptions::new().with_timeout(millis(7)));
    assert_eq!(torn(&hurried, 60).await, 60);
    assert_eq!(client.channel().stats().ejections, 0);

    crew.mood(0).fails.store(UNAVAILABLE, SeqCst);
    assert_eq!(torn(&client, 60).await, 5);
    assert_eq!(client.channel().stats().ejections, 1);
    // The probe is answered after 30 s, whatever becomes of its stream.
    crew.mood(0).fails.store(0, SeqCst);
    tokio::time::sleep(seconds(31)).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(long(&client).await);
    }
    let stats = client.channel().stats();
    assert!(stats.endpoints.iter().all(|one| !one.is_ejected));
    assert!(streams.iter().any(|(number, _)| *number == 0));
}

/// S3-10: streams that fail after they were accepted count as failures.
#[tokio::test(start_paused = true)]
async fn s3_10_a_breaker_rejects_what_would_be_torn() {
    let crew = Crew::of(2).await;
    let resilience = Resilience::new().with_breaker(BreakerPolicy::default());
    let builder = Channel::builder().outliers(None).resilience(resilience);
    let client = connected(&crew, builder).await;
    for _ in 0..200 {
        read(client.repeat(2, 2).await).await.unwrap();
    }
    (0..2).for_each(|number| crew.mood(number).fails.store(UNAVAILABLE, SeqCst));
    for _ in 0..2_000 {
        let status = read(client.repeat(2, 2).await).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        tokio::time::sleep(millis(2)).await;
    }
    let rejected = client.channel().stats().rejected;
    println!("breaker: {rejected} of 2000 streams rejected");
    assert!(rejected > 1_000, "{rejected}");
    (0..2).for_each(|number| crew.mood(number).fails.store(0, SeqCst));
    let well = async || read(client.repeat(2, 2).await).await.is_ok();
    // Twice the two windows that it takes to believe that things are well.
    let healed = Instant::now();
    while healed.elapsed() < seconds(12) {
        well().await;
        tokio::time::sleep(millis(2)).await;
    }
    for _ in 0..100 {
        assert!(well().await);
    }
}

/// A stream outlives the list that its server was in, and the channel that it was opened by.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_when_its_server_is_not_listed_any_more() {
    let crew = Crew::of(2).await;
    let client = connected(&crew, Channel::builder().balancing("round_robin")).await;
    let streams = [client.repeat(20, 100).await, client.repeat(20, 100).await];
    crew.list([1]);
    tokio::time::sleep(millis(50)).await;
    assert_eq!(client.channel().stats().endpoints.len(), 1);
    drop(client);
    for stream in streams {
        assert_eq!(read(stream).await, Ok(20));
    }
    until(|| (0..2).all(|number| crew.connections(number) == 0)).await;
}
