//! S1-36: the four places of a client and the three of a server at which time can run out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpc::{Channel, Code, MethodId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::common::{Blackhole, Remote, Stuck, network, raw, soon, until};
use crate::{Clock, Timed, TimedClient, assert_overdue, builder, ms, pair};

const LIMIT: Duration = Duration::from_millis(100);

/// A client with a deadline on a channel that leads nowhere.
fn lost() -> TimedClient {
    TimedClient::new(Channel::builder().with_connector(Arc::new(Blackhole)))
}

/// S0-9: without a deadline, connecting has its own end.
#[tokio::test(start_paused = true)]
async fn s0_9_an_address_that_never_answers_fails_after_the_connect_timeout() {
    let begin = Instant::now();
    let status = lost().left().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.is_not_processed());
    assert!(status.message().contains("connect timeout"), "{status}");
    let (took, limit) = (begin.elapsed(), Duration::from_secs(3));
    assert!(took.abs_diff(limit) <= limit / 5, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s1_36_client_while_connecting() {
    for patient in [false, true] {
        let client = lost();
        let options = rpc::CallOptions::new().with_timeout(LIMIT);
        let client = client.with_options(options.with_wait_for_ready(patient));
        let begin = Instant::now();
        // The first connects, the others wait for it.
        for status in join_all((0..5).map(|_| client.left())).await {
            let status = status.unwrap_err();
            assert_overdue(&status);
            assert!(status.is_not_processed());
        }
        assert_eq!(begin.elapsed(), LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn s1_36_client_while_waiting_for_a_server() {
    let (wires, exchange) = network(|_, ends| ends);
    drop(exchange);
    let client = TimedClient::new(Channel::builder().with_connector(Arc::new(wires)));
    let options = rpc::CallOptions::new().with_wait_for_ready(true);
    let client = client.with_options(options.with_timeout(ms(30_000)));
    let begin = Instant::now();
    let status = client.left().await.unwrap_err();
    assert_overdue(&status);
    assert!(status.is_not_processed());
    assert_eq!(begin.elapsed(), ms(30_000));
}

/// tarpc holds a call in its queue past its deadline (200 ms became 2.95 s).
#[tokio::test(start_paused = true)]
async fn s1_36_client_while_queued_for_a_place() {
    let clock = Clock::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&clock).calls_per_connection_max(1);
    let _server = server.serve(exchange).unwrap();
    let client = TimedClient::new(Channel::builder().with_connector(Arc::new(wires)));
    client.left().await.unwrap();
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.pause(1000).await }
    });
    until(|| clock.started.get() == 2).await;
    let begin = Instant::now();
    let impatient = client.with_timeout(LIMIT);
    let patient = client.with_timeout(ms(5000));
    let queued = async {
        for status in join_all((0..10).map(|_| impatient.left())).await {
            let status = status.unwrap_err();
            assert_overdue(&status);
            assert!(status.is_not_processed());
        }
        assert_eq!(begin.elapsed(), LIMIT);
    };
    // One that can wait gets its turn, and what is left of its time.
    let (left, ()) = tokio::join!(patient.left(), queued);
    assert_eq!(left.unwrap(), Some(ms(4000)));
    running.await.unwrap().unwrap();
    assert_eq!(clock.started.get(), 3, "the overdue never began");
}

/// The peer stops reading in the middle of a request.
#[tokio::test(start_paused = true)]
async fn s1_36_client_while_writing() {
    let clock = Clock::default();
    let (wires, exchange) = network(|_, (reader, writer)| {
        let left = 100_000;
        (
            reader,
            Box::new(Stuck {
                inner: writer,
                left,
            }),
        )
    });
    let _server = builder(&clock).serve(exchange).unwrap();
    let client = TimedClient::new(Channel::builder().with_connector(Arc::new(wires)));
    client.left().await.unwrap();
    let begin = Instant::now();
    let (client, megabyte) = (client.with_timeout(LIMIT), vec![0; 1 << 20]);
    // More than the outgoing buffer holds: the last wait for room in it.
    for status in join_all((0..8).map(|_| client.length(&megabyte))).await {
        assert_overdue(&status.unwrap_err());
    }
    assert_eq!(begin.elapsed(), LIMIT);
    assert_eq!(clock.started.get(), 1, "no request arrived");
}

#[tokio::test(start_paused = true)]
async fn s1_36_client_while_waiting_for_the_reply() {
    let clock = Clock::default();
    let (client, _, server) = pair(&clock, Channel::builder());
    let begin = Instant::now();
    assert_overdue(&client.with_timeout(LIMIT).hang().await.unwrap_err());
    assert_eq!(begin.elapsed(), LIMIT);
    // The handler is stopped by the server, which knows the deadline.
    tokio::time::sleep(ms(5)).await;
    assert_eq!(clock.stopped.get(), 1);
    assert_eq!(server.load().calls_in_flight, 0);
}

