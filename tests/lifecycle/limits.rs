//! What a server takes, and how it says no: at once, with a reason, and counted.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpc::{Channel, Code, KeepAlive, MethodId, StreamLimits, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{network, raw, soon, until};
use crate::{Work, WorkClient, Worker, assert_unavailable, builder, client, ms, pair};

#[tokio::test]
async fn a_connection_too_many_is_refused_with_the_reason() {
    let worker = Worker::default();
    let all = builder(&worker).connections_max(3);
    let per_ip = builder(&worker).connections_per_ip_max(3);
    for (limited, told) in [(all, "takes 3 connections"), (per_ip, "from one address")] {
        let server = limited.bind("tcp://127.0.0.1:0").await.unwrap();
        let mut channels = Vec::new();
        for _ in 0..3 {
            channels.push(Channel::connect(server.uri()).await.unwrap());
        }
        for _ in 0..2 {
            let error = soon(Channel::connect(server.uri())).await.unwrap_err();
            assert!(error.is_refused() && error.is_connect(), "{error:?}");
            let refusal = error.refusal().unwrap();
            assert_eq!(refusal.verdict, Verdict::TooManyConnections);
            assert!(error.to_string().contains(told), "{error}");
        }
        // A call on such a connection was not processed.
        let lazy = WorkClient::connect_lazy(server.uri()).unwrap();
        let status = soon(lazy.echo(1)).await.unwrap_err();
        assert_unavailable(&status);
        assert!(status.is_not_processed() && status.message().contains(told));
        assert_eq!(server.load().connections_refused, 3);
        // Those that are there go on, and whoever leaves makes room.
        for channel in &channels {
            WorkClient::new(channel.clone()).echo(1).await.unwrap();
        }
        channels.pop();
        until(|| server.load().connections == 2).await;
        channels.push(soon(Channel::connect(server.uri())).await.unwrap());
    }
}

#[tokio::test]
async fn one_address_does_not_count_for_another() {
    let server = builder(&Worker::default()).connections_per_ip_max(1);
    let server = server.bind("tcp://0.0.0.0:0").await.unwrap();
    let port = server.uri().rsplit_once(':').unwrap().1;
    let here = format!("tcp://127.0.0.1:{port}");
    let _first = Channel::connect(&here).await.unwrap();
    assert!(Channel::connect(&here).await.unwrap_err().is_refused());
    // The same machine from another of its addresses.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let target = format!("127.0.0.1:{port}").parse().unwrap();
    let mut stream = socket.connect(target).await.unwrap();
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, _) = soon(raw::read_ack(&mut stream)).await;
    assert_eq!(fixed[5], 0, "accepted");
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_on_the_server_is_refused_at_once() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).calls_max(10).serve(exchange).unwrap();
    let (one, two) = (client(wires.clone()), client(wires));
    let running: Vec<_> = [&one, &two]
        .into_iter()
        .flat_map(|client| std::iter::repeat_n(client.clone(), 5))
        .map(|client| tokio::spawn(async move { client.wait().await }))
        .collect();
    until(|| worker.started.get() == 10).await;
    let load = server.load();
    assert_eq!((load.connections, load.calls_in_flight), (2, 10));
    for client in [&one, &two] {
        let status = soon(client.echo(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.is_not_processed());
        assert!(status.message().contains("10 calls"), "{status}");
    }
    assert_eq!(server.load().calls_refused, 2);
    worker.go.add_permits(10);
    for call in running {
        call.await.unwrap().unwrap();
    }
    one.echo(1).await.unwrap();
    until(|| server.load().calls_in_flight == 0).await;
    assert_eq!(server.load().calls_refused, 2);
    assert_eq!(worker.started.get(), 11, "the refused did not run");
}

