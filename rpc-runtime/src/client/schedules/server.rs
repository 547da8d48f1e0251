//! The server's end: the real state machine, and handlers that take a while.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rpc_core::connection::{CallId, ServerConnection, ServerEvent};
use shuttle::future::yield_now;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;

use super::pipe::Pipe;
use super::{Answers, Disturbance};
use crate::clock;

/// A server with one connection.
pub(super) struct Server {
    core: ServerConnection<u64>,
    input: Pipe,
    output: Pipe,
    alarm: Alarm,
    answers: Answers,
    /// Calls that run, whether they are oneway, and whether they have a deadline.
    running: Vec<(CallId, bool, bool)>,
    /// Requests read.
    requests: usize,
    /// The nonces of the calls that ran.
    ran: Vec<u64>,
    /// What waits for the end of a oneway call.
    stash: Vec<u8>,
}

/// Serves until the client has gone; gives what ran.
pub(super) async fn serve(
    mut server: Server,
    disturbance: Disturbance,
    answers: Answers,
) -> Vec<u64> {
    server.answers = answers;
    loop {
        let mut bytes = std::mem::take(&mut server.stash);
        if bytes.is_empty() || server.core.is_paused() {
            bytes.extend(server.next().await);
        }
        if bytes.is_empty() && server.input.is_ended() {
            break;
        }
        let mut input = &bytes[..];
        while let Some(event) = server.core.handle_input(&mut input).expect("a fair client") {
            if let ServerEvent::Request(request) = event {
                let nonce = u64::from_le_bytes((*request.body).try_into().expect("a nonce"));
                let deadline = request.timeout.map(|timeout| clock::now() + timeout);
                server.ran.push(nonce);
                server.requests += 1;
                let (id, oneway) = (request.id, request.oneway);
                if oneway {
                    server.core.park_oneway(id, deadline, nonce);
                } else {
                    server.core.park(id, deadline, nonce);
                }
                server.running.push((id, oneway, deadline.is_some()));
            }
        }
        server.stash = input.to_vec();
        match disturbance {
            Disturbance::Cut(after) if server.requests >= after => break,
            Disturbance::GoAway(after) if server.requests >= after => {
                server.core.drain(clock::now(), "bye")
            }
            _ => {}
        }
        if !server.running.is_empty() && thread_rng().r#gen() {
            server.flush().await;
            yield_now().await;
        }
        let (later, now) = std::mem::take(&mut server.running)
            .into_iter()
            .partition(|(_, _, timed)| *timed && server.answers == Answers::Untimed);
        server.running = later;
        let now: Vec<_> = now;
        for (id, oneway, _) in now {
            server.answer(id, oneway);
        }
        server.flush().await;
    }
    server.output.end();
    server.input.end();
    server.ran
}

impl Server {
    pub(super) fn new(core: ServerConnection<u64>, pipes: (Pipe, Pipe), alarm: Alarm) -> Self {
        let (input, output) = pipes;
        Self {
            core,
            input,
            output,
            alarm,
            answers: Answers::All,
            running: Vec::new(),
            requests: 0,
            ran: Vec::new(),
            stash: Vec::new(),
        }
    }

    /// Waits for bytes, the end of the client, or the time.
    async fn next(&mut self) -> Vec<u8> {
        let bytes = poll_fn(|cx| {
            if self.alarm.poll(cx).is_ready() {
                self.answers = Answers::All;
                return Poll::Ready(Vec::new());
            }
            self.input.poll_take(cx, usize::MAX)
        });
        let bytes = bytes.await;
        let now = clock::now();
        self.core.handle_receipt(now, bytes.len());
        self.core.handle_timeout(now, drop).expect("no timers");
        bytes
    }

    fn answer(&mut self, id: CallId, oneway: bool) {
        let Some(nonce) = self.core.unpark(id) else {
            return;
        };
        if oneway {
            return self.core.finish_oneway(id);
        }
        let metadata = rpc_core::Metadata::new();
        self.core.reply(id, &metadata, |out| {
            out.extend_from_slice(&nonce.to_le_bytes());
            Ok(())
        });
    }

    async fn flush(&mut self) {
        while !self.core.outgoing().is_empty() {
            let chunk = self.core.outgoing().chunk();
            match poll_fn(|cx| self.output.poll_put(cx, chunk)).await {
                Ok(count) => self.core.outgoing().advance(count),
                Err(_) => return,
            }
        }
    }
}

/// Rings once.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Mutex<(bool, Option<Waker>)>>);

impl Alarm {
    pub(super) fn ring(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if std::mem::take(&mut state.0) {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}
