//! The three kinds of streams, and how they end.

use futures_util::stream;
use rpc::{Code, Streaming};

use super::contract::{Flows as _, collect, connect};
use crate::common::soon;

#[tokio::test]
async fn s3_6_a_server_streams() {
    let (_server, client, _) = connect().await;
    for end in [0, 1, 10, 100_000] {
        let stream = client.count(end).await.unwrap();
        let (items, status) = soon(collect(stream)).await;
        assert!(status.is_none(), "{status:?}");
        assert!(items.iter().copied().eq(0..end), "{} of {end}", items.len());
    }
}

#[tokio::test]
async fn s3_6_a_client_streams() {
    let (_server, client, _) = connect().await;
    for end in [0, 1, 10, 100_000_u64] {
        let numbers = Streaming::new(stream::iter(0..end));
        let sum = soon(client.sum(numbers)).await.unwrap();
        assert_eq!(sum, end * end.saturating_sub(1) / 2);
    }
}

#[tokio::test]
async fn s3_6_both_stream() {
    let (_server, client, _) = connect().await;
    let numbers = Streaming::new(stream::iter(0..100_000));
    let doubled = client.double(numbers).await.unwrap();
    let (items, status) = soon(collect(doubled)).await;
    assert!(status.is_none(), "{status:?}");
    assert!(items.into_iter().eq((0..100_000).map(|number| number * 2)));
}

#[tokio::test]
async fn both_sides_may_take_turns() {
    let (_server, client, _) = connect().await;
    let (sender, numbers) = Streaming::channel(1);
    let mut doubled = client.double(numbers).await.unwrap();
    for number in 0..1000 {
        sender.send(number).await.unwrap();
        assert_eq!(soon(doubled.next()).await.unwrap().unwrap(), number * 2);
    }
    drop(sender);
    assert!(soon(doubled.next()).await.is_none());
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn an_error_comes_behind_the_items_before_it() {
    let (_server, client, _) = connect().await;
    let stream = client.fail_at(3).await.unwrap();
    let (items, status) = soon(collect(stream)).await;
    assert_eq!(items, [0, 1, 2]);
    let status = status.unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DataLoss, "that was all")
    );
}

#[tokio::test]
async fn t14_a_panic_comes_behind_the_items_before_it() {
    let (_server, client, _) = connect().await;
    let stream = client.panic_at(2).await.unwrap();
    let (items, status) = soon(collect(stream)).await;
    assert_eq!(items, [0, 1]);
    let status = status.unwrap();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("one too many"), "{status}");
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stream_is_found_inside_of_a_reply() {
    let (_server, client, _) = connect().await;
    let (label, parts) = client.labelled("a".into(), 5).await.unwrap();
    assert_eq!(label, "a");
    assert_eq!(soon(collect(parts)).await.0, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn items_may_be_as_long_as_messages() {
    let (_server, client, _) = connect().await;
    let lengths = [
        0, 1, 65_535, 65_536, 65_537, 300_000, 1_000_000, 4_000_000, 3,
    ];
    let parts = Streaming::new(stream::iter(
        lengths.map(|length| vec![length as u8; length]),
    ));
    let echoed = client.echo(parts).await.unwrap();
    let (items, status) = soon(collect(echoed)).await;
    assert!(status.is_none(), "{status:?}");
    assert!(items.iter().map(Vec::len).eq(lengths));
}

#[tokio::test]
async fn dropping_the_consumer_drops_the_producer() {
    let (_server, client, flowing) = connect().await;
    let mut stream = client.endless().await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().unwrap().len(), 1000);
    assert_eq!(flowing.alive.load(std::sync::atomic::Ordering::SeqCst), 1);
    drop(stream);
    crate::common::until(|| flowing.alive.load(std::sync::atomic::Ordering::SeqCst) == 0).await;
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn an_answer_stops_the_upload() {
    let (_server, client, _) = connect().await;
    let (sender, numbers) = Streaming::channel(1);
    let feeding = tokio::spawn(async move {
        let mut sent = 0;
        while sender.send(sent).await.is_ok() {
            sent += 1;
        }
    });
    assert_eq!(soon(client.take(numbers, 3)).await.unwrap(), [0, 1, 2]);
    soon(feeding).await.unwrap();
}
