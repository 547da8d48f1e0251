//! Limits on what is in flight: who waits, and in what order.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::future::{join_all, poll_immediate};
use rpc::Channel;
use rpc::transport::{MemoryConnector, MemoryListener};

use crate::common::{soon, unique, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// A client whose connection takes so many calls, and has said so.
async fn crowded(worker: &Worker, calls_max: u32) -> (WorkClient, rpc::Server) {
    let builder = builder(worker).calls_per_connection_max(calls_max);
    let (client, _, server) = pair(builder, |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    (client, server)
}

#[tokio::test]
async fn s0_13_callers_beyond_the_limit_wait_in_line() {
    let worker = Worker::default();
    let (client, server) = crowded(&worker, 4).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let calls: Vec<_> = (0..40)
        .map(|nonce| {
            let (client, order) = (client.clone(), order.clone());
            tokio::spawn(async move {
                let answer = client.wait(nonce).await.unwrap();
                order.lock().unwrap().push(answer);
            })
        })
        .collect();
    until(|| worker.waiting() == 4).await;
    for done in 1..=40 {
        worker.go.add_permits(1);
        until(|| order.lock().unwrap().len() == done).await;
        let in_flight = server.method_stats("Work.wait").unwrap().in_flight;
        assert!(in_flight <= 4, "{in_flight}");
    }
    soon(join_all(calls)).await;
    assert!(order.lock().unwrap().iter().copied().eq(0..40));
    let stats = server.method_stats("Work.wait").unwrap();
    assert_eq!((stats.calls, stats.errors), (40, 0), "none was refused");
}

#[tokio::test]
async fn a_dropped_call_frees_its_place() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 1).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait(0).await }
    });
    until(|| worker.waiting() == 1).await;
    let mut second = Box::pin(client.wait(1));
    let mut third = Box::pin(client.wait(2));
    let mut fourth = pin!(client.echo(3, vec![]));
    assert!(poll_immediate(&mut second).await.is_none());
    assert!(poll_immediate(&mut third).await.is_none());
    assert!(poll_immediate(&mut fourth).await.is_none());
    // One that waits for room gives up, then the one that runs.
    drop(second);
    running.abort();
    until(|| worker.dropped() == 1).await;
    let third = tokio::spawn({
        worker.go.add_permits(1);
        let client = client.clone();
        drop(third);
        async move { client.wait(2).await }
    });
    // The fourth was in line before the third came again.
    assert_eq!(soon(fourth).await.unwrap().0, 3);
    assert_eq!(soon(third).await.unwrap().unwrap(), 2);
    assert_eq!(worker.waiting(), 2, "the second never began");
}

/// A place that is given to a caller that then gives up goes to the next one.
#[tokio::test]
async fn s0_16_a_place_is_never_lost() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 2).await;
    worker.go.add_permits(10_000);
    for round in 0..200_u64 {
        let mut calls: Vec<_> = (0..12_u64)
            .map(|nonce| {
                let client = client.clone();
                tokio::spawn(async move { client.wait(nonce).await })
            })
            .collect();
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        for place in [round % 12, (round * 5 + 1) % 12, (round * 7 + 2) % 12] {
            calls[place as usize].abort();
        }
        for call in calls.drain(..) {
            match soon(call).await {
                Ok(answer) => drop(answer.unwrap()),
                Err(aborted) => assert!(aborted.is_cancelled()),
            }
        }
    }
    soon(client.echo(1, vec![])).await.unwrap();
}

/// Nobody answers a oneway call: room that its bytes took is given back when they are written.
#[tokio::test]
async fn oneway_calls_wait_for_room_and_go_on() {
    let worker = Worker::default();
    let (client, _, _server) = pair(builder(&worker), |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    let bytes = vec![0; 1024 * 1024];
    let calls = (0..32).map(|_| client.swallow(&bytes));
    for sent in soon(join_all(calls)).await {
        sent.unwrap();
    }
    until(|| worker.swallowed() == 32 * 1024 * 1024).await;
}

#[tokio::test]
async fn s0_6_an_echo_of_16_mib_over_a_pipe_of_4_kib() {
    const BYTES: usize = 16 * 1024 * 1024;
    let name = unique("narrow");
    let listener = MemoryListener::bind_with_pipe(&name, 4096).unwrap();
    let limit = BYTES as u32 + 1024;
    let server = builder(&Worker::default()).message_bytes_max(limit);
    let _server = server.serve(listener).unwrap();
    let channel = Channel::builder().message_bytes_max(limit);
    let channel = channel.with_connector(Arc::new(MemoryConnector::new(&name)));
    let client = WorkClient::new(channel);
    let padding: Vec<u8> = (0..BYTES).map(|i| (i >> 8) as u8).collect();
    let (nonce, echoed) = soon(client.echo(7, padding.clone())).await.unwrap();
    assert_eq!(nonce, 7);
    assert!(echoed == padding);
    // Many at once, in both directions, do not wait for each other for ever.
    let calls = (0..16).map(|nonce| client.echo(nonce, vec![nonce as u8; 300_000]));
    for (nonce, echoed) in (0..16).zip(soon(join_all(calls)).await) {
        assert!(echoed.unwrap() == (nonce, vec![nonce as u8; 300_000]));
    }
}

#[tokio::test]
async fn a_caller_that_was_called_and_does_not_come_keeps_its_own_place_alone() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 4).await;
    let running = (0..4).map(|nonce| {
        let client = client.clone();
        tokio::spawn(async move { client.wait(nonce).await.unwrap() })
    });
    let running: Vec<_> = running.collect();
    until(|| worker.waiting() == 4).await;
    let mut held = Box::pin(client.echo(9, vec![]));
    assert!(poll_immediate(&mut held).await.is_none());
    worker.go.add_permits(4);
    soon(join_all(running)).await;
    // Nothing is in flight, so no read will call anybody.
    assert_eq!(soon(client.echo(10, vec![])).await.unwrap().0, 10);
    assert_eq!(soon(held).await.unwrap().0, 9);
}

