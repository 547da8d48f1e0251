//! S1-20 to S1-22: a channel that is closed, and peers that answer what was not asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::Instant;

use crate::common::{Blackhole, Exchange, network, raw, soon, until};
use crate::{Address, Work, Worker, assert_unavailable, builder, client, ms, pair, patient};

#[tokio::test(start_paused = true)]
async fn s1_21_closing_fails_calls_at_once_and_only_once() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker));
    let channel = client.channel().clone();
    assert!(!channel.is_available(), "it connects when it is used");
    client.echo(1).await.unwrap();
    assert!(channel.is_available());
    let begin = Instant::now();
    let pending: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.wait().await })
        })
        .collect();
    until(|| worker.started.get() == 101).await;
    channel.close();
    assert!(!channel.is_available());
    channel.close();
    client.channel().close();
    for call in pending {
        let status = soon(call).await.unwrap().unwrap_err();
        assert_unavailable(&status);
        assert!(status.message().contains("closed"), "{status}");
        assert!(!status.is_not_processed(), "its handler had begun");
    }
    for client in [client.clone(), patient(&client)] {
        let status = client.echo(2).await.unwrap_err();
        assert_unavailable(&status);
        assert!(status.message().contains("the channel is closed"));
        assert!(status.is_not_processed());
    }
    assert_eq!(begin.elapsed(), ms(0));
    assert_eq!(wires.opened(), 1, "it does not connect again");
    until(|| server.connection_count() == 0).await;
    until(|| worker.stopped.get() == 100).await;
    assert!(!channel.is_available());
}

/// Also those on a connection that takes no more calls, as its server goes away.
#[tokio::test(start_paused = true)]
async fn s1_21_closing_fails_calls_that_a_server_ends_before_it_goes() {
    let address = Address::default();
    let worker = Worker::default();
    let old = address.start(builder(&worker));
    let client = client(address.clone());
    let calling = client.clone();
    let last = tokio::spawn(async move { calling.wait().await });
    until(|| worker.started.get() == 1).await;
    let _new = address.start(builder(&worker));
    let drained = tokio::spawn(async move { old.shutdown().await });
    let patient = patient(&client);
    until(|| !client.channel().is_available()).await;
    assert_eq!(soon(patient.echo(1)).await.unwrap(), 1);
    assert!(!last.is_finished(), "it runs to its end");
    client.channel().close();
    let status = soon(last).await.unwrap().unwrap_err();
    assert!(status.message().contains("the channel is closed"));
    soon(drained).await.unwrap();
}

/// Also the calls that have no connection yet.
#[tokio::test(start_paused = true)]
async fn s1_21_closing_fails_calls_that_wait_for_a_connection() {
    let begin = Instant::now();
    let nowhere = Address::default();
    for client in [client(Blackhole), patient(&client(nowhere.clone()))] {
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.echo(1).await })
            })
            .collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(calls.iter().all(|call| !call.is_finished()));
        client.channel().close();
        for call in calls {
            let status = soon(call).await.unwrap().unwrap_err();
            assert_unavailable(&status);
            assert!(status.message().contains("the channel is closed"));
            assert!(status.is_not_processed());
        }
    }
    assert_eq!(begin.elapsed(), ms(0));
    let attempts = nowhere.attempts().len();
    tokio::time::sleep(ms(60_000)).await;
    assert_eq!(nowhere.attempts().len(), attempts);
}

