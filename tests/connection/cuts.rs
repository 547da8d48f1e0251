//! Streams that end or fail in the middle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use rpc::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::common::{Cut, soon};
use crate::{Work, Worker, builder, pair};

const CALLS: u64 = 3;

/// The bytes that a server sends for the calls of the next test: hello, answers.
async fn bytes_of_a_conversation() -> usize {
    struct Count<R>(R, Arc<AtomicUsize>);
    impl<R: AsyncRead + Unpin> AsyncRead for Count<R> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = out.filled().len();
            let polled = Pin::new(&mut self.0).poll_read(cx, out);
            self.1
                .fetch_add(out.filled().len() - before, Ordering::SeqCst);
            polled
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let (client, _, _server) = pair(builder(&Worker::default()), move |_, (reader, writer)| {
        (Box::new(Count(reader, counted.clone())), writer)
    });
    for nonce in 0..CALLS {
        client.echo(nonce, vec![7; 10]).await.unwrap();
    }
    count.load(Ordering::SeqCst)
}

/// A client that waits while its channel backs off: a server that hangs up before it accepts is
/// asked again only after a pause.
fn patient(client: &crate::WorkClient) -> crate::WorkClient {
    client.with_options(rpc::CallOptions::new().with_wait_for_ready(true))
}

/// Wherever the stream ends, each call ends once, and the next one finds a new connection.
#[tokio::test(start_paused = true)]
async fn s0_7_a_stream_cut_at_every_byte_fails_its_calls_and_no_other() {
    let total = bytes_of_a_conversation().await;
    assert!(total > 100, "{total}");
    for cut in 0..total {
        let (client, wires, _server) = pair(
            builder(&Worker::default()),
            move |number, (reader, writer)| {
                if number > 0 {
                    return (reader, writer);
                }
                (Box::new(Cut { reader, left: cut }), writer)
            },
        );
        let calls = (0..CALLS).map(|nonce| client.echo(nonce, vec![7; 10]));
        let answers = soon(futures_util::future::join_all(calls)).await;
        let mut failed = 0;
        for (nonce, answer) in (0..CALLS).zip(answers) {
            match answer {
                Ok(reply) => assert_eq!(reply, (nonce, vec![7; 10]), "cut at {cut}"),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "cut at {cut}: {status}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0, "cut at {cut} of {total}");
        soon(patient(&client).echo(9, vec![])).await.unwrap();
        assert_eq!(wires.opened(), 2, "cut at {cut}");
    }
}

/// A stream that fails in the way and at the moment it is told.
struct Broken;

fn broken() -> io::Error {
    io::Error::other("the cable is cut")
}

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(broken()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(broken()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn s0_8_a_read_error_and_a_write_error_reach_the_caller() {
    for reading in [true, false] {
        let (client, wires, _server) = pair(
            builder(&Worker::default()),
            move |number, (reader, writer)| match (number, reading) {
                (0, true) => (Box::new(Broken), writer),
                (0, false) => (reader, Box::new(Broken)),
                _ => (reader, writer),
            },
        );
        let status = soon(client.echo(1, vec![])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().contains("the cable is cut"), "{status}");
        soon(patient(&client).echo(2, vec![])).await.unwrap();
        assert_eq!(wires.opened(), 2);
    }
}

/// A connection that breaks while many calls are open, on the server's side.
#[tokio::test]
async fn s0_7_all_pending_calls_fail_together() {
    let worker = Worker::default();
    let (client, wires, server) = pair(builder(&worker), |_, ends| ends);
    let calls: Vec<_> = (0..100)
        .map(|nonce| {
            let client = client.clone();
            tokio::spawn(async move { client.wait(nonce).await })
        })
        .collect();
    crate::common::until(|| worker.waiting() == 100).await;
    drop(server);
    for call in calls {
        let status = soon(call).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(!status.is_not_processed(), "{status}");
    }
    assert_eq!(wires.opened(), 1);
}
