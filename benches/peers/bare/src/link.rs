//! What the tasks of a connection share: the outgoing bytes, and who writes them.
//!
//! Frames are encoded into one buffer under its lock. The driver writes them, after it went once to
//! the back of the queue of ready tasks, so that all that are ready have appended theirs.

use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::net::tcp::OwnedWriteHalf;

use crate::frame::Header;

pub(crate) struct Link<S> {
    writer: OwnedWriteHalf,
    state: Mutex<State<S>>,
}

pub(crate) struct State<S> {
    out: Vec<u8>,
    /// 0 <= written <= out.len()
    written: usize,
    /// The driver is going to write.
    armed: bool,
    driver: Option<Waker>,
    /// Of the client: its calls.
    pub(crate) side: S,
}

impl<S> Link<S> {
    pub(crate) fn new(writer: OwnedWriteHalf, side: S) -> Self {
        let state = State {
            out: Vec::new(),
            written: 0,
            armed: false,
            driver: None,
            side,
        };
        Self {
            writer,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().expect("nothing panics under the lock")
    }

    /// Lets the driver write, or writes if nobody else is going to append.
    #[inline]
    pub(crate) fn send(&self, mut state: MutexGuard<'_, State<S>>, alone: bool) {
        if state.armed {
            return;
        }
        if alone && state.write(&self.writer) {
            return;
        }
        state.armed = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// For the driver: writes what there is, and waits for room if it must.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut state = self.lock();
            if state.write(&self.writer) {
                state.armed = false;
                state.wait(cx);
                return Poll::Ready(());
            }
            state.wait(cx);
            drop(state);
            // An error shows itself to the reader.
            if self.writer.as_ref().poll_write_ready(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<S> State<S> {
    pub(crate) fn append(&mut self, header: Header, body: &[u8]) {
        header.write(body, &mut self.out);
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Arms the driver if there is something to write, or `soon` will be.
    pub(crate) fn arm(&mut self, soon: bool) -> bool {
        self.armed |= soon || !self.out.is_empty();
        self.armed
    }

    /// Has the driver woken when there is something to write.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
        {
            self.driver = Some(cx.waker().clone());
        }
    }

    /// Tells whether all is written.
    fn write(&mut self, writer: &OwnedWriteHalf) -> bool {
        while self.written < self.out.len() {
            let Ok(bytes) = writer.try_write(&self.out[self.written..]) else {
                return false;
            };
            self.written += bytes;
        }
        self.out.clear();
        self.written = 0;
        true
    }
}
