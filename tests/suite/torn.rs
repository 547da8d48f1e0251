//! Streams that do not end well: what came before arrives, then one error, and only that call fails.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rpc::{Code, Status, Streaming};

use crate::flows::{Flows as _, Fragile, Numbers, collect, twins};
use crate::{MESSAGE_BYTES_MAX, Pair};

pub(crate) async fn an_error_comes_behind_the_items_before_it(pair: &Pair) {
    for at in [0, 3, 20_000] {
        let stream = pair.flows.fail_at(at).await.unwrap();
        let (items, status) = collect(stream).await;
        assert!(items.into_iter().eq(0..at));
        let status = status.unwrap();
        assert_eq!(status.code(), Code::DataLoss);
        assert_eq!(status.message(), "that was all");
    }
}

pub(crate) async fn an_upload_fails_behind_the_items_before_it(pair: &Pair) {
    for at in [0, 3, 20_000_u64] {
        let (sender, numbers) = Streaming::channel(16);
        let sending = async {
            for number in 0..at {
                sender.send(number).await.unwrap();
            }
            sender.fail(Status::aborted("the disk is gone")).await;
        };
        let (heard, ()) = tokio::join!(pair.flows.heard(numbers), sending);
        let (items, end) = heard.unwrap();
        assert!(items.into_iter().eq(0..at));
        let aborted = (Code::Aborted.number(), "the disk is gone".to_owned());
        assert_eq!(end, Some(aborted));
    }
    // A handler that passes it on gives it to the caller.
    let failing = Streaming::try_new(stream::iter([Ok(1), Err(Status::aborted("no more"))]));
    let status = pair.flows.sum(failing).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "no more")
    );
}

/// Nothing of what was said in the panic is told.
fn assert_internal(status: &Status) {
    assert_eq!(status.code(), Code::Internal, "{status}");
    let told = format!("{status:?}{status}");
    assert!(
        !told.contains("secret") && !told.contains("one too many"),
        "{told}"
    );
    assert!(!status.is_not_processed());
}

pub(crate) async fn t14_a_panic_comes_behind_the_items_before_it(pair: &Pair) {
    for at in [0, 2, 20_000] {
        let stream = pair.flows.panic_at(at).await.unwrap();
        let (items, status) = collect(stream).await;
        assert!(items.into_iter().eq(0..at));
        assert_internal(&status.unwrap());
    }
}

pub(crate) async fn t14_an_upload_panics_behind_the_items_before_it(pair: &Pair) {
    for at in [0, 2, 20_000_u64] {
        let numbers = stream::iter(0..).map(move |number| {
            assert!(number < at, "secret of the caller");
            number
        });
        let (items, end) = pair.flows.heard(Streaming::new(numbers)).await.unwrap();
        assert!(items.into_iter().eq(0..at));
        let (code, text) = end.unwrap();
        assert_eq!(code, Code::Internal.number());
        assert!(!text.contains("secret"), "{text}");
    }
}

pub(crate) async fn s1_4_t14_an_item_cannot_be_serialized(pair: &Pair) {
    for broken in [1, 2] {
        for at in [0, 2, 20_000] {
            let stream = pair.flows.break_at(at, broken).await.unwrap();
            let (items, status) = collect(stream).await;
            assert_eq!(items, vec![Fragile::Whole; at]);
            assert_internal(&status.unwrap());
        }
    }
}

pub(crate) async fn s1_4_t14_an_item_of_an_upload_cannot_be_serialized(pair: &Pair) {
    for broken in [Fragile::Fails, Fragile::Panics] {
        for at in [0, 2, 20_000] {
            let whole = stream::iter(std::iter::repeat_n(Fragile::Whole, at));
            let parts = Streaming::new(whole.chain(stream::iter([broken])));
            let (items, end) = pair.flows.heard_fragile(parts).await.unwrap();
            assert_eq!(items.len(), at);
            assert_eq!(end.unwrap().0, Code::Internal.number());
        }
    }
}

