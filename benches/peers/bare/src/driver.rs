//! The task of a connection: reads, hands on frames, writes.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

use crate::frame::{self, Header};
use crate::link::{Link, State};

const READ_BYTES: usize = 256 << 10;

thread_local! {
    /// Idle connections have no buffer of their own.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a side does with a frame.
pub(crate) trait Side: Sized + Send {
    /// Under the lock. Tells whether somebody was woken who may append frames soon.
    fn handle(state: &mut State<Self>, link: &Arc<Link<Self>>, header: Header, body: &[u8])
    -> bool;
    /// The peer is gone.
    fn end(&mut self);
}

pub(crate) struct Driver<S> {
    link: Arc<Link<S>>,
    reader: OwnedReadHalf,
    /// The begin of a frame that has not arrived whole.
    partial: Vec<u8>,
    /// It has been at the back of the queue since it was armed.
    waited: bool,
}

impl<S: Side> Driver<S> {
    pub(crate) fn new(link: Arc<Link<S>>, reader: OwnedReadHalf) -> Self {
        Self {
            link,
            reader,
            partial: Vec::new(),
            waited: false,
        }
    }

    /// Reads until nothing is left. Tells how many were woken, or that the peer is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Option<usize> {
        let mut woken = 0;
        loop {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut self.reader).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Pending => return Some(woken),
                Poll::Ready(_) => return None,
            }
            woken += self.handle(read.filled());
        }
    }

    fn handle(&mut self, arrived: &[u8]) -> usize {
        let mut partial = std::mem::take(&mut self.partial);
        if partial.is_empty() {
            let (woken, rest) = self.handle_frames(arrived);
            self.partial.extend_from_slice(rest);
            return woken;
        }
        partial.extend_from_slice(arrived);
        let (woken, rest) = self.handle_frames(&partial);
        let handled = partial.len() - rest.len();
        partial.drain(..handled);
        self.partial = partial;
        woken
    }

    /// Gives back what is not a whole frame.
    fn handle_frames<'a>(&self, mut bytes: &'a [u8]) -> (usize, &'a [u8]) {
        let mut woken = 0;
        let mut state = self.link.lock();
        while let Some((header, body)) = frame::next(&mut bytes) {
            woken += usize::from(S::handle(&mut state, &self.link, header, body));
        }
        (woken, bytes)
    }
}

impl<S: Side> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let read = BUFFER.with_borrow_mut(|buffer| self.poll_read(cx, buffer));
        let Some(woken) = read else {
            self.link.lock().side.end();
            return Poll::Ready(());
        };
        let mut state = self.link.lock();
        // One that was woken alone writes by itself.
        let others_append = state.is_armed() || woken > 1;
        if !state.arm(others_append) {
            state.wait(cx);
            return Poll::Pending;
        }
        drop(state);
        if others_append && !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = false;
        ready!(self.link.poll_write(cx));
        Poll::Pending
    }
}
