//! The end of a server, gentle and not.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Duplex, Listener};
use rpc::{Code, Peer, Server, async_trait};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{raw, soon, unique, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// A client that does nothing closes its end when the server does; nobody waits for a timer.
#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_idle_clients() {
    let (client, _, server) = pair(builder(&Worker::default()), |_, ends| ends);
    client.echo(1, vec![]).await.unwrap();
    let begin = Instant::now();
    server.shutdown().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_running_calls_and_refuses_new_ones() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker), |_, ends| ends);
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait(5).await }
    });
    until(|| worker.waiting() == 1).await;
    let shutdown = tokio::spawn(server.shutdown());
    // The listener is gone: whoever comes now is turned away, unprocessed.
    until(|| wires.is_closed()).await;
    let status = soon(client.echo(1, vec![])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.is_not_processed(), "{status}");
    assert!(!shutdown.is_finished(), "a call is running");
    worker.go.add_permits(1);
    assert_eq!(soon(running).await.unwrap().unwrap(), 5);
    soon(shutdown).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_up_after_the_grace_period() {
    let worker = Worker::default();
    let grace = Duration::from_secs(3);
    let (client, _, server) = pair(builder(&worker).shutdown_grace(grace), |_, ends| ends);
    let running = tokio::spawn(async move { client.wait(5).await });
    until(|| worker.waiting() == 1).await;
    let begin = Instant::now();
    server.shutdown().await;
    assert_eq!(begin.elapsed(), grace);
    let status = soon(running).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!status.is_not_processed(), "the handler had begun");
    until(|| worker.dropped() == 1).await;
}

#[tokio::test]
async fn a_dropped_server_ends_its_calls() {
    let worker = Worker::default();
    let target = format!("mem://{}", unique("dropped"));
    let server = builder(&worker).bind(&target).await.unwrap();
    let client = WorkClient::connect(&target).await.unwrap();
    let running = tokio::spawn(async move { client.wait(5).await });
    until(|| worker.waiting() == 1).await;
    drop(server);
    let status = soon(running).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    until(|| worker.dropped() == 1).await;
}

/// S0-3: the end of a connection is seen by the peer at once, whoever still holds the client.
#[tokio::test]
async fn s0_3_a_closed_connection_is_closed_on_both_sides() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let client = WorkClient::connect_lazy(&target).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.echo(1, vec![]).await }
    });
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    stream.shutdown().await.unwrap();
    soon(call).await.unwrap().unwrap_err();
    soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn dropping_the_last_client_closes_the_connection() {
    let worker = Worker::default();
    let server = builder(&worker).bind("tcp://127.0.0.1:0").await.unwrap();
    let client = WorkClient::connect(server.uri()).await.unwrap();
    let other = client.with_timeout(Duration::from_secs(9));
    drop(client);
    other.echo(1, vec![]).await.unwrap();
    assert_eq!(server.connection_count(), 1);
    drop(other);
    until(|| server.connection_count() == 0).await;
}

/// A peer that announced nothing and a peer in the middle of a frame do not hold up a shutdown.
#[tokio::test]
async fn shutdown_does_not_wait_for_strangers() {
    let server = builder(&Worker::default())
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap();
    let mut streams = Vec::new();
    for bytes in [vec![], raw::hello(1, 1)[..7].to_vec(), {
        let mut bytes = raw::hello(1, 1);
        bytes.extend(raw::request(1, 0, 7, 100));
        bytes
    }] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        streams.push(stream);
    }
    until(|| server.connection_count() == 3).await;
    soon(server.shutdown()).await;
    for mut stream in streams {
        soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

/// A handler's future is dropped when its caller gives up.
#[tokio::test]
async fn a_call_that_is_dropped_stops_its_handler() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker), |_, ends| ends);
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.wait(5).await }
    });
    until(|| worker.waiting() == 1).await;
    running.abort();
    until(|| worker.dropped() == 1).await;
    let stats = server.method_stats("Work.wait").unwrap();
    assert_eq!((stats.calls, stats.errors, stats.in_flight), (1, 1, 0));
    assert_eq!(worker.dropped.load(Ordering::SeqCst), 1);
    client.echo(1, vec![]).await.unwrap();
}

/// Drops its server while it accepts a connection.
struct Sawing {
    server: Arc<Mutex<Option<Server>>>,
    stream: Option<DuplexStream>,
}

#[async_trait]
impl Listener for Sawing {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let Some(stream) = self.stream.take() else {
            return std::future::pending().await;
        };
        let server = self.server.lock().unwrap().take();
        assert!(server.is_some(), "the test has put it there");
        drop(server);
        let (reader, writer) = tokio::io::split(stream);
        Ok(Duplex::new(reader, writer, Peer::from_uri("test://client")))
    }
    fn target(&self) -> String {
        "test://sawing".into()
    }
}

/// As it may happen with two threads: no connection outlives its server.
#[tokio::test(start_paused = true)]
async fn a_connection_accepted_while_the_server_is_dropped_ends() {
    let slot = Arc::new(Mutex::new(None));
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let listener = Sawing {
        server: slot.clone(),
        stream: Some(theirs),
    };
    let server = builder(&Worker::default()).serve(listener).unwrap();
    *slot.lock().unwrap() = Some(server);
    let begin = Instant::now();
    soon(ours.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