#[tokio::test]
async fn a_call_that_is_dropped_once_it_was_called_lets_the_next_one_in() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 1).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait(0).await.unwrap() }
    });
    until(|| worker.waiting() == 1).await;
    let mut first = Box::pin(client.echo(1, vec![]));
    let mut second = Box::pin(client.echo(2, vec![]));
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    worker.go.add_permits(1);
    soon(running).await.unwrap();
    drop(first);
    assert_eq!(soon(second).await.unwrap().0, 2);
}

/// A task that ends with its last waker, and lets go of a call then.
#[expect(dead_code, reason = "it is only dropped")]
struct Held(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Held {
    fn wake(self: Arc<Self>) {}
}

impl Held {
    /// A waker that nobody else has, with a call that was sent or waits in line.
    async fn waker(client: &WorkClient) -> Waker {
        let client = client.clone();
        let mut call = Box::pin(async move { drop(client.wait(9).await) });
        assert!(poll_immediate(&mut call).await.is_none());
        Arc::new(Self(Mutex::new(Some(call)))).into()
    }
}

/// A task may end with a waker that a connection lets go of, and its calls with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_that_is_dropped_may_give_up_a_call() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 4).await;
    let mut calls = Vec::new();
    // First of calls that were sent, then of calls in line.
    for company in [8, 0] {
        let waker = Held::waker(&client).await;
        let calling = client.clone();
        let polling = tokio::task::spawn_blocking(move || {
            let mut call = Box::pin(async move { calling.wait(1).await });
            let former = call.as_mut().poll(&mut Context::from_waker(&waker));
            drop(waker);
            let latter = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(former.is_pending() && latter.is_pending());
        });
        soon(polling).await.unwrap();
        for _ in 0..company {
            let client = client.clone();
            let mut call = Box::pin(async move { client.wait(2).await });
            assert!(poll_immediate(&mut call).await.is_none());
            calls.push(call);
        }
    }
    worker.go.add_permits(100);
    for answer in soon(join_all(calls)).await {
        assert_eq!(answer.unwrap(), 2);
    }
}

/// What a call in line cannot encode is an error of that call; the next in line has its room.
#[tokio::test]
async fn arguments_that_panic_when_their_call_enters_from_the_line_cost_nobody_else() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 1).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait(0).await.unwrap() }
    });
    until(|| worker.waiting() == 1).await;
    let bombs = super::panics::bombs(client.channel());
    let mut calls = Vec::new();
    for nonce in 0..6 {
        let (client, bombs) = (client.clone(), bombs.clone());
        calls.push(tokio::spawn(async move {
            match nonce % 2 {
                0 => bombs.explode().await.map(|()| 0),
                _ => client.echo(nonce, vec![]).await.map(|(nonce, _)| nonce),
            }
        }));
        tokio::task::yield_now().await;
    }
    worker.go.add_permits(1);
    assert_eq!(soon(running).await.unwrap(), 0);
    for (nonce, call) in (0..).zip(calls) {
        match (nonce % 2, soon(call).await.unwrap()) {
            (0, answer) => {
                let status = answer.unwrap_err();
                assert_eq!(status.code(), rpc::Code::Internal, "{status}");
                assert!(status.is_not_processed());
            }
            (_, answer) => assert_eq!(answer.unwrap(), nonce),
        }
    }
    assert_eq!(soon(client.echo(8, vec![])).await.unwrap().0, 8);
}

/// A call in line keeps the deadline of the context that it was made in, whoever polls it then.
#[tokio::test(start_paused = true)]
async fn a_call_in_line_is_held_to_the_deadline_it_came_with() {
    let worker = Worker::default();
    let (client, _server) = crowded(&worker, 1).await;
    let millis = std::time::Duration::from_millis;
    for (enters, own) in [(false, None), (true, None), (true, Some(millis(60_000)))] {
        let running = tokio::spawn({
            let client = client.clone();
            async move { client.wait(0).await.unwrap() }
        });
        let began = worker.waiting();
        until(|| worker.waiting() == began + 1).await;
        let called = match own {
            Some(own) => client.with_timeout(own),
            None => client.clone(),
        };
        let mut call = Box::pin(called.wait(1));
        let context = rpc::Context::new().with_timeout(millis(100));
        let begin = tokio::time::Instant::now();
        assert!(context.scope(poll_immediate(&mut call)).await.is_none());
        if enters {
            worker.go.add_permits(1);
            running.await.unwrap();
            assert!(poll_immediate(&mut call).await.is_none());
            until(|| worker.waiting() == began + 2).await;
        }
        let status = soon(&mut call).await.unwrap_err();
        assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
        assert!(begin.elapsed() <= millis(102), "{:?}", begin.elapsed());
        if !enters {
            worker.go.add_permits(1);
        }
        drop(call);
        soon(client.echo(8, vec![])).await.unwrap();
    }
}
