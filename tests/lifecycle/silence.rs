//! T5: peers that vanish without a word, connections that nobody uses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rpc::{Channel, KeepAlive};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::common::{Ends, network, raw, until};
use crate::{Work, WorkClient, Worker, assert_unavailable, builder, client, ms, pair};

/// Lets everything through until it is told to swallow it.
struct Hole<W>(W, Arc<AtomicBool>);

impl<W: AsyncWrite + Unpin> AsyncWrite for Hole<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first connection has such a hole on its way to the server.
fn with_hole(hole: &Arc<AtomicBool>) -> impl Fn(usize, Ends) -> Ends + Send + Sync + 'static {
    let hole = hole.clone();
    move |number, (reader, writer)| match number {
        0 => (reader, Box::new(Hole(writer, hole.clone()))),
        _ => (reader, writer),
    }
}

/// The network swallows everything after the first calls: pinged after 10 s, given up after 5 more.
#[tokio::test(start_paused = true)]
async fn t5_a_silent_server_fails_its_calls_after_15_seconds() {
    let worker = Worker::default();
    let hole = Arc::default();
    let (wires, exchange) = network(with_hole(&hole));
    let server = builder(&worker).serve(exchange).unwrap();
    let client = client(wires.clone());
    client.echo(1).await.unwrap();
    hole.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    let (one, two) = tokio::join!(client.wait(), client.wait());
    for status in [one.unwrap_err(), two.unwrap_err()] {
        assert_unavailable(&status);
        assert!(status.message().contains("silent"), "{status}");
    }
    let took = begin.elapsed();
    println!("T5: calls to a silent server fail after {took:?}");
    assert!((ms(14_999)..=ms(15_010)).contains(&took), "{took:?}");
    // The same channel goes on, on another connection.
    assert_eq!(client.echo(2).await.unwrap(), 2);
    assert_eq!(wires.opened(), 2);
    assert!(server.connection_count() >= 1);
}

/// The other way round: the server stops the handlers of a client that vanished.
#[tokio::test(start_paused = true)]
async fn t5_a_server_frees_the_connection_of_a_silent_client() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let wait = rpc::MethodId::of("Work", "wait").number();
    stream
        .write_all(&raw::request(1, 0, wait, 0))
        .await
        .unwrap();
    until(|| worker.started.get() == 1).await;
    let begin = Instant::now();
    while server.connection_count() > 0 {
        tokio::time::sleep(ms(100)).await;
        assert!(begin.elapsed() <= ms(30_000), "it is kept");
    }
    println!("T5: a silent client is gone after {:?}", begin.elapsed());
    assert!(begin.elapsed() >= ms(14_000));
    assert_eq!(worker.stopped.get(), 1);
}

/// A call may take as long as it likes while its peer is there.
#[tokio::test(start_paused = true)]
async fn t5_a_long_call_is_not_silence() {
    let (client, wires, server) = pair(builder(&Worker::default()));
    assert_eq!(client.pause(3_600_000).await.unwrap(), 3_600_000);
    assert_eq!((wires.opened(), server.connection_count()), (1, 1));
}

/// However often the client asks meanwhile whether the server is still there.
#[tokio::test(start_paused = true)]
async fn t5_a_client_that_pings_often_may_make_a_long_call() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let channel = Channel::builder().keep_alive(Some(KeepAlive::new(ms(1000), ms(1000))));
    let client = WorkClient::new(channel.with_connector(Arc::new(wires.clone())));
    assert_eq!(client.pause(60_000).await.unwrap(), 60_000);
    assert_eq!(wires.opened(), 1);
}

/// Five minutes without a call: the server closes, and the next call does not notice.
#[tokio::test(start_paused = true)]
async fn t5_an_idle_connection_is_closed_and_the_next_call_connects_again() {
    let (client, wires, server) = pair(builder(&Worker::default()));
    client.echo(1).await.unwrap();
    tokio::time::sleep(ms(299_000)).await;
    assert_eq!(server.connection_count(), 1);
    client.echo(2).await.unwrap();
    tokio::time::sleep(ms(299_000)).await;
    assert_eq!(server.connection_count(), 1, "a call was made meanwhile");
    tokio::time::sleep(ms(2000)).await;
    assert_eq!(server.connection_count(), 0);
    assert!(!client.channel().is_available());
    assert_eq!(client.echo(3).await.unwrap(), 3);
    assert_eq!(wires.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_closes_idle_connections_if_it_is_told_to() {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default()).serve(exchange).unwrap();
    let channel = Channel::builder().idle_timeout(ms(20_000));
    let client = WorkClient::new(channel.with_connector(Arc::new(wires.clone())));
    client.pause(60_000).await.unwrap();
    assert_eq!(server.connection_count(), 1, "a call is no idleness");
    tokio::time::sleep(ms(21_000)).await;
    until(|| server.connection_count() == 0).await;
    client.echo(1).await.unwrap();
    assert_eq!(wires.opened(), 2);
}

/// Pings on an idle connection, if asked for, find out before the next call does.
#[tokio::test(start_paused = true)]
async fn t5_pings_while_idle_if_asked_for() {
    let hole = Arc::default();
    let (wires, exchange) = network(with_hole(&hole));
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let keep_alive = KeepAlive::new(ms(6000), ms(1000)).when_idle();
    let channel = Channel::builder().keep_alive(Some(keep_alive));
    let client = WorkClient::new(channel.with_connector(Arc::new(wires)));
    client.echo(1).await.unwrap();
    hole.store(true, Ordering::SeqCst);
    tokio::time::sleep(ms(6500)).await;
    assert!(client.channel().is_available());
    tokio::time::sleep(ms(1000)).await;
    assert!(!client.channel().is_available());
}