pub(crate) async fn an_item_cannot_be_decoded(pair: &Pair) {
    let channel = pair.flows.channel();
    let mut stream: Streaming<String> = channel.call("Flows.count", &(&300_u64,)).await.unwrap();
    let mut next = stream.next().await.unwrap();
    // Zero is the empty text, and one asks for a byte that is not there.
    if next.as_deref() == Ok("") {
        next = stream.next().await.unwrap();
    }
    let status = next.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.message().contains("decoded"), "{status}");
    assert!(stream.next().await.is_none(), "an error is the end");

    let words = stream::iter(["".to_owned(), "no number".to_owned()]);
    let words = Streaming::new(words);
    let status = channel
        .call::<_, u64>("Flows.sum", &(&words,))
        .await
        .unwrap_err();
    // To send what nobody expects is the caller's mistake, in an item as in an argument.
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("decoded"), "{status}");
}

/// The suite's limit is the server's; what a client takes is its own affair.
pub(crate) async fn an_item_is_too_long(pair: &Pair) {
    let long = vec![0; MESSAGE_BYTES_MAX as usize];
    let (sender, parts) = Streaming::channel(4);
    sender.send(vec![1]).await.unwrap();
    sender.send(long).await.unwrap();
    sender.send(vec![3]).await.unwrap();
    let mut echoed = pair.flows.echo(parts).await.unwrap();
    assert_eq!(echoed.next().await.unwrap().unwrap(), [1]);
    let status = echoed.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(echoed.next().await.is_none());
    sender.closed().await;
}

pub(crate) async fn two_streams_in_a_message_are_refused(pair: &Pair) {
    let status = pair.flows.take_twins(twins()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.is_not_processed(), "it was not sent");
    let status = pair.flows.twins().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
}

pub(crate) async fn a_stream_is_expected_and_none_comes(pair: &Pair) {
    let channel = pair.flows.channel();
    let status = channel.call_raw("Flows.sum", []).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let reply = channel.call::<_, Numbers>("Suite.nothing", &()).await;
    let status = reply.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.message().contains("no items come"), "{status}");
    // Nor does it harm that items come which nobody expects.
    let sum = channel.call::<_, u64>("Flows.count", &(&3_u64,)).await;
    assert_eq!(sum.unwrap_err().code(), Code::Internal);
    let numbers = Streaming::new(stream::iter(0..3_u64));
    let nothing = channel.call::<_, ()>("Suite.nothing", &(&numbers,)).await;
    nothing.unwrap();
}

pub(crate) async fn a_stream_cannot_be_given_twice(pair: &Pair) {
    let channel = pair.flows.channel();
    let numbers = Streaming::new(stream::iter(0..3_u64));
    let sum = channel.call::<_, u64>("Flows.sum", &(&numbers,)).await;
    assert_eq!(sum.unwrap(), 3);
    let again = channel.call::<_, u64>("Flows.sum", &(&numbers,)).await;
    let status = again.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    // Outside of a call there is nobody to give it to.
    let error = serde_json::to_string(&Streaming::new(stream::iter([1]))).unwrap_err();
    assert!(
        error.to_string().contains("argument or the reply"),
        "{error}"
    );
    let error = serde_json::from_str::<Numbers>("null").unwrap_err();
    assert!(error.to_string().contains("no items come"), "{error}");
}

pub(crate) async fn the_deadline_holds_to_the_end_of_a_stream(pair: &Pair) {
    let flows = pair.flows.with_timeout(Duration::from_millis(40));
    let mut stalled = flows.stall().await.unwrap();
    assert_eq!(stalled.next().await.unwrap().unwrap(), 7);
    let status = stalled.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(stalled.next().await.is_none());

    let (sender, numbers) = Streaming::channel(1);
    let status = flows.sum(numbers).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    sender.closed().await;
}