/// Our client waits in line; one that does not is refused call by call.
#[tokio::test(start_paused = true)]
async fn a_call_too_many_on_a_connection_is_refused_at_once() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&worker).calls_per_connection_max(4);
    let server = server.serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let wait = MethodId::of("Work", "wait").number();
    let requests: Vec<u8> = (1..=7).flat_map(|n| raw::request(n, 0, wait, 0)).collect();
    stream.write_all(&requests).await.unwrap();
    for call in 5..=7 {
        let (header, body) = soon(raw::read_frame(&mut stream)).await;
        let (kind, flags, code) = (header[8], header[9], header[10]);
        assert_eq!((header[4], kind, flags, code), (call, 3, 4, 8));
        assert!(String::from_utf8_lossy(&body).contains("that is the limit"));
    }
    let load = server.load();
    assert_eq!((load.calls_in_flight, load.calls_refused), (4, 3));
    worker.go.add_permits(4);
    for _ in 0..4 {
        let (header, _) = soon(raw::read_frame(&mut stream)).await;
        assert_eq!(header[8], 2);
    }
    assert_eq!(worker.started.get(), 4);
    stream.shutdown().await.unwrap();
    soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
}

/// S3-1: nobody waits for the answer before; ten thousand are under way on one connection.
#[tokio::test(start_paused = true)]
async fn s3_1_ten_thousand_calls_in_flight_on_one_connection() {
    const CALLS: usize = 10_000;
    let worker = Worker::default();
    let builder = builder(&worker)
        .calls_per_connection_max(CALLS as u32)
        .calls_max(CALLS);
    let (client, wires, server) = pair(builder);
    client.echo(0).await.unwrap();
    let calls: Vec<_> = (0..CALLS as u64)
        .map(|number| {
            let client = client.clone();
            // Each answers at another time, in another order than they were asked.
            let millis = 1000 + number * 7919 % 10_000;
            tokio::spawn(async move { client.pause(millis).await.map(|got| (millis, got)) })
        })
        .collect();
    until(|| server.load().calls_in_flight == CALLS).await;
    for call in calls {
        let (asked, got) = call.await.unwrap().unwrap();
        assert_eq!(asked, got, "the answer to another call");
    }
    assert_eq!(wires.opened(), 1);
    assert_eq!(server.load().calls_refused, 0);
}

/// S4-3, T14: a panic is answered quickly, and its neighbours do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "real time is measured")]
async fn s4_3_a_panic_is_answered_at_once_to_its_caller_alone() {
    let worker = Worker::default();
    let server = builder(&worker).bind("tcp://127.0.0.1:0").await.unwrap();
    let client = WorkClient::connect(server.uri()).await.unwrap();
    let neighbours: Vec<_> = std::iter::repeat_n(client.clone(), 99)
        .map(|client| tokio::spawn(async move { client.wait().await }))
        .collect();
    until(|| worker.started.get() == 99).await;
    let mut took = Vec::new();
    for _ in 0..100 {
        let begin = std::time::Instant::now();
        let status = client.panic("a secret".into()).await.unwrap_err();
        took.push(begin.elapsed());
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("secret"));
    }
    took.sort();
    println!(
        "a panic is answered in {:?} at the median, {:?} at p99; target 10 ms",
        took[50], took[98]
    );
    assert!(took[50] <= Duration::from_millis(10), "{took:?}");
    worker.go.add_permits(99);
    let answers = soon(join_all(neighbours)).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(server.connection_count(), 1);
    until(|| server.load().calls_in_flight == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_is_counted_until_it_is_answered() {
    let worker = Worker::default();
    let (client, _, server) = pair(builder(&worker));
    client.echo(1).await.unwrap();
    assert_eq!(server.load().calls_in_flight, 0);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.pause(100).await }
    });
    until(|| worker.started.get() == 2).await;
    assert_eq!(server.load().calls_in_flight, 1);
    tokio::time::sleep(ms(101)).await;
    assert_eq!(server.load().calls_in_flight, 0);
    call.await.unwrap().unwrap();
}

/// T15: whoever wants no limit may say so with the longest time there is.
#[tokio::test(start_paused = true)]
async fn t15_no_setting_is_too_long() {
    let ever = Duration::MAX;
    let keep_alive = Some(KeepAlive::new(ever, ever).when_idle());
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder(&Worker::default())
        .handshake_timeout(ever)
        .keep_alive(keep_alive)
        .idle_timeout(Some(ever))
        .connection_age_max(ever)
        .shutdown_grace(ever)
        .serve(exchange)
        .unwrap();
    // The age of each is a tenth more or less than that, by chance.
    for number in 0..30 {
        let channel = Channel::builder()
            .connect_timeout(ever)
            .handshake_timeout(ever)
            .keep_alive(keep_alive)
            .idle_timeout(ever)
            .default_timeout(ever);
        let client = WorkClient::new(channel.with_connector(Arc::new(wires.clone())));
        assert_eq!(soon(client.echo(number)).await.unwrap(), number);
    }
    soon(server.shutdown()).await;
}

