//! A server goes: what runs finishes, what is new goes elsewhere, and nothing runs twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use rpc::{Channel, Context, Server, Streaming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::closing::GO_AWAY;
use crate::common::{network, raw, soon, unique, until};
use crate::{Address, Work, Worker, assert_unavailable, builder, client, ms, pair, patient};

/// The running call ends on the old server while new calls go to the next.
#[tokio::test(start_paused = true)]
async fn calls_move_to_the_next_server_and_running_ones_finish() {
    let address = Address::default();
    let (old, new) = (Worker::default(), Worker::default());
    let first = address.start(builder(&old));
    let client = client(address.clone());
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait().await }
    });
    until(|| old.started.get() == 1).await;
    let second = address.start(builder(&new));
    let shutdown = tokio::spawn(first.shutdown());
    // None of them asks to wait for a server: the go-away is enough to know.
    for number in 0..100 {
        assert_eq!(client.echo(number).await.unwrap(), number);
    }
    assert!(!shutdown.is_finished() && !running.is_finished());
    old.go.add_permits(1);
    soon(running).await.unwrap().unwrap();
    soon(shutdown).await.unwrap();
    assert_eq!(old.started.get() + new.started.get(), 101, "each ran once");
    assert_eq!(address.attempts().len(), 2);
    assert_eq!(second.connection_count(), 1);
}

/// At whatever moment a call is made, it runs once, on the one server or on the other.
#[tokio::test(start_paused = true)]
async fn a_call_at_any_moment_of_a_shutdown_runs_once() {
    for yields in 0..40 {
        let address = Address::default();
        let (old, new) = (Worker::default(), Worker::default());
        let first = address.start(builder(&old));
        let client = client(address.clone());
        client.echo(0).await.unwrap();
        let calls: Vec<_> = (0..40_u64)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    for _ in 0..number {
                        tokio::task::yield_now().await;
                    }
                    client.pause(number % 3).await
                })
            })
            .collect();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let _second = address.start(builder(&new));
        first.shutdown().await;
        for call in soon(join_all(calls)).await {
            call.unwrap().unwrap();
        }
        let (old, new) = (old.started.get(), new.started.get());
        assert_eq!(old + new, 41, "{old} and {new} after {yields}");
    }
}

/// What cannot be made again is taken when it crosses the go-away: a oneway call would be lost, and a
/// stream has begun to flow.
#[tokio::test(start_paused = true)]
async fn what_crosses_a_go_away_is_taken() {
    for yields in 0..40 {
        let address = Address::default();
        let (old, new) = (Worker::default(), Worker::default());
        let first = address.start(builder(&old));
        let client = client(address.clone());
        client.echo(0).await.unwrap();
        let calls: Vec<_> = (0..40_u64)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    for _ in 0..number {
                        tokio::task::yield_now().await;
                    }
                    if number % 2 == 0 {
                        return client.note().await;
                    }
                    let numbers = Streaming::new(stream::iter(0..number));
                    let sum = client.sum(numbers).await?;
                    assert_eq!(sum, (0..number).sum::<u64>());
                    Ok(())
                })
            })
            .collect();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let second = address.start(builder(&new));
        first.shutdown().await;
        for call in soon(join_all(calls)).await {
            call.unwrap().unwrap();
        }
        second.shutdown().await;
        let (old, new) = (old.started.get(), new.started.get());
        assert_eq!(old + new, 41, "{old} and {new} after {yields}");
    }
}

/// A rolling restart under load, with a pause in which nobody listens.
#[tokio::test(start_paused = true)]
async fn ten_restarts_lose_no_call_that_waits_for_a_server() {
    fastrand::seed(17);
    let address = Address::default();
    let workers: Vec<_> = (0..11).map(|_| Worker::default()).collect();
    let mut server = address.start(builder(&workers[0]));
    let client = patient(&client(address.clone()));
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    client.pause(10).await.unwrap();
                }
            })
        })
        .collect();
    for worker in &workers[1..] {
        tokio::time::sleep(ms(150)).await;
        address.clear();
        server.shutdown().await;
        tokio::time::sleep(ms(30)).await;
        server = address.start(builder(worker));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let ran: usize = workers.iter().map(|worker| worker.started.get()).sum();
    assert_eq!(ran, 50 * 200, "each ran once");
    assert!(workers.iter().all(|worker| worker.started.get() > 0));
    drop(server);
}

/// What a client is told that has heard the go-away and does not heed it.
#[tokio::test(start_paused = true)]
async fn a_request_behind_the_go_away_is_refused_as_not_processed() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let wait = rpc::MethodId::of("Work", "wait").number();
    stream
        .write_all(&raw::request(1, 0, wait, 0))
        .await
        .unwrap();
    until(|| worker.started.get() == 1).await;
    let shutdown = tokio::spawn(server.shutdown());
    for last in [u64::MAX, 1] {
        let (header, body) = raw::read_frame(&mut stream).await;
        assert_eq!(header[8], GO_AWAY);
        assert_eq!(body[..8], last.to_le_bytes(), "the last one accepted");
        assert!(String::from_utf8_lossy(&body[8..]).contains("shutting down"));
        if last == u64::MAX {
            let (mut header, body) = raw::read_frame(&mut stream).await;
            assert_eq!(header[8], raw::PING);
            header[8] = raw::PONG;
            let pong = [&header[..], &body].concat();
            stream.write_all(&pong).await.unwrap();
        }
    }
    stream
        .write_all(&raw::request(2, 0, wait, 0))
        .await
        .unwrap();
    let (header, _) = raw::read_frame(&mut stream).await;
    let (kind, flags, code) = (header[8], header[9], header[10]);
    assert_eq!(
        (header[4], kind, flags, code),
        (2, 3, 4, 14),
        "Unavailable, not processed"
    );
    worker.go.add_permits(1);
    let (header, _) = raw::read_frame(&mut stream).await;
    assert_eq!(
        (header[4], header[8]),
        (1, 2),
        "the running call is answered"
    );
    soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
    drop(stream);
    soon(shutdown).await.unwrap();
    assert_eq!(worker.started.get(), 1);
}

