//! What was read of pieces is reported, whoever else writes: `[frame.ahead]`.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use rpc::Channel;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;

use crate::common::{network, raw, soon, until};
use crate::{Work, WorkClient};

/// Keeps what is written, and holds the first write up for which it is told so.
struct Held {
    kept: Arc<Mutex<Vec<u8>>>,
    holds: Arc<AtomicBool>,
    held: SyncSender<()>,
    go: Receiver<()>,
}

impl AsyncWrite for Held {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds.swap(false, Ordering::SeqCst) {
            self.held.send(()).unwrap();
            self.go.recv().unwrap();
        }
        self.kept.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Kind and call of the frames behind a hello.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32)> {
    let number = |bytes: &[u8], at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut frames = Vec::new();
    if let Some((hello, _)) = bytes.split_at_checked(16) {
        bytes = &bytes[16 + number(hello, 12) as usize..];
    }
    while let Some((header, rest)) = bytes.split_at_checked(16) {
        frames.push((header[8], number(header, 4)));
        bytes = &rest[number(header, 0) as usize..];
    }
    frames
}

/// Polls a call that is over at once.
fn make(call: impl Future<Output = rpc::Result<()>>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(call).poll(&mut cx), Poll::Ready(Ok(()))));
}

/// Lets the connection do all it has to do.
async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// The reader had to leave its report out, as too much was to be written, and sleeps. The caller that has
/// written it all does not: the peer would wait for that report until something else happens.
#[tokio::test(start_paused = true)]
async fn what_was_read_while_much_was_to_be_written_is_reported_after_that() {
    let (kept, holds) = <(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>)>::default();
    let ((held, is_held), (release, go)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    let writer = Mutex::new(Some(Held {
        kept: kept.clone(),
        holds: holds.clone(),
        held,
        go,
    }));
    let (wires, mut exchange) = network(move |_, (reader, _)| {
        let writer = writer.lock().unwrap().take().unwrap();
        (reader, Box::new(writer))
    });
    let client = WorkClient::new(Channel::builder().with_connector(Arc::new(wires)));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.echo(1, Vec::new()).await }
    });
    let mut server = soon(exchange.next()).await;
    let mut ack = raw::hello(1, 1);
    // Accepted, and what is read of pieces is reported.
    (ack[5], ack[8]) = (0, 1);
    server.write_all(&ack).await.unwrap();
    until(|| !frames(&kept.lock().unwrap()).is_empty()).await;
    settle().await;
    let (_, call) = frames(&kept.lock().unwrap())[0];

    holds.store(true, Ordering::SeqCst);
    let caller = thread::spawn({
        let client = client.clone();
        move || make(client.swallow(&[1]))
    });
    is_held.recv().unwrap();
    for _ in 0..70 {
        make(client.swallow(&[7; 1024]));
    }
    let mut reply = raw::request(call, raw::MORE, 0, 4);
    reply[8] = raw::RESPONSE;
    reply.extend_from_slice(&1_000_000_u32.to_le_bytes());
    for _ in 0..3 {
        reply.extend_from_slice(&raw::chunk(call, 16 * 1024));
        reply.extend_from_slice(&[7; 16 * 1024]);
    }
    server.write_all(&reply).await.unwrap();
    settle().await;
    release.send(()).unwrap();
    caller.join().unwrap();
    settle().await;

    let frames = frames(&kept.lock().unwrap());
    assert_eq!(
        frames
            .iter()
            .filter(|(kind, _)| *kind == raw::REQUEST)
            .count(),
        72
    );
    assert!(frames.contains(&(raw::CREDIT, 0)), "{frames:?}");
    waiting.abort();
}
