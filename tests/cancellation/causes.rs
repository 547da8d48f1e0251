//! Everything that ends a call early stops its handler and tells what it spawned.

use rpc::{Code, Context, InCurrentContext};
use tokio::time::Instant;

use crate::common::until;
use crate::{Work, Worker, builder, ms, pair};

/// A handler that has begun, and a task that waits for its answer.
macro_rules! begun {
    ($client:expr, $worker:expr) => {{
        let client = $client.clone();
        let call = tokio::spawn(async move { client.spawn(false).await });
        until(|| $worker.started.get() == 1).await;
        assert_eq!(($worker.stopped.get(), $worker.told.get()), (0, 0));
        call
    }};
}

/// Both the handler and what it spawned have ended.
async fn ended(worker: &Worker) {
    until(|| worker.stopped.get() == 1 && worker.told.get() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_caller_drops_its_future() {
    let worker = Worker::default();
    let (client, _, _server) = pair(builder(&worker)).await;
    begun!(client, worker).abort();
    ended(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_passes() {
    let worker = Worker::default();
    let (client, _, _server) = pair(builder(&worker)).await;
    let call = begun!(client.with_timeout(ms(100)), worker);
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    ended(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn the_client_closes_its_connection() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker)).await;
    let call = begun!(client, worker);
    client.channel().close();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    ended(&worker).await;
    until(|| server.connection_count() == 0).await;
}

/// A client that vanishes with its sockets.
#[tokio::test]
async fn the_connection_is_lost() {
    let worker = Worker::default();
    let server = builder(&worker).bind("tcp://127.0.0.1:0").await.unwrap();
    let uri = server.uri().to_owned();
    let begun = worker.started.clone();
    let client = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let client = crate::WorkClient::connect(uri).await.unwrap();
            tokio::spawn(async move { client.spawn(false).await });
            until(|| begun.get() == 1).await;
        });
    });
    until(|| client.is_finished()).await;
    client.join().unwrap();
    ended(&worker).await;
    until(|| server.connection_count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_server_shuts_down_and_its_grace_is_over() {
    let worker = Worker::default();
    let builder = builder(&worker).shutdown_grace(ms(700));
    let (client, _, server) = pair(builder).await;
    let call = begun!(client, worker);
    let begin = Instant::now();
    server.shutdown().await;
    assert_eq!(begin.elapsed(), ms(700));
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    ended(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn the_server_is_dropped() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker)).await;
    let call = begun!(client, worker);
    drop(server);
    call.await.unwrap().unwrap_err();
    ended(&worker).await;
}

/// A call that ends by itself was not given up, whatever happens to its connection later.
#[tokio::test(start_paused = true)]
async fn a_call_that_ends_by_itself_is_not_cancelled() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker)).await;
    client.with_timeout(ms(100)).spawn(true).await.unwrap();
    tokio::time::sleep(ms(1000)).await;
    client.channel().close();
    server.shutdown().await;
    tokio::time::sleep(ms(1000)).await;
    assert_eq!(worker.told.get(), 0);
}

/// A context made from that of a call ends with the call.
#[tokio::test(start_paused = true)]
async fn a_context_made_from_that_of_a_call_is_cancelled_with_it() {
    let worker = Worker::default();
    let told = worker.told.clone();
    let (wires, exchange) = crate::common::network(|_, ends| ends);
    let started = worker.started.clone();
    let _server = rpc::Server::builder()
        .add_function("Work.derive", move |(): ()| {
            let (told, started) = (told.clone(), started.clone());
            async move {
                let longer = Context::current().with_timeout(ms(3_600_000));
                let work = async move {
                    let inner = async {
                        Context::current().cancelled().await;
                        assert!(Context::current().is_cancelled());
                        told.add();
                    };
                    inner.in_current_context().await;
                };
                tokio::spawn(longer.scope(work));
                started.add();
                std::future::pending::<rpc::Result<()>>().await
            }
        })
        .serve(exchange)
        .unwrap();
    let channel = rpc::Channel::builder().with_connector(std::sync::Arc::new(wires));
    let call = tokio::spawn(async move { channel.call::<_, ()>("Work.derive", &()).await });
    until(|| worker.started.get() == 1).await;
    tokio::time::sleep(ms(10)).await;
    assert_eq!(worker.told.get(), 0);
    call.abort();
    until(|| worker.told.get() == 1).await;
}