/// An answer that is no handshake, of whatever kind, is told in words (S1-20, S1-38); more of them
/// are in `tests/setup.rs`.
#[tokio::test(start_paused = true)]
async fn s1_38_a_malformed_handshake_is_told() {
    let mut wrong_codec = [&raw::MAGIC[..], &[1, 0, 2, 0], &[0; 8]].concat();
    wrong_codec[6] = 9;
    let wrong_version = [&raw::MAGIC[..], &[7, 0, 1, 0], &[0; 8]].concat();
    let endless = [
        &raw::MAGIC[..],
        &[1, 0, 1, 0],
        &[0, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    for (answer, told) in [
        (
            &b"HTTP/1.0200 Connected to RPC\n\n"[..],
            "does not speak rpc",
        ),
        (&[0; 16], "does not speak rpc"),
        (&wrong_codec, "than offered"),
        (&wrong_version, "than offered"),
        (&endless, ""),
    ] {
        let (wires, mut exchange) = network(|_, ends| ends);
        let client = client(wires);
        let call = tokio::spawn(async move { client.echo(1).await });
        let mut stream = exchange.next().await;
        stream.write_all(answer).await.unwrap();
        let status = soon(call).await.unwrap().unwrap_err();
        assert_unavailable(&status);
        assert!(status.message().contains(told), "{status}");
        assert!(status.message().len() > 30, "{status}");
    }
}

/// What a real server says to a hello.
async fn ack() -> Vec<u8> {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, rest) = raw::read_ack(&mut stream).await;
    [&fixed[..], &rest].concat()
}

/// Plays a server up to the first frame.
pub(crate) async fn accept(exchange: &mut Exchange) -> DuplexStream {
    let mut stream = exchange.next().await;
    let mut hello = [0; 16];
    stream.read_exact(&mut hello).await.unwrap();
    let length = u32::from_le_bytes(hello[12..].try_into().unwrap());
    let mut rest = vec![0; length as usize];
    stream.read_exact(&mut rest).await.unwrap();
    stream.write_all(&ack().await).await.unwrap();
    stream
}

pub(crate) const RESPONSE: u8 = 2;
pub(crate) const GO_AWAY: u8 = 10;

fn response(call: u32, number: u8) -> Vec<u8> {
    let mut frame = raw::request(call, 0, 0, 1);
    frame[8] = RESPONSE;
    frame.push(number);
    frame
}

#[tokio::test(start_paused = true)]
async fn s1_22_a_late_reply_to_a_cancelled_call_is_ignored() {
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = client(wires.clone());
    let call = |number| {
        let client = client.clone();
        tokio::spawn(async move { client.echo(number).await })
    };
    let first = call(1);
    let mut stream = accept(&mut exchange).await;
    let (header, _) = raw::read_frame(&mut stream).await;
    let cancelled = u32::from_le_bytes(header[4..8].try_into().unwrap());
    first.abort();
    let (header, _) = raw::read_frame(&mut stream).await;
    assert_eq!(header[8], raw::CANCEL);
    assert_eq!(header[4..8], cancelled.to_le_bytes());
    let second = call(2);
    let (header, _) = raw::read_frame(&mut stream).await;
    let open = u32::from_le_bytes(header[4..8].try_into().unwrap());
    // The late answer comes first, twice, and after it the one that somebody waits for.
    let late = response(cancelled, 111);
    let answers = [late.clone(), late, response(open, 2)];
    stream.write_all(&answers.concat()).await.unwrap();
    assert_eq!(soon(second).await.unwrap().unwrap(), 2);
    assert!(client.channel().is_available());
    assert_eq!(wires.opened(), 1);
}

/// A reply that cannot be decoded fails its call, and no other.
#[tokio::test(start_paused = true)]
async fn s1_22_a_reply_that_cannot_be_decoded_fails_alone() {
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = client(wires.clone());
    let calls = tokio::spawn(async move { join_all((0..3).map(|n| client.echo(n))).await });
    let mut stream = accept(&mut exchange).await;
    for number in 0..3 {
        let (header, _) = raw::read_frame(&mut stream).await;
        let call = u32::from_le_bytes(header[4..8].try_into().unwrap());
        // 0xff is no bincode.
        let number = if number == 1 { 0xff } else { number };
        stream.write_all(&response(call, number)).await.unwrap();
    }
    let answers = soon(calls).await.unwrap();
    assert_eq!(answers[0], Ok(0));
    assert_eq!(answers[2], Ok(2));
    let status = answers[1].as_ref().unwrap_err();
    assert_eq!(status.code(), rpc::Code::Internal);
    assert!(status.message().contains("Work.echo"), "{status}");
}

/// As one in a `static` does that several tests use, each on a runtime of its own.
#[tokio::test]
async fn a_channel_outlives_the_runtime_that_it_connected_on() {
    let worker = Worker::default();
    let (client, wires, _server) = pair(builder(&worker));
    let mut other = tokio::runtime::Builder::new_multi_thread();
    let other = other.worker_threads(1).enable_all().build().unwrap();
    let first = client.clone();
    let connected = other.spawn(async move { first.echo(1).await });
    soon(connected).await.unwrap().unwrap();
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.wait().await }
    });
    until(|| worker.started.get() == 2).await;
    other.shutdown_background();
    let status = soon(pending).await.unwrap().unwrap_err();
    assert_unavailable(&status);
    assert!(!status.is_not_processed(), "its handler had begun");
    assert_eq!(soon(client.echo(2)).await.unwrap(), 2);
    assert_eq!(wires.opened(), 2);
}

/// Whoever calls from outside is told so, and breaks nothing for those inside.
#[tokio::test]
async fn a_call_without_a_runtime_fails_alone() {
    let (client, _wires, _server) = pair(builder(&Worker::default()));
    let called = client.clone();
    let outside = std::thread::spawn(move || Box::pin(called.echo(1)).now_or_never());
    let status = outside.join().unwrap().unwrap().unwrap_err();
    assert_unavailable(&status);
    assert!(status.is_not_processed());
    assert!(status.message().contains("Tokio"), "{status}");
    assert_eq!(soon(patient(&client).echo(2)).await.unwrap(), 2);
}

/// A stream whose author made a mistake.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("a stream that panics");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_is_a_connection_that_is_lost() {
    let (wires, exchange) = network(|number, (reader, writer)| match number {
        0 => (Box::new(Broken), writer),
        _ => (reader, writer),
    });
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let client = client(wires);
    assert_unavailable(&soon(client.echo(1)).await.unwrap_err());
    assert_eq!(soon(patient(&client).echo(2)).await.unwrap(), 2);
}

/// A server that is gone with a thousand calls.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "real time is measured")]
async fn s1_22_a_thousand_pending_calls_fail_within_a_second() {
    let worker = Worker::default();
    let server = builder(&worker).bind("tcp://127.0.0.1:0").await.unwrap();
    let client = crate::WorkClient::connect(server.uri()).await.unwrap();
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.wait().await })
        })
        .collect();
    until(|| worker.started.get() == 1000).await;
    let begin = std::time::Instant::now();
    drop(server);
    for status in soon(join_all(calls)).await {
        assert_unavailable(&status.unwrap().unwrap_err());
    }
    let took = begin.elapsed();
    println!("1,000 pending calls failed within {took:?}");
    assert!(took <= ms(1000), "{took:?}");
}
