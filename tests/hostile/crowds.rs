//! T4, T23: many connections that want little, slowly.

use std::time::Duration;

use rpc::{Channel, Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep};

use crate::common::{network, process, raw, soon, until};
use crate::{Work, WorkClient, Worker, builder, last_words, method, open, opened, served};

/// Each connection needs two file descriptors in this process.
fn connections_at_most() -> usize {
    (process::descriptors_max().saturating_sub(200) / 2).min(1000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_a_thousand_dripping_handshakes_end_and_keep_nobody_out() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let builder = builder(&Worker::default())
        .handshake_timeout(TIMEOUT)
        .handshakes_max(2_000);
    let (server, address) = served(builder).await;
    let count = connections_at_most();
    let mut streams = Vec::new();
    for index in 0..count {
        streams.push(TcpStream::connect(&address).await.unwrap());
        if index % 64 == 63 {
            // A system whose accept queue is full may take a connection and lose its first byte.
            until(|| server.connection_count() > index).await;
        }
    }
    let drips: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let begin = Instant::now();
                let mut ticks = interval(Duration::from_millis(100));
                for byte in raw::hello(1, 1) {
                    ticks.tick().await;
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    let closed = soon(stream.readable());
                    if tokio::time::timeout(Duration::ZERO, closed).await.is_ok() {
                        break;
                    }
                }
                assert_eq!(last_words(&mut stream).await, "", "it was let in");
                begin.elapsed()
            })
        })
        .collect();
    let begin = Instant::now();
    let newcomer = WorkClient::connect(server.uri()).await.unwrap();
    newcomer.echo(1).await.unwrap();
    let entered = begin.elapsed();
    let mut longest = Duration::ZERO;
    for drip in drips {
        longest = longest.max(soon(drip).await.unwrap());
    }
    println!("{count} dripping: all closed within {longest:?}; a newcomer took {entered:?}");
    assert!(longest <= Duration::from_secs(4), "{longest:?}");
    assert!(entered <= Duration::from_millis(500), "{entered:?}");
    until(|| server.connection_count() == 1).await;
}

/// Nobody accepts, and nobody who connects has to ask twice.
#[tokio::test]
async fn t23_a_crowd_finds_room_in_the_accept_queue() {
    let listener = rpc::transport::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap();
    let target = rpc::transport::Listener::target(&listener);
    let address = target.strip_prefix("tcp://").unwrap();
    let begin = Instant::now();
    let mut crowd = Vec::new();
    for _ in 0..connections_at_most().min(600) {
        crowd.push(soon(TcpStream::connect(address)).await.unwrap());
    }
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
}

/// One byte a second, in a header and in a body.
#[tokio::test(start_paused = true)]
async fn t4_dripping_frames_end_within_fifteen_seconds() {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default()).serve(exchange).unwrap();
    let request = raw::request(1, 0, method("take"), 1000);
    let drips: Vec<_> = (0..100)
        .map(|index| {
            let (wires, request) = (wires.clone(), request.clone());
            tokio::spawn(async move {
                let mut stream = wires.dial().await;
                open(&mut stream).await;
                let begin = Instant::now();
                // Half of them do not get to the end of the header.
                let at_once = if index % 2 == 0 { 1 } else { 16 };
                let mut sent = stream.write_all(&request[..at_once]).await;
                while sent.is_ok() && begin.elapsed() < Duration::from_secs(60) {
                    sleep(Duration::from_secs(1)).await;
                    sent = stream.write_all(&[0]).await;
                }
                let words = last_words(&mut stream).await;
                assert!(words.contains("less than 1 KiB/s"), "{words:?}");
                begin.elapsed()
            })
        })
        .collect();
    for drip in drips {
        let closed = drip.await.unwrap();
        assert!(closed <= Duration::from_secs(15), "{closed:?}");
    }
    until(|| server.connection_count() == 0).await;
}

