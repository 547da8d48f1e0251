//! What the driver does with what it reads: answers to their calls, and the end to all of them.

use std::fmt;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use rpc_core::Status;
use rpc_core::connection::{ClientEvent, ConnectionError};
use tokio::sync::oneshot;

use super::super::slot::{CallStreams, Failure};
use super::super::streams::{handle_stream_event, open_inbox, start_uploads};
use super::super::woken::Woken;
use super::{Client, fail};
use crate::connection::{Closed, Progress, Shared, Side};
use crate::transport::Peer;

/// The driver's half of the client.
pub(in crate::client) struct ClientSide {
    pub(super) peer: Peer,
    pub(super) opened: Option<oneshot::Sender<Result<(), Closed>>>,
    /// Callers to wake once the lock is released; empty between calls, kept for its memory.
    pub(super) woken: Woken,
}

impl ClientSide {
    fn unavailable(&self, why: &dyn fmt::Display) -> Status {
        Status::unavailable(format!("connection to {} lost: {why}", self.peer))
    }

    fn fail_all(&mut self, shared: &Shared<Client>, status: &Status) {
        let woken = &mut self.woken.others;
        shared.lock().protocol.fail_all(status, woken);
        self.woken.wake();
    }

    /// What comes next in the input and is more than a plain reply; true if a call was answered. `None`
    /// if there is nothing left.
    ///
    /// Not inlined: most reads do without it.
    #[inline(never)]
    fn process_event(
        &mut self,
        client: &mut Client,
        input: &mut &[u8],
    ) -> Result<Option<bool>, ConnectionError> {
        let Some(event) = client.core.handle_input(input)? else {
            return Ok(None);
        };
        let (call, answer) = match event {
            ClientEvent::Replied(call, reply) => {
                client.answered = true;
                if reply.items {
                    open_inbox(&mut client.core, call);
                }
                (call, Ok(reply.into()))
            }
            ClientEvent::Failed {
                call,
                status,
                unknown_method,
            } => {
                client.answered |= !status.is_not_processed();
                let failure = Failure {
                    status,
                    unknown_method,
                };
                (call, Err(failure))
            }
            ClientEvent::Opened => {
                client.opened = true;
                start_uploads(client, &mut self.woken.others);
                if let Some(opened) = self.opened.take() {
                    // Nobody may be waiting.
                    let _ = opened.send(Ok(()));
                }
                return Ok(Some(false));
            }
            ClientEvent::GoAway { last, reason } => {
                let status =
                    Status::unavailable(format!("{} takes no new calls: {reason}", self.peer));
                let status = status.with_not_processed();
                let woken = &mut self.woken.others;
                woken.extend(client.watcher.take());
                client
                    .core
                    .close_above(last, |entry| fail(entry, status.clone(), woken));
                client.closed.get_or_insert(status);
                woken.extend(client.waiters.drain());
                return Ok(Some(false));
            }
            other => {
                let woken = &mut self.woken.others;
                woken.extend(handle_stream_event(&mut client.core, other));
                return Ok(Some(false));
            }
        };
        let mut answered = false;
        if let Some(entry) = client.core.data(call) {
            if entry.streams.is_some() {
                self.woken.others.extend(entry.note_answer(&answer));
            }
            let caller = entry.answer(answer);
            // Whoever consumes a stream comes with the next of its items.
            let items_follow = |streams: &CallStreams| streams.reader.is_some();
            let is_whole = !entry.streams.as_deref().is_some_and(items_follow);
            answered = caller.is_some() && is_whole;
            self.woken.others.extend(caller);
        }
        Ok(Some(answered))
    }
}

impl Side for ClientSide {
    type Protocol = Client;

    const READS_ONLY_WHEN_FLUSHED: bool = false;

    fn process(
        &mut self,
        shared: &Arc<Shared<Client>>,
        input: &mut &[u8],
        now: Instant,
        _: &mut Context<'_>,
    ) -> Result<Progress, ConnectionError> {
        let mut state = shared.lock();
        let client = &mut state.protocol;
        client.core.handle_receipt(now);
        client.reports.heard(now);
        let mut answered = false;
        loop {
            let before = self.woken.len();
            let lender = &client.lender;
            let was_all = client.core.handle_plain_replies(input, |entry, message| {
                entry.reply(message, lender, &mut self.woken)
            });
            let have_answered = self.woken.len() > before;
            client.answered |= have_answered;
            answered |= have_answered;
            if was_all {
                break;
            }
            let Some(has_answered) = self.process_event(client, input)? else {
                break;
            };
            answered |= has_answered;
        }
        client.call_waiters(&mut self.woken.others);
        let (woke, woke_many) = (self.woken.len() > 0, self.woken.len() > 1);
        if woke_many {
            // The driver flushes after them, so they need not wake it.
            shared.arm(&mut state);
            state.protocol.reports.begin_turn(now);
        }
        drop(state);
        if woke_many {
            self.woken.wake_by_ref();
            shared.lock().protocol.spares.keep(&mut self.woken);
            self.woken.clear();
        } else {
            self.woken.wake();
        }
        Ok(Progress {
            woke_many,
            woke,
            answered,
        })
    }

    fn handle_timeout(
        &mut self,
        shared: &Shared<Client>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let (peer, woken) = (&self.peer, &mut self.woken.others);
        let mut state = shared.lock();
        let client = &mut state.protocol;
        let handled = client.core.handle_timeout(now, |entry| {
            let status = Status::deadline_exceeded(format!("no answer from {peer} in time"));
            fail(entry, status, woken);
        });
        client.waiters.overdue(now, |waker| woken.push(waker));
        drop(state);
        self.woken.wake();
        handled
    }

    fn ending(&mut self, shared: &Shared<Client>, why: &Closed) {
        let mut status = self.unavailable(why);
        if let Closed::Protocol(ConnectionError::Refused(_)) = why {
            status = status.with_not_processed();
        }
        self.fail_all(shared, &status);
    }

    fn closed(&mut self, shared: &Shared<Client>, why: Closed) {
        let status = self.unavailable(&why);
        self.fail_all(shared, &status);
        if let Some(opened) = self.opened.take() {
            // Nobody may be waiting.
            let _ = opened.send(Err(why));
        }
    }
}
