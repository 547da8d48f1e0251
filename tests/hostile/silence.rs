//! T5, F13: peers that stop talking or reading, on a clock that a test moves.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use rpc::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::common::{network, raw, until};
use crate::{Work, Worker, ack, alone, builder, method, open};

/// The server vanishes: whatever is sent to it is swallowed, and nothing comes back.
#[tokio::test(start_paused = true)]
async fn t5_calls_into_a_black_hole_fail_within_fifteen_seconds() {
    let ack = ack().await;
    let (client, _, mut exchange) = alone();
    let hole = tokio::spawn(async move {
        let mut stream = exchange.next().await;
        stream.write_all(&ack).await.unwrap();
        let mut sink = vec![0; 1024];
        while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        Instant::now()
    });
    let begin = Instant::now();
    let limited = client.with_timeout(Duration::from_secs(2));
    let (status, limited) = tokio::join!(client.wait(), limited.wait());
    let failed = begin.elapsed();
    assert_eq!(limited.unwrap_err().code(), Code::DeadlineExceeded);
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!status.is_not_processed(), "{status}");
    assert!(failed <= Duration::from_secs(15), "{failed:?}");
    let closed = hole.await.unwrap() - begin;
    assert!(closed <= Duration::from_secs(17), "{closed:?}");
}

/// The client vanishes with calls in flight: their handlers stop, the connection is freed.
#[tokio::test(start_paused = true)]
async fn t5_a_server_frees_the_connection_of_a_client_that_vanished() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    for call in 1..=10 {
        let request = raw::request(call, 0, method("wait"), 0);
        stream.write_all(&request).await.unwrap();
    }
    until(|| worker.waiting.load(SeqCst) == 10).await;
    let begin = Instant::now();
    while server.connection_count() > 0 {
        sleep(Duration::from_millis(100)).await;
        assert!(begin.elapsed() <= Duration::from_secs(30), "not freed");
    }
    assert_eq!(worker.waiting.load(SeqCst), 0);
    println!("freed after {:?}", begin.elapsed());
}

/// No call is in flight any more, but answers wait to be read.
#[tokio::test(start_paused = true)]
async fn f13_a_client_that_does_not_read_is_closed_after_thirty_seconds() {
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    for call in 1..=10 {
        let request = [
            raw::request(call, 0, method("many"), 5),
            vec![252, 0, 0, 1, 0],
        ];
        stream.write_all(&request.concat()).await.unwrap();
    }
    let begin = Instant::now();
    while server.connection_count() > 0 {
        sleep(Duration::from_millis(100)).await;
        assert!(begin.elapsed() <= Duration::from_secs(35), "not closed");
    }
    let closed = begin.elapsed();
    println!("closed after {closed:?}");
    assert!(closed >= Duration::from_secs(25), "{closed:?}");
}

/// The client reads all that comes and answers pings, but never reports what it has read, although it
/// said that it would: for the server it is one that does not read.
#[tokio::test(start_paused = true)]
async fn f13_a_client_that_never_reports_what_it_reads_is_closed_after_thirty_seconds() {
    // [frame.ahead]
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    let mut hello = raw::hello(1, 1);
    hello[8] = 1;
    stream.write_all(&hello).await.unwrap();
    let (ack, _) = raw::read_ack(&mut stream).await;
    assert_eq!((ack[5], ack[8]), (0, 1));
    let size = [&[252][..], &4_000_000_u32.to_le_bytes()].concat();
    let request = [raw::request(1, 0, method("many"), 5), size].concat();
    stream.write_all(&request).await.unwrap();
    let begin = Instant::now();
    let mut count = 0;
    let mut head = [0; 16];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut body = vec![0; u32::from_le_bytes(head[..4].try_into().unwrap()) as usize];
        stream.read_exact(&mut body).await.unwrap();
        count += body.len();
        if head[8] == crate::PING {
            let pong = [crate::header(crate::PONG, 0, 8), body].concat();
            stream.write_all(&pong).await.unwrap();
        }
    }
    let closed = begin.elapsed();
    until(|| server.connection_count() == 0).await;
    assert!(closed >= Duration::from_secs(25), "{closed:?}");
    assert!(closed <= Duration::from_secs(35), "{closed:?}");
    assert!(count < 1_000_000, "{count} bytes are ahead of a reader");
}

