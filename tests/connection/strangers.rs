//! Peers that do not speak the protocol, or speak it to do harm.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use rpc::{Code, MethodId, Server};

use crate::common::{network, raw, soon, until};
use crate::{Work, WorkClient, Worker, builder};

async fn served() -> (Server, String) {
    let server = builder(&Worker::default())
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap().to_owned();
    (server, address)
}

/// A client's hello, and the server's ack to it.
async fn opened(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    let (fixed, _) = raw::read_ack(&mut stream).await;
    assert_eq!(fixed[5], 0, "accepted");
    stream
}

#[tokio::test]
async fn s1_12_strangers_are_shown_the_door_and_disturb_nobody() {
    let (server, address) = served().await;
    let canary = WorkClient::connect(server.uri()).await.unwrap();
    let tls = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 300]].concat();
    let mut nearly = raw::hello(1, 1);
    nearly[3] = b'C';
    let mut endless = raw::hello(1, 1);
    endless[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    let garbage = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        tls,
        vec![0],
        vec![0xff; 70_000],
        nearly,
        endless,
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The server may close before everything is written.
        let _ = stream.write_all(&bytes).await;
        let mut last_words = Vec::new();
        let _ = soon(stream.read_to_end(&mut last_words)).await;
        drop(stream);
        canary.echo(1, vec![]).await.unwrap();
    }
    // A port scan connects and leaves.
    for _ in 0..10 {
        drop(TcpStream::connect(&address).await.unwrap());
    }
    until(|| server.connection_count() == 1).await;
    canary.echo(2, vec![]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s1_12_a_slow_handshake_is_cut_after_its_time() {
    let timeout = Duration::from_secs(5);
    for sent in [0, 1, 15] {
        let (wires, exchange) = network(|_, ends| ends);
        let builder = builder(&Worker::default()).handshake_timeout(timeout);
        let server = builder.serve(exchange).unwrap();
        let mut stream = wires.dial().await;
        let begin = Instant::now();
        let hello = raw::hello(1, 1);
        stream.write_all(&hello[..sent]).await.unwrap();
        let mut end = Vec::new();
        stream.read_to_end(&mut end).await.unwrap();
        assert_eq!(begin.elapsed(), timeout, "{sent} bytes");
        drop(stream);
        until(|| server.connection_count() == 0).await;
    }
}

/// The limit is on the whole handshake, not on the time between two bytes.
#[tokio::test(start_paused = true)]
async fn s1_12_a_dripping_handshake_is_cut_too() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    let begin = Instant::now();
    for byte in raw::hello(1, 1) {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "it was let in: {answer:?}");
    // The server gives the reason a second to be read.
    assert!(
        begin.elapsed() <= Duration::from_secs(7),
        "{:?}",
        begin.elapsed()
    );
}

/// S0-3: whoever breaks the protocol after the handshake loses the connection, and nobody else.
#[tokio::test]
async fn s0_3_a_bad_client_is_closed_alone() {
    let (server, address) = served().await;
    let canary = WorkClient::connect(server.uri()).await.unwrap();
    let too_long = raw::request(1, 0, 7, u32::MAX);
    let mut id_again = raw::request(1, 0, 7, 0);
    id_again.extend(raw::request(1, 0, 7, 0));
    for bytes in [too_long, id_again, vec![0xff; 64]] {
        let mut stream = opened(&address).await;
        stream.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.unwrap();
        drop(stream);
        canary.echo(1, vec![]).await.unwrap();
    }
    until(|| server.connection_count() == 1).await;
}

/// T1, frame by frame: a request beyond the limit is refused as soon as its header is read.
#[tokio::test]
async fn t1_a_request_beyond_the_limit_fails_alone() {
    let (_server, address) = served().await;
    let mut stream = opened(&address).await;
    let length = (4 << 20) + 20_000;
    let echo = MethodId::of("Work", "echo").number();
    stream
        .write_all(&raw::request(1, 0, echo, length))
        .await
        .unwrap();
    let (header, _) = soon(raw::read_frame(&mut stream)).await;
    assert_eq!(
        (header[8], header[10]),
        (3, Code::ResourceExhausted.number())
    );
    stream.write_all(&vec![0; length as usize]).await.unwrap();
    stream
        .write_all(&raw::request(2, 0, echo, 2))
        .await
        .unwrap();
    stream.write_all(&[5, 0]).await.unwrap();
    let (header, body) = soon(raw::read_frame(&mut stream)).await;
    assert_eq!((header[4], header[8]), (2, 2));
    assert_eq!(body, [5, 0]);
}

