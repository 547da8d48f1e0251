//! A call whose handler waits: what can stop it, and what it still receives.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use rpc_core::Codec;
use rpc_core::connection::{CallId, ServerEvent};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connection::{ServerShared, Serving};
use super::orphans::Orphan;
use crate::clock;
use crate::connection::Carrier;
use crate::dispatch::Running;
use crate::stream::{Downlink, Inbox, InboxWriter, Receiver};

/// What a connection keeps for a call that was not answered at once.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// The handler's task; absent until it is spawned.
    pub(super) task: Option<JoinHandle<()>>,
    /// Nobody waits for the handler.
    pub(super) oneway: bool,
    pub(super) deadline: Option<Instant>,
    /// Where the arguments go that are on their way.
    body: Option<oneshot::Sender<Bytes>>,
    /// The handler that has nothing to do before they are here.
    pub(super) early: Option<Box<Running>>,
    /// Where the items behind the request go.
    inbox: Option<InboxWriter>,
    /// The task that sends the items behind the reply, while it waits for credit.
    pub(super) sender: Option<Waker>,
}

impl Parked {
    pub(super) fn new(oneway: bool, deadline: Option<Instant>) -> Self {
        Self {
            oneway,
            deadline,
            ..Self::default()
        }
    }

    /// Drops the future of a handler whose caller has gone.
    pub(super) fn stop(self) {
        if let Some(task) = self.task {
            task.abort();
        }
    }

    /// The connection has ended: gives the handler that runs on, and stops any other.
    pub(super) fn leave(self) -> Option<Orphan> {
        if !self.oneway {
            self.stop();
            return None;
        }
        let deadline = self.deadline;
        self.task.map(|task| Orphan { task, deadline })
    }

    pub(super) fn receive_body(&mut self) -> oneshot::Receiver<Bytes> {
        let (sender, receiver) = oneshot::channel();
        self.body = Some(sender);
        receiver
    }

    /// The arguments are here; gives the handler that has waited for them.
    pub(super) fn take_body(&mut self, body: Bytes) -> Option<Box<Running>> {
        if let Some(sender) = self.body.take() {
            // Whoever does not wait any more has ended the call.
            let _ = sender.send(body);
        }
        self.early.take()
    }

    pub(super) fn receive_items(
        &mut self,
        shared: &Arc<ServerShared>,
        call: CallId,
        codec: &Codec,
    ) -> Box<Receiver> {
        let (writer, inbox) = Inbox::new();
        self.inbox = Some(writer);
        let receiver = Receiver::new(codec.clone(), inbox, call, shared.clone());
        Box::new(receiver)
    }
}

/// Acts on what the client has sent or taken of a call that is parked; true if its task was woken.
pub(super) fn handle_stream_event(shared: &ServerShared, event: ServerEvent<'_, Parked>) -> bool {
    let woken = {
        let core = &mut shared.lock().protocol.core;
        match event {
            ServerEvent::Items(call, items) => {
                let inbox = core.parked(call).and_then(|parked| parked.inbox.as_ref());
                inbox.and_then(|inbox| inbox.push(items))
            }
            ServerEvent::ItemsEnded(call, end) => {
                let inbox = core.parked(call).and_then(|parked| parked.inbox.take());
                inbox.and_then(|inbox| inbox.end(end))
            }
            ServerEvent::Credited(call) => {
                core.parked(call).and_then(|parked| parked.sender.take())
            }
            _ => None,
        }
    };
    let woke = woken.is_some();
    if let Some(woken) = woken {
        woken.wake();
    }
    woke
}

impl Downlink for ServerShared {
    fn consumed(&self, call: CallId, bytes: usize) -> usize {
        self.say(call, |serving: &mut Serving| {
            serving.streams().consumed(call, bytes, clock::now())
        })
    }

    fn abandon(&self, call: CallId) {
        self.say(call, |serving: &mut Serving| serving.core.stop_items(call));
    }
}