/// The limits on connections: the one too many learns why, and the others do not notice.
#[tokio::test]
async fn t23_a_connection_too_many_is_refused_with_the_reason() {
    for (all_max, per_ip_max) in [(3, 100), (100, 3)] {
        let builder = builder(&Worker::default())
            .connections_max(all_max)
            .connections_per_ip_max(per_ip_max);
        let (server, address) = served(builder).await;
        let canary = WorkClient::connect(server.uri()).await.unwrap();
        let held = [opened(&address).await, opened(&address).await];
        let refused = Channel::connect(server.uri()).await.unwrap_err();
        assert!(refused.is_refused(), "{refused}");
        let why = format!("{:#}", refused.to_string()) + &source(&refused);
        assert!(why.contains("takes 3 connections"), "{why}");
        let lazy = WorkClient::new(Channel::connect_lazy(server.uri()).unwrap());
        let status = lazy.echo(1).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.is_not_processed(), "{status}");
        canary.echo(1).await.unwrap();
        assert!(server.load().connections_refused >= 2);
        drop(held);
        soon(async {
            while Channel::connect(server.uri()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// A connection that says nothing is not let in, and one that opens and says nothing ends.
#[tokio::test(start_paused = true)]
async fn t5_a_connection_without_calls_ends_after_five_minutes() {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    let begin = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let ended = begin.elapsed().as_secs();
    assert_eq!(ended, 301, "it does not say that it has heard of it");
    assert!(String::from_utf8_lossy(&rest).contains("no calls for a while"));
    drop(stream);
    until(|| server.connection_count() == 0).await;
}

/// Those that are turned away take no room from those that are let in.
#[tokio::test]
async fn t23_connections_that_are_turned_away_do_not_count() {
    let builder = builder(&Worker::default()).connections_max(2);
    let (server, address) = served(builder).await;
    let held = [opened(&address).await, opened(&address).await];
    // They do not read and do not close: the server waits a second for each.
    let mut strangers = Vec::new();
    for refused in 1..=300 {
        strangers.push(TcpStream::connect(&address).await.unwrap());
        until(|| server.load().connections_refused == refused).await;
    }
    assert_eq!(server.load().connections, 2);
    assert_eq!(server.connection_count(), 2);
    let [gone, _held] = held;
    drop(gone);
    until(|| server.connection_count() == 1).await;
    let begin = Instant::now();
    opened(&address).await;
    println!("300 turned away; a newcomer took {:?}", begin.elapsed());
    let mut told = 0;
    for mut stranger in strangers {
        told += usize::from(
            last_words(&mut stranger)
                .await
                .contains("takes 2 connections"),
        );
    }
    assert_eq!(told, 256, "the others were closed without a word");
    soon(server.shutdown()).await;
}

/// T23 "pre-auth 256": the oldest that has not said hello goes, so that silence keeps nobody out.
#[tokio::test(start_paused = true)]
async fn t23_of_connections_without_a_hello_the_oldest_goes() {
    let (wires, exchange) = network(|_, ends| ends);
    let builder = builder(&Worker::default()).handshakes_max(3);
    let server = builder.serve(exchange).unwrap();
    let mut greeted = wires.dial().await;
    open(&mut greeted).await;
    let mut silent = Vec::new();
    for dialed in 1..=3 {
        silent.push(wires.dial().await);
        until(|| server.connection_count() == 1 + dialed).await;
    }
    for round in 1..=100 {
        let mut client = wires.dial().await;
        open(&mut client).await;
        let mut oldest = silent.remove(0);
        let words = last_words(&mut oldest).await;
        assert!(words.contains("waited for to say hello"), "{words:?}");
        silent.push(wires.dial().await);
        drop((client, oldest));
        until(|| server.connection_count() == 4).await;
        assert_eq!(server.load().connections_refused, round);
    }
    drop(silent);
    until(|| server.connection_count() == 1).await;
    greeted
        .write_all(&raw::request(1, 0, method("echo"), 1))
        .await
        .unwrap();
    greeted.write_all(&[7]).await.unwrap();
    let (answer, _) = raw::read_frame(&mut greeted).await;
    assert_eq!(answer[8], 2, "who has said hello is left alone");
}
