//! A stream of bytes between two tasks that shuttle schedules.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction of a stream.
#[derive(Clone)]
pub(super) struct Pipe {
    state: Arc<Mutex<PipeState>>,
    capacity: usize,
}

#[derive(Default)]
struct PipeState {
    bytes: Vec<u8>,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Arc::default(),
            capacity,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.ended && state.bytes.is_empty()
    }

    /// Neither side reads or writes any more.
    pub(super) fn end(&self) {
        let mut state = self.state.lock().unwrap();
        state.ended = true;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn poll_take(&self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        if state.bytes.is_empty() && !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = state.bytes.len().min(bytes_max);
        let taken = state.bytes.drain(..count).collect();
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(taken)
    }

    pub(super) fn poll_put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock().unwrap();
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.capacity - state.bytes.len());
        if count == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend_from_slice(&bytes[..count]);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }
}

pub(super) struct Reader(pub(super) Pipe);

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = std::task::ready!(self.0.poll_take(cx, out.remaining()));
        out.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

pub(super) struct Writer(pub(super) Pipe);

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_put(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end();
    }
}
