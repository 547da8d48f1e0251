//! The last words of a connection that cannot go on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::{Closed, Driver, Side};
use crate::connection::{Protocol, buffer, poll_write_all};

pub(super) struct Ending {
    why: Closed,
    /// The last words are written and the stream is shut down.
    said: bool,
    /// When to stop waiting for the peer to take note.
    patience: Pin<Box<Sleep>>,
}

impl<S: Side> Driver<S> {
    /// How long a closing connection waits for the peer to read the reason and close too.
    const LINGER: Duration = Duration::from_secs(1);

    pub(super) fn end(&mut self, why: Closed, cx: &mut Context<'_>) -> Poll<Closed> {
        self.shared.lock().ending = true;
        self.ending = Some(Box::new(Ending {
            why,
            said: false,
            patience: Box::pin(tokio::time::sleep(Self::LINGER)),
        }));
        self.poll_end(cx)
    }

    /// Writes the last words, then reads until the peer closes: a stream that is dropped with
    /// unread input is reset, and the peer may never see why.
    #[cold]
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        let Some(Ending { said, patience, .. }) = self.ending.as_deref_mut() else {
            return Poll::Pending;
        };
        if patience.as_mut().poll(cx).is_pending() {
            let said = *said || self.poll_last_words(cx).is_ready();
            if let Some(ending) = &mut self.ending {
                ending.said = said;
            }
            // Reads meanwhile: a peer may take the last words only once its own are read.
            let gone = self.poll_discard(cx).is_ready();
            if !(said && gone) {
                return Poll::Pending;
            }
        }
        let why = self.ending.take().map(|ending| ending.why);
        Poll::Ready(why.unwrap_or(Closed::Finished))
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        let Some(mut writer) = state.writer.take() else {
            // A caller is in a write; it wakes the driver when it is done.
            state.register(cx);
            return Poll::Pending;
        };
        let mut outgoing = state.protocol.outgoing().take();
        drop(state);
        let mut done = poll_write_all(&mut writer, &mut outgoing, cx);
        if matches!(done, Poll::Ready(Ok(()))) {
            done = Pin::new(&mut writer).poll_shutdown(cx);
        }
        let mut state = self.shared.lock();
        state.writer = Some(writer);
        state.protocol.outgoing().prepend(outgoing);
        done.map(|_| ())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        buffer::with(|buffer| {
            loop {
                let mut read = ReadBuf::new(buffer);
                match Pin::new(&mut self.reader).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
    }
}