/// Metadata in the form of `[body.metadata]`.
fn metadata(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in pairs {
        block.push(key.len() as u8);
        block.extend_from_slice(key);
        block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        block.extend_from_slice(value);
    }
    [&(block.len() as u16).to_le_bytes()[..], &block].concat()
}

#[tokio::test]
async fn t7_metadata_beyond_the_limits_fails_one_call() {
    let (_server, address) = served().await;
    let mut stream = opened(&address).await;
    let many = [(&b"k"[..], &b"v"[..]); 65];
    let long = vec![b'v'; 16 * 1024 + 1];
    let (exhausted, invalid) = (Code::ResourceExhausted, Code::InvalidArgument);
    let cases = [
        (metadata(&many), exhausted),
        (metadata(&[(b"k", &long)]), exhausted),
        (metadata(&[(b"k", b"a\0b")]), invalid),
        (metadata(&[(b"k", b"a\r\nb")]), invalid),
        (metadata(&[(&[0xc3, 0xa4], b"v")]), invalid),
        (metadata(&[(b"rpc-own", b"v")]), invalid),
        (metadata(&[(b"", b"v")]), invalid),
        (vec![200, 0, 1], invalid),
    ];
    let echo = MethodId::of("Work", "echo").number();
    let mut call = 0;
    for (block, code) in cases {
        call += 2;
        let body = [&block[..], &[5, 0]].concat();
        let header = raw::request(call, raw::METADATA, echo, body.len() as u32);
        stream.write_all(&[header, body].concat()).await.unwrap();
        let (header, text) = soon(raw::read_frame(&mut stream)).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!((header[4], header[8]), (call as u8, 3), "{text}");
        assert_eq!(header[10], code.number(), "{text}");
        let good = [raw::request(call + 1, 0, echo, 2), vec![5, 0]].concat();
        stream.write_all(&good).await.unwrap();
        let (header, _) = soon(raw::read_frame(&mut stream)).await;
        assert_eq!(header[8], 2, "the connection goes on");
    }
}

/// A client cannot be made to send what a server would refuse.
#[test]
fn t7_metadata_beyond_the_limits_is_not_sent() {
    let client = rpc::CallOptions::new();
    for (key, value) in [
        ("", "v"),
        ("k", "a\nb"),
        ("k", "a\0b"),
        ("ä", "v"),
        ("rpc-own", "v"),
        (&*"k".repeat(129), "v"),
        ("k", &*"v".repeat(8 * 1024)),
    ] {
        client.clone().with_metadata(key, value).unwrap_err();
    }
}

/// `[call.once]`: a oneway request is never answered; `[call.oneway]`: nor can it be cancelled.
#[tokio::test]
async fn a_cancel_that_names_a_oneway_call_is_ignored() {
    let worker = Worker::default();
    let server = builder(&worker).bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap();
    let mut stream = opened(address).await;
    let (wait, echo) = (MethodId::of("Work", "wait"), MethodId::of("Work", "echo"));
    let mut cancel = raw::request(1, 0, 0, 0);
    cancel[8] = raw::CANCEL;
    let conversation = [
        raw::request(1, raw::ONEWAY, wait.number(), 1),
        vec![7],
        cancel,
        raw::request(2, 0, echo.number(), 2),
        vec![5, 0],
    ];
    stream.write_all(&conversation.concat()).await.unwrap();
    let (header, _) = soon(raw::read_frame(&mut stream)).await;
    assert_eq!(
        (header[4], header[8]),
        (2, 2),
        "the answer to the second call"
    );
    assert_eq!((worker.waiting(), worker.dropped()), (1, 0));
    worker.go.add_permits(1);
    until(|| server.load().calls_in_flight == 0).await;
    assert_eq!(worker.dropped(), 0, "it ran to its end");
}