/// What could never work is a mistake at the start, not a server that refuses everybody.
#[tokio::test]
async fn limits_of_zero_are_refused_by_name() {
    type Set = fn(rpc::ServerBuilder) -> rpc::ServerBuilder;
    let zero = KeepAlive::new(Duration::ZERO, ms(1));
    let server: [(&str, Set); 13] = [
        ("calls_per_connection_max", |b| {
            b.calls_per_connection_max(0)
        }),
        ("calls_max", |b| b.calls_max(0)),
        ("connections_max", |b| b.connections_max(0)),
        ("connections_per_ip_max", |b| b.connections_per_ip_max(0)),
        ("handshakes_max", |b| b.handshakes_max(0)),
        ("message_bytes_max", |b| b.message_bytes_max(0)),
        ("handshake_timeout", |b| b.handshake_timeout(ms(0))),
        ("keep_alive", |b| {
            b.keep_alive(Some(KeepAlive::new(ms(1), ms(0))))
        }),
        ("idle_timeout", |b| b.idle_timeout(Some(ms(0)))),
        ("stream_idle_timeout", |b| {
            b.stream_idle_timeout(Some(ms(0)))
        }),
        ("connection_age_max", |b| b.connection_age_max(ms(0))),
        ("stream_limits", |b| {
            b.stream_limits(StreamLimits::new(0, 1024))
        }),
        ("stream_limits", |b| {
            b.stream_limits(StreamLimits::new(1024, 0))
        }),
    ];
    let worker = Worker::default();
    for (name, set) in server {
        let refused = set(builder(&worker)).bind("tcp://127.0.0.1:0").await;
        assert_zero(name, &refused.unwrap_err());
    }
    let in_process = builder(&worker).calls_max(0).in_process();
    assert_zero("calls_max", &in_process.unwrap_err());
    // Nobody has to wait at the end.
    let server = builder(&worker)
        .shutdown_grace(ms(0))
        .bind("tcp://127.0.0.1:0");
    server.await.unwrap().shutdown().await;
    for (name, channel) in [
        ("message_bytes_max", Channel::builder().message_bytes_max(0)),
        (
            "handshake_timeout",
            Channel::builder().handshake_timeout(ms(0)),
        ),
        ("keep_alive", Channel::builder().keep_alive(Some(zero))),
        ("idle_timeout", Channel::builder().idle_timeout(ms(0))),
        (
            "stream_limits",
            Channel::builder().stream_limits(StreamLimits::new(0, 1024)),
        ),
        (
            "stream_limits",
            Channel::builder().stream_limits(StreamLimits::new(1024, 0)),
        ),
    ] {
        assert_zero(name, &channel.connect_lazy("mem://nobody").unwrap_err());
    }
}

#[track_caller]
fn assert_zero(name: &str, error: &rpc::Error) {
    assert!(error.is_invalid_limit(), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("{name} is zero")),
        "{error}"
    );
}

/// `[open.extension]`: nobody stands in line for ever for a server that takes no calls.
#[tokio::test(start_paused = true)]
async fn a_server_that_announces_no_calls_is_refused() {
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = client(wires);
    let calls: Vec<_> = (0..3)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.echo(number).await })
        })
        .collect();
    let mut stream = exchange.next().await;
    stream.read_exact(&mut [0; 16]).await.unwrap();
    // An ack that is as short as can be, with one extension: no calls.
    let ack = [&raw::MAGIC[..], &[1, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0]].concat();
    stream.write_all(&ack).await.unwrap();
    stream.write_all(&[2, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    for call in calls {
        let status = soon(call).await.unwrap().unwrap_err();
        assert_unavailable(&status);
        assert!(status.message().contains("allows no call"), "{status}");
    }
}