/// A server that accepts and then reads nothing: callers that write learn it in time, and what
/// waits to be written is bounded.
#[tokio::test(start_paused = true)]
async fn f13_calls_to_a_server_that_does_not_read_end_with_their_deadline() {
    let ack = ack().await;
    let (client, _, mut exchange) = alone();
    let bytes = vec![7; 64 * 1024];
    let calls = (0..200).map(|_| async {
        let begin = Instant::now();
        let status = client
            .with_timeout(Duration::from_secs(3))
            .take(&bytes)
            .await;
        (status.unwrap_err(), begin.elapsed())
    });
    let server = async {
        let mut stream = exchange.next().await;
        stream.write_all(&ack).await.unwrap();
        stream
    };
    let (answers, stream) = tokio::join!(join_all(calls), server);
    let mut unsent = 0;
    for (status, elapsed) in answers {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(elapsed <= Duration::from_millis(3050), "{elapsed:?}");
        unsent += u64::from(status.is_not_processed());
    }
    // 4 MiB wait to be written; all else waits in line.
    println!("{unsent} of 200 calls were never queued");
    assert!(unsent >= 200 - 66, "{unsent}");
    // Nobody hears from this server again: the connection ends after the write stall.
    let begin = Instant::now();
    while client.channel().is_available() {
        sleep(Duration::from_millis(100)).await;
        assert!(begin.elapsed() <= Duration::from_secs(30), "not closed");
    }
    drop(stream);
}

/// Slow is not gone: bytes that the peer takes are a sign of life, also if there is nothing to read
/// from it because nobody reads.
#[tokio::test(start_paused = true)]
async fn t5_a_slow_reader_is_not_taken_for_dead() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    // A call that goes on, and 4 MB that take 40 s to read.
    let size = [&[252][..], &4_000_000_u32.to_le_bytes()].concat();
    let requests = [
        raw::request(1, 0, method("wait"), 0),
        raw::request(2, 0, method("many"), 5),
        size,
    ];
    stream.write_all(&requests.concat()).await.unwrap();
    let mut count = 0;
    let mut buffer = vec![0; 10_000];
    while count < 4_000_000 {
        sleep(Duration::from_millis(100)).await;
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "closed after {count} bytes");
        count += read;
    }
    assert_eq!(worker.waiting.load(SeqCst), 1);
}

/// The same the other way round: a request that takes 40 s to send.
#[tokio::test(start_paused = true)]
async fn t5_a_slow_request_is_not_taken_for_a_dead_server() {
    let ack = ack().await;
    let (client, _, mut exchange) = alone();
    let server = async {
        let mut stream = exchange.next().await;
        stream.write_all(&ack).await.unwrap();
        let mut buffer = vec![0; 10_000];
        // A hello has the form of an ack.
        raw::read_ack(&mut stream).await;
        stream.read_exact(&mut buffer[..16]).await.unwrap();
        let call = u32::from_le_bytes(buffer[4..8].try_into().unwrap());
        let mut count = 0;
        while count < 4_000_000 {
            sleep(Duration::from_millis(100)).await;
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "closed after {count} bytes");
            count += read;
        }
        let answer = [crate::header(crate::RESPONSE, call, 1), vec![9]].concat();
        stream.write_all(&answer).await.unwrap();
        stream
    };
    let bytes = vec![0; 4_000_000];
    let call = async { client.take(&bytes).await };
    let (answer, _stream) = tokio::join!(call, server);
    assert_eq!(answer, Ok(9));
}
