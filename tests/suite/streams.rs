//! What streams do when nothing goes wrong: S3-6 and the stream rows of the semantics.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::{StreamExt as _, stream};
use rpc::{Context, Streaming, TraceParent, capture_metadata};

use crate::Pair;
use crate::common::until;
use crate::flows::{EvenError, Flows as _, Surroundings, collect};

pub(crate) async fn s3_6_a_server_streams(pair: &Pair) {
    for end in [0, 1, 10, 20_000] {
        let stream = pair.flows.count(end).await.unwrap();
        let (items, status) = collect(stream).await;
        assert!(status.is_none(), "{status:?}");
        assert!(items.iter().copied().eq(0..end), "{} of {end}", items.len());
    }
}

pub(crate) async fn s3_6_a_client_streams(pair: &Pair) {
    for end in [0, 1, 10, 20_000_u64] {
        let numbers = Streaming::new(stream::iter(0..end));
        let sum = pair.flows.sum(numbers).await.unwrap();
        assert_eq!(sum, end * end.saturating_sub(1) / 2);
    }
}

pub(crate) async fn s3_6_both_stream(pair: &Pair) {
    for end in [0, 1, 20_000] {
        let numbers = Streaming::new(stream::iter(0..end));
        let doubled = pair.flows.double(numbers).await.unwrap();
        let (items, status) = collect(doubled).await;
        assert!(status.is_none(), "{status:?}");
        assert!(items.into_iter().eq((0..end).map(|number| number * 2)));
    }
}

pub(crate) async fn both_sides_may_take_turns(pair: &Pair) {
    let (sender, numbers) = Streaming::channel(1);
    let mut doubled = pair.flows.double(numbers).await.unwrap();
    for number in 0..500 {
        sender.send(number).await.unwrap();
        assert_eq!(doubled.next().await.unwrap().unwrap(), number * 2);
    }
    drop(sender);
    assert!(doubled.next().await.is_none());
    assert!(doubled.next().await.is_none(), "the end is the end");
}

/// Half-close: the end of one direction is seen while the other is open.
pub(crate) async fn an_upload_ends_before_its_reply_does(pair: &Pair) {
    let (sender, numbers) = Streaming::channel(4);
    let mut reply = pair.flows.answer_the_end(numbers).await.unwrap();
    for number in 0..3 {
        sender.send(number).await.unwrap();
    }
    drop(sender);
    assert_eq!(reply.next().await.unwrap().unwrap(), 3);
    assert!(reply.next().await.is_none());

    // And the other way round: the reply may end first, which ends the call.
    let (sender, numbers) = Streaming::channel(1);
    sender.send(5).await.unwrap();
    assert_eq!(pair.flows.take(numbers, 1).await.unwrap(), [5]);
    sender.closed().await;
}

pub(crate) async fn an_alias_and_a_place_inside_of_a_reply_are_streams_too(pair: &Pair) {
    let (label, parts) = pair.flows.labelled("a".into(), 5).await.unwrap();
    assert_eq!(label, "a");
    assert_eq!(collect(parts).await.0, [0, 1, 2, 3, 4]);
}

pub(crate) async fn items_of_all_lengths(pair: &Pair) {
    let lengths = [
        0, 1, 16_383, 65_531, 65_532, 65_533, 65_536, 300_000, 1_000_000, 3,
    ];
    let items = lengths.map(|length| vec![length as u8; length]);
    let parts = Streaming::new(stream::iter(items.clone()));
    let echoed = pair.flows.echo(parts).await.unwrap();
    let (echoed, status) = collect(echoed).await;
    assert!(status.is_none(), "{status:?}");
    assert!(echoed == items, "the items differ");
}

pub(crate) async fn metadata_comes_with_a_stream(pair: &Pair) {
    let (stream, response) = capture_metadata(pair.flows.tagged("blue".into())).await;
    assert_eq!(response.get("tag"), Some("blue"));
    assert_eq!(collect(stream.unwrap()).await.0, [0, 1, 2]);
}

