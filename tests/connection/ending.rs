//! A server that ends while one of its handlers writes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rpc::transport::{Duplex, Listener};
use rpc::{MethodId, Peer, Server, async_trait};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::common::{Exchange, network, raw, soon, until};
use crate::{Worker, builder};

/// What happens during the next write.
type During = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

struct Watched<T> {
    inner: T,
    reads: Arc<AtomicUsize>,
    during: During,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads.fetch_add(1, SeqCst);
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let during = self.during.lock().unwrap().take();
        during.into_iter().for_each(|happens| happens());
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

struct Watching(Exchange, Arc<AtomicUsize>, During);

#[async_trait]
impl Listener for Watching {
    async fn accept(&mut self) -> io::Result<Duplex> {
        let (reader, writer) = tokio::io::split(self.0.next().await);
        let (reads, during) = (self.1.clone(), self.2.clone());
        let reader = Watched {
            inner: reader,
            reads: reads.clone(),
            during: during.clone(),
        };
        let writer = Watched {
            inner: writer,
            reads,
            during,
        };
        Ok(Duplex::new(reader, writer, Peer::from_uri("test://client")))
    }
    fn target(&self) -> String {
        "test://server".into()
    }
}

fn spin_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_dropped_while_a_handler_writes_ends_the_connection() {
    let (wires, exchange) = network(|_, ends| ends);
    let (reads, during) = (Arc::new(AtomicUsize::new(0)), During::default());
    let worker = Worker::default();
    let listener = Watching(exchange, reads.clone(), during.clone());
    // No timer comes to help.
    let builder = builder(&worker).keep_alive(None).idle_timeout(None);
    let server: Server = builder.serve(listener).unwrap();
    let mut stream = wires.dial().await;
    stream.write_all(&raw::hello(1, 1)).await.unwrap();
    raw::read_ack(&mut stream).await;
    let request = |call, method, body: &[u8]| {
        let id = MethodId::of("Work", method).number();
        [&raw::request(call, 0, id, body.len() as u32), body].concat()
    };
    stream.write_all(&request(1, "wait", &[1])).await.unwrap();
    until(|| worker.waiting.load(SeqCst) == 1).await;
    // The handler is alone and writes its answer itself. Meanwhile another call is answered behind
    // it, and the server is dropped.
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (written, was_written) = std::sync::mpsc::sync_channel(1);
    let (write, to_write) = tokio::sync::oneshot::channel();
    *during.lock().unwrap() = Some(Box::new(move || {
        write.send(()).unwrap();
        was_written.recv().unwrap();
        spin_until(|| {
            let echo = server.method_stats("Work.echo").unwrap();
            (echo.calls, echo.in_flight) == (1, 0)
        });
        let before = reads.load(SeqCst);
        // By another thread: what this one wakes might wait for this one.
        std::thread::spawn(move || drop(server)).join().unwrap();
        spin_until(|| reads.load(SeqCst) > before);
    }));
    worker.go.add_permits(1);
    soon(to_write).await.unwrap();
    writer
        .write_all(&request(2, "echo", &[2, 0]))
        .await
        .unwrap();
    written.send(()).unwrap();
    let mut answers = Vec::new();
    soon(reader.read_to_end(&mut answers)).await.unwrap();
}
