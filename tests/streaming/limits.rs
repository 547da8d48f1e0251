//! What is configured of streams holds.

use std::time::Duration;

use futures_util::stream;
use rpc::{Channel, Code, Server, StreamLimits, Streaming};

use super::contract::{Flowing, Flows as _, FlowsClient, FlowsServer, collect};
use crate::common::soon;

async fn connect(builder: rpc::ServerBuilder) -> (Server, FlowsClient) {
    let builder = builder.add_service(FlowsServer::new(Flowing::default()));
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = FlowsClient::connect(server.uri()).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_its_place_comes_back() {
    // [stream.begin]
    let (_server, client) = connect(Server::builder().streams_per_connection_max(2)).await;
    let first = client.count(10).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(client.endless().await);
    }
    // The first had ended before it was consumed.
    let third = client.endless().await.unwrap();
    let status = soon(collect(third)).await.1.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let numbers = Streaming::new(stream::iter(0..10));
    let status = client.sum(numbers).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(open);
    assert_eq!(soon(collect(first)).await.0.len(), 10);
    soon(async {
        while client.sum(Streaming::new(stream::iter(0..10))).await != Ok(45) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_happens_is_ended() {
    let timeout = Duration::from_secs(60);
    let builder = Server::builder().stream_idle_timeout(Some(timeout));
    let builder = builder.add_service(FlowsServer::new(Flowing::default()));
    let target = format!("mem://{}", crate::common::unique("idle-stream"));
    let _server = builder.bind(&target).await.unwrap();
    let client = FlowsClient::connect(&target).await.unwrap();
    let begin = tokio::time::Instant::now();
    let (sender, numbers) = Streaming::channel(1);
    let mut doubled = client.double(numbers).await.unwrap();
    // As long as something moves, the stream stays.
    for number in 0..20 {
        sender.send(number).await.unwrap();
        assert_eq!(doubled.next().await.unwrap().unwrap(), 2 * number);
        tokio::time::sleep(timeout / 2).await;
    }
    let quiet = tokio::time::Instant::now();
    let status = doubled.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let waited = quiet.elapsed();
    assert!(timeout / 2 <= waited && waited <= 2 * timeout, "{waited:?}");
    assert!(begin.elapsed() > 10 * timeout);
    sender.closed().await;
}

#[tokio::test]
async fn windows_may_be_small_or_differ() {
    let sizes = [(1, 1), (100, 1 << 20), (1 << 20, 100), (64 << 10, 64 << 10)];
    for (ours, theirs) in sizes.into_iter().zip(sizes.into_iter().rev()) {
        let builder = Server::builder().stream_limits(StreamLimits::new(ours.0, ours.1));
        let builder = builder.add_service(FlowsServer::new(Flowing::default()));
        let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
        let channel = Channel::builder().stream_limits(StreamLimits::new(theirs.0, theirs.1));
        let channel = channel.connect(server.uri()).await.unwrap();
        let client = FlowsClient::new(channel);
        let parts = (0..300_usize).map(|size| vec![size as u8; size * 10]);
        let echoed = client
            .echo(Streaming::new(stream::iter(parts)))
            .await
            .unwrap();
        let (items, status) = soon(collect(echoed)).await;
        assert!(status.is_none(), "{status:?} with {ours:?} and {theirs:?}");
        assert!(
            items
                .iter()
                .map(Vec::len)
                .eq((0..300).map(|size| size * 10))
        );
    }
}