pub(crate) async fn a_typed_error_comes_instead_of_a_stream(pair: &Pair) {
    let error = pair.flows.halves(3).await.unwrap_err();
    assert_eq!(error, EvenError::Odd(3));
    let halves = pair.flows.halves(6).await.unwrap();
    assert_eq!(collect(halves).await.0, [0, 1, 2]);
}

/// A proxy: what one call receives is an argument of another, item by item.
pub(crate) async fn a_received_stream_is_forwarded(pair: &Pair) {
    let counted = pair.flows.count(20_000).await.unwrap();
    let doubled = pair.flows.double(counted).await.unwrap();
    let sum = pair.flows.sum(doubled).await.unwrap();
    assert_eq!(sum, 20_000 * 19_999);

    // An error passes through all of them, behind the items before it.
    let failing = pair.flows.fail_at(3).await.unwrap();
    let (items, end) = pair.flows.heard(failing).await.unwrap();
    assert_eq!(items, [0, 1, 2]);
    let data_loss = rpc::Code::DataLoss.number();
    assert_eq!(end, Some((data_loss, "that was all".to_owned())));
}

fn trace() -> TraceParent {
    "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
        .parse()
        .unwrap()
}

pub(crate) async fn a_producer_is_polled_in_the_context_of_its_call(pair: &Pair) {
    let flows = pair.flows.with_metadata("tenant", "a").unwrap();
    let context = Context::new()
        .with_trace_parent(trace())
        .with_timeout(std::time::Duration::from_secs(9));
    let seen = context.scope(flows.surroundings()).await.unwrap();
    let (seen, status) = collect(seen).await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(seen.len(), 3);
    for seen in seen {
        assert!(seen.has_deadline);
        assert_eq!(seen.tenant.as_deref(), Some("a"));
        assert_eq!(seen.trace.as_deref(), Some(&trace().to_string()[..35]));
    }
}

pub(crate) async fn a_callers_stream_is_polled_in_the_context_of_the_caller(pair: &Pair) {
    let (report, mut reported) = tokio::sync::mpsc::channel(4);
    let numbers = stream::iter(0..3).then(move |number| {
        let report = report.clone();
        async move {
            report.send(Surroundings::current()).await.unwrap();
            number
        }
    });
    let context = Context::new().with_trace_parent(trace());
    let sum = context.scope(pair.flows.sum(Streaming::new(numbers))).await;
    assert_eq!(sum.unwrap(), 3);
    for _ in 0..3 {
        let seen = reported.recv().await.unwrap();
        assert_eq!(seen.trace.as_deref(), Some(&trace().to_string()[..35]));
        assert_eq!(seen.tenant, None, "the metadata is that of the caller");
    }
}

pub(crate) async fn dropping_the_consumer_drops_the_producer(pair: &Pair) {
    let mut endless = pair.flows.endless().await.unwrap();
    assert_eq!(endless.next().await.unwrap().unwrap().len(), 1000);
    assert_eq!(pair.flowing.alive.load(SeqCst), 1);
    drop(endless);
    until(|| pair.flowing.alive.load(SeqCst) == 0).await;
    // Also one that waits, and one of which nothing was taken.
    let mut stalled = pair.flows.stall().await.unwrap();
    assert_eq!(stalled.next().await.unwrap().unwrap(), 7);
    drop(stalled);
    drop(pair.flows.endless().await.unwrap());
    until(|| pair.flowing.alive.load(SeqCst) == 0).await;
}

pub(crate) async fn an_answer_stops_the_upload(pair: &Pair) {
    let (sender, numbers) = Streaming::channel(1);
    let feeding = tokio::spawn(async move {
        let mut sent = 0;
        while sender.send(sent).await.is_ok() {
            sent += 1;
        }
    });
    assert_eq!(pair.flows.take(numbers, 3).await.unwrap(), [0, 1, 2]);
    feeding.await.unwrap();
}