/// The grace is over: what runs is stopped, and its caller is not told to try again.
#[tokio::test(start_paused = true)]
async fn after_the_grace_the_rest_is_cut() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker));
    let call = tokio::spawn(async move { client.wait().await });
    until(|| worker.started.get() == 1).await;
    let begin = Instant::now();
    server.shutdown().await;
    assert_eq!(begin.elapsed(), ms(10_000), "the grace unless it is said");
    let status = call.await.unwrap().unwrap_err();
    assert_unavailable(&status);
    assert!(!status.is_not_processed());
    until(|| worker.stopped.get() == 1).await;
}

/// A signal that a test gives.
fn signals() -> (
    Arc<Semaphore>,
    impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    let given = Arc::new(Semaphore::new(0));
    let wanted = given.clone();
    let signal = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let wanted = wanted.clone();
        Box::pin(async move { wanted.acquire().await.unwrap().forget() })
    };
    (given, signal)
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_drains_and_the_second_ends_at_once() {
    for second in [false, true] {
        let worker = Worker::default();
        let (client, wires, server) = pair(builder(&worker));
        let (given, signal) = signals();
        let serving = tokio::spawn(server.serve_until(signal));
        let call = tokio::spawn(async move { client.wait().await });
        until(|| worker.started.get() == 1).await;
        assert!(!wires.is_closed());
        given.add_permits(1);
        until(|| wires.is_closed()).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!serving.is_finished(), "a call is running");
        let begin = Instant::now();
        if second {
            given.add_permits(1);
            soon(serving).await.unwrap();
            assert_unavailable(&call.await.unwrap().unwrap_err());
            until(|| worker.stopped.get() == 1).await;
        } else {
            worker.go.add_permits(1);
            call.await.unwrap().unwrap();
            soon(serving).await.unwrap();
        }
        assert_eq!(begin.elapsed(), ms(0));
    }
}

#[rpc::service]
trait News {
    /// Counts, every 100 ms, until the server is about to go.
    async fn count(&self) -> rpc::Result<Streaming<u32>>;
    /// Ready when the server is about to go.
    async fn wait(&self) -> rpc::Result<bool>;
}

struct Press;

impl News for Press {
    async fn count(&self) -> rpc::Result<Streaming<u32>> {
        let (sender, numbers) = Streaming::channel(1);
        let context = Context::current();
        assert!(!context.is_draining());
        tokio::spawn(async move {
            for number in 0.. {
                let pause = tokio::time::timeout(ms(100), context.draining());
                if pause.await.is_ok() || sender.send(number).await.is_err() {
                    return;
                }
            }
        });
        Ok(numbers)
    }
    async fn wait(&self) -> rpc::Result<bool> {
        let context = Context::current().with_timeout(Duration::from_secs(60));
        context.draining().await;
        Ok(context.is_draining())
    }
}

/// A handler that has no end is told, and holds up nothing.
#[tokio::test(start_paused = true)]
async fn a_long_stream_ends_when_its_server_drains() {
    let target = format!("mem://{}", unique("news"));
    let builder = || Server::builder().add_service(NewsServer::new(Press));
    let server = builder().bind(&target).await.unwrap();
    let client = NewsClient::connect(&target).await.unwrap();
    let mut numbers = client.count().await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait().await }
    });
    for expected in 0..10 {
        assert_eq!(numbers.next().await, Some(Ok(expected)));
    }
    let stopping = Instant::now();
    server.shutdown().await;
    assert!(stopping.elapsed() < ms(50), "{:?}", stopping.elapsed());
    assert_eq!(numbers.next().await, None);
    assert_eq!(waiting.await.unwrap(), Ok(true));
    // A connection that is old goes as well; its server stays.
    let server = builder().connection_age_max(ms(1_000));
    let _server = server.bind(&target).await.unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let mut numbers = client.count().await.unwrap();
        while let Some(number) = numbers.next().await {
            number.unwrap();
        }
        let took = began.elapsed();
        assert!(took >= ms(890) && took <= ms(1_110), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_drains_where_there_is_no_server() {
    let within = Server::builder().add_service(NewsServer::new(Press));
    let within = NewsClient::new(Channel::from_invoke(within.in_process().unwrap()));
    let never = tokio::time::timeout(Duration::from_secs(3600), within.wait()).await;
    assert!(never.is_err(), "{never:?}");
    assert!(!Context::current().is_draining());
    let never = tokio::time::timeout(ms(1), Context::new().draining()).await;
    assert!(never.is_err());
}