/// The reply begins and does not end.
#[tokio::test(start_paused = true)]
async fn s1_36_client_while_reading_the_reply() {
    let clock = Clock::default();
    let (wires, exchange) = network(|_, (reader, writer)| {
        let left = 10_000;
        (
            Box::new(Stuck {
                inner: reader,
                left,
            }),
            writer,
        )
    });
    let _server = builder(&clock).serve(exchange).unwrap();
    let client = TimedClient::new(Channel::builder().with_connector(Arc::new(wires)));
    client.left().await.unwrap();
    let begin = Instant::now();
    let status = client.with_timeout(LIMIT).zeros(50_000).await;
    assert_overdue(&status.unwrap_err());
    assert_eq!(begin.elapsed(), LIMIT);
    assert_eq!(clock.started.get(), 2, "the reply was on its way");
}

/// A request that stops half-way: the server gives a frame 10 s.
#[tokio::test(start_paused = true)]
async fn s1_36_server_while_reading_a_request() {
    let (wires, exchange) = network(|_, ends| ends);
    let clock = Clock::default();
    let server = builder(&clock).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let method = MethodId::of("Timed", "length").number();
    let half = [raw::request(1, 0, method, 100), vec![0; 50]].concat();
    stream.write_all(&half).await.unwrap();
    let begin = Instant::now();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let took = begin.elapsed();
    assert!((ms(10_000)..=ms(10_100)).contains(&took), "{took:?}");
    drop(stream);
    until(|| server.connection_count() == 0).await;
    assert_eq!(clock.started.get(), 0);
}

/// A client that asks and does not read: the server gives it 30 s.
#[tokio::test(start_paused = true)]
async fn s1_36_server_while_writing_replies() {
    // Of 64 KiB each: more than wait before no further call is started.
    const CALLS: u32 = 60;
    let (wires, exchange) = network(|_, ends| ends);
    let clock = Clock::default();
    let server = builder(&clock).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let method = MethodId::of("Timed", "zeros").number();
    for call in 1..=CALLS {
        // Bincode: 0xfc says that four bytes follow; 65,536 zeros.
        let request = raw::request(call, 0, method, 5);
        let body = [0xfc, 0, 0, 1, 0];
        stream
            .write_all(&[&request[..], &body].concat())
            .await
            .unwrap();
    }
    until(|| clock.started.get() > 0).await;
    let begin = Instant::now();
    while server.connection_count() > 0 {
        tokio::time::sleep(ms(100)).await;
        assert!(begin.elapsed() < ms(40_000), "it is held for ever");
    }
    assert!(begin.elapsed() >= ms(29_000), "{:?}", begin.elapsed());
    assert!(
        clock.started.get() < CALLS as usize,
        "{}",
        clock.started.get()
    );
    assert_eq!(server.load().calls_in_flight, 0);
}

/// S1-9, S1-15: what the client wishes, the server applies, whatever the client does later.
#[tokio::test(start_paused = true)]
async fn s1_36_server_while_a_handler_runs() {
    let (wires, exchange) = network(|_, ends| ends);
    let clock = Clock::default();
    let server = builder(&clock).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let method = MethodId::of("Timed", "hang").number();
    let mut request = raw::request(1, 0, method, 0);
    request[10] = 100; // milliseconds
    stream.write_all(&request).await.unwrap();
    let begin = Instant::now();
    let (header, _) = raw::read_frame(&mut stream).await;
    assert_eq!(
        (header[4], header[8], header[10]),
        (1, 3, 4),
        "DeadlineExceeded"
    );
    assert_eq!(begin.elapsed(), LIMIT);
    tokio::task::yield_now().await;
    assert_eq!((clock.started.get(), clock.stopped.get()), (1, 1));
    assert_eq!(server.load().calls_in_flight, 0);
    // Nothing follows, whatever the handler would have said.
    let more = tokio::time::timeout(ms(60_000), stream.read_u8()).await;
    assert!(more.is_err(), "one answer: {more:?}");
}

/// Gee's `dialTimeout`: 2 s for what may take 1 s; and without a limit.
#[tokio::test(start_paused = true)]
async fn s1_23_the_connect_timeout_says_so() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Clock::default()).serve(exchange).unwrap();
    for (limit, succeeds) in [(1000, false), (0, true), (3000, true)] {
        let far = Arc::new(Remote(wires.clone(), ms(2000)));
        let channel = Channel::builder().connect_timeout(ms(limit));
        let client = TimedClient::new(channel.with_connector(far));
        let answer = client.left().await;
        assert_eq!(answer.is_ok(), succeeds, "{limit}: {answer:?}");
        if let Err(status) = answer {
            assert_eq!(status.code(), Code::Unavailable);
            assert!(status.message().contains("connect timeout"), "{status}");
            assert!(status.message().contains("1s"), "{status}");
        }
    }
    assert_eq!(wires.opened(), 2, "the first gave up");
}

/// S1-23: a server that accepts and is silent; the socket is closed, not leaked.
#[tokio::test]
async fn s1_23_a_connection_that_was_given_up_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let channel = Channel::builder().handshake_timeout(ms(20));
    let connecting = tokio::spawn(channel.connect(target.clone()));
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let error = soon(connecting).await.unwrap().unwrap_err();
    assert!(error.is_connect() && !error.is_refused(), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("connect timeout") && text.contains("20ms"),
        "{text}"
    );
    // The hello, then the end.
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    assert!(said.starts_with(&raw::MAGIC));

    // The same when the caller drops the attempt.
    let connecting = tokio::spawn(Channel::builder().connect(target));
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    connecting.abort();
    soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
}
