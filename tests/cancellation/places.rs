//! What a dropped future gives back, and what it does not disturb.

use futures_util::future::{join_all, poll_immediate};
use rpc::{Code, MethodId};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::common::{network, raw, soon, until};
use crate::{Work, Worker, builder, ms, pair, spawn_each};

/// Calls are started together and awaited later; a dropped one leaves no entry anywhere.
#[tokio::test(start_paused = true)]
async fn s1_26_a_dropped_future_frees_its_place_at_once() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker).calls_per_connection_max(4)).await;
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(client.hang())).collect();
    for call in &mut calls {
        assert!(poll_immediate(call).await.is_none());
    }
    until(|| worker.started.get() == 4).await;
    assert!(poll_immediate(client.echo(1)).await.is_none(), "no room");
    let begin = Instant::now();
    drop(calls);
    // The cancel travels before the next request does: there is room on both sides.
    let answers = join_all((0..4).map(|n| client.echo(n))).await;
    assert!(answers.into_iter().map(Result::unwrap).eq(0..4));
    until(|| worker.stopped.get() == 4).await;
    assert_eq!(begin.elapsed(), ms(0));
    assert_eq!(server.load().calls_in_flight, 0);
    let stats = server.method_stats("Work.hang").unwrap();
    assert_eq!((stats.calls, stats.errors, stats.in_flight), (4, 4, 0));
    assert_eq!(wires.opened(), 1);
}

/// Gee's "client timeout": the caller has 1 s, the handler takes 2 s.
#[tokio::test(start_paused = true)]
async fn s1_26_client_timeout() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker)).await;
    let begin = Instant::now();
    let status = client.with_timeout(ms(1000)).pause(2000).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed(), ms(1000));
    // The same with a limit of the caller's own around the future.
    let limited = tokio::time::timeout(ms(1000), client.pause(2000)).await;
    limited.unwrap_err();
    assert_eq!(begin.elapsed(), ms(2000));
    tokio::time::sleep(ms(5)).await;
    assert_eq!(server.load().calls_in_flight, 0, "both are stopped");
    client.echo(1).await.unwrap();
}

/// A call that waits for a place and is dropped is never sent.
#[tokio::test(start_paused = true)]
async fn a_call_given_up_in_line_never_begins() {
    let worker = Worker::default();
    let (client, _, _server) = pair(builder(&worker).calls_per_connection_max(1)).await;
    let mut first = Box::pin(client.pause(50));
    let mut second = Box::pin(client.hang());
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    drop(second);
    first.await.unwrap();
    client.echo(1).await.unwrap();
    assert_eq!(worker.started.get(), 1);
}

/// The cancel arrives while the handler waits for a task of its own.
#[tokio::test]
async fn a_call_cancelled_before_its_first_poll_never_begins() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let id = MethodId::of("Work", "grind").number();
    let grind = |call| [raw::request(call, 0, id, 1), vec![2]].concat();
    // From now on the method is known to be slow.
    stream.write_all(&grind(1)).await.unwrap();
    soon(raw::read_frame(&mut stream)).await;
    let mut cancel = raw::request(2, 0, 0, 0);
    cancel[8] = raw::CANCEL;
    stream
        .write_all(&[grind(2), cancel].concat())
        .await
        .unwrap();
    let (header, _) = soon(raw::read_frame(&mut stream)).await;
    assert_eq!((header[4], header[8], header[10]), (2, 3, 1), "Cancelled");
    until(|| server.load().calls_in_flight == 0).await;
    assert_eq!(worker.started.get(), 1);
}

/// T10: a client that gives up many calls paces its cancels, so that it is never cut off.
#[tokio::test(start_paused = true)]
async fn t10_five_thousand_dropped_futures_are_no_flood() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker)).await;
    let begin = Instant::now();
    for round in 1..=5 {
        let client = client.clone();
        let calls = spawn_each((0..1000).map(|_| {
            let client = client.clone();
            async move { client.hang().await }
        }));
        while worker.started.get() < round * 1000 {
            tokio::time::sleep(ms(10)).await;
        }
        for call in &calls {
            call.abort();
        }
        join_all(calls).await;
        client.echo(1).await.unwrap();
    }
    while worker.stopped.get() < 5000 {
        tokio::time::sleep(ms(10)).await;
        assert!(begin.elapsed() < ms(60_000), "{}", worker.stopped.get());
    }
    println!(
        "5,000 handlers stopped {:?} after the first",
        begin.elapsed()
    );
    assert_eq!(server.load().calls_in_flight, 0);
    assert_eq!(wires.opened(), 1, "it was cut off");
}

/// T10: a cancel that waits for its turn has it, also if nothing else happens on the connection.
#[tokio::test(start_paused = true)]
async fn t10_a_cancel_that_waits_is_sent_in_its_turn() {
    let worker = Worker::default();
    let (client, _wires, _server) = pair(builder(&worker)).await;
    let calls = spawn_each((0..150).map(|_| {
        let client = client.clone();
        async move { client.hang().await }
    }));
    until(|| worker.started.get() == 150).await;
    // As many as may go at once; their answers are here before the next are given up.
    calls[..100].iter().for_each(|call| call.abort());
    until(|| worker.stopped.get() == 100).await;
    tokio::time::sleep(ms(1)).await;
    calls[100..].iter().for_each(|call| call.abort());
    tokio::time::sleep(ms(600)).await;
    assert_eq!(worker.stopped.get(), 150, "100 a second");
}

/// A cancel that waits for its turn is not needed once the call has ended by itself.
#[tokio::test(start_paused = true)]
async fn t10_a_late_answer_gives_the_place_back() {
    let worker = Worker::default();
    let (client, wires, _server) = pair(builder(&worker).calls_per_connection_max(300)).await;
    let calls = spawn_each((0..300).map(|_| {
        let client = client.clone();
        async move { client.pause(10).await }
    }));
    until(|| worker.started.get() == 300).await;
    calls.iter().for_each(|call| call.abort());
    join_all(calls).await;
    tokio::time::sleep(ms(20)).await;
    let begin = Instant::now();
    let answers = join_all((0..300).map(|_| client.pause(5))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(begin.elapsed(), ms(5), "some waited for a place");
    assert_eq!(wires.opened(), 1);
}

/// T14: a handler that panics while it is stopped.
#[tokio::test(start_paused = true)]
async fn t14_a_panic_while_cancelled_is_contained() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker)).await;
    let neighbour = tokio::spawn({
        let client = client.clone();
        async move { client.pause(1000).await }
    });
    let calls = spawn_each((0..10).map(|_| {
        let client = client.clone();
        async move { client.hang_badly().await }
    }));
    until(|| worker.started.get() == 11).await;
    calls.iter().for_each(|call| call.abort());
    until(|| worker.stopped.get() == 10).await;
    // The same when the deadline stops it.
    let status = client.with_timeout(ms(50)).hang_badly().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    neighbour.await.unwrap().unwrap();
    client.echo(1).await.unwrap();
    assert_eq!(worker.stopped.get(), 11);
    assert_eq!(server.load().calls_in_flight, 0);
    assert_eq!((wires.opened(), server.connection_count()), (1, 1));
}
