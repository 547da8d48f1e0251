//! The streams of calls, at the client's end of a connection.

use std::sync::Arc;
use std::task::{Poll, Waker};

use rpc_core::connection::{CallId, ClientConnection, ClientEvent};

use super::connection::{Client, Connection};
use super::slot::{Entry, Upload};
use crate::boxed::boxed;
use crate::clock;
use crate::connection::{Carrier, Shared};
use crate::context::Context;
use crate::stream::{Downlink, Inbox, Pump, PumpEnd, Receiver, Source};

type Core = ClientConnection<Entry>;

/// Items follow the reply of a call: makes room for them.
pub(super) fn open_inbox(core: &mut Core, call: CallId) {
    if let Some(entry) = core.data(call) {
        let (writer, reader) = Inbox::new();
        let streams = entry.streams();
        streams.inbox = Some(writer);
        streams.reader = Some(reader);
    }
}

/// Acts on what the server has sent, taken or stopped of streams; gives whom to wake.
pub(super) fn handle_stream_event(core: &mut Core, event: ClientEvent<'_>) -> Option<Waker> {
    match event {
        ClientEvent::Items(call, items) => {
            let streams = core.data(call)?.streams.as_ref()?;
            streams.inbox.as_ref()?.push(items)
        }
        ClientEvent::Ended(call) => core.data(call)?.end(Ok(())),
        ClientEvent::Credited(call) => core.data(call)?.streams.as_mut()?.uploader.take(),
        ClientEvent::Stopped(call) => {
            core.data(call)?.streams.as_mut()?.upload = None;
            None
        }
        _ => None,
    }
}

/// Starts to send the items behind a request.
pub(super) fn upload(
    connection: &Connection,
    client: &mut Client,
    call: CallId,
    source: Box<dyn Source>,
) {
    let (Some(runtime), Some(entry)) = (&connection.runtime, client.core.data(call)) else {
        return;
    };
    let (shared, codec) = (connection.shared.clone(), connection.codec.clone());
    let sending = Context::current().scope(send(shared, call, source, codec));
    let task = runtime.spawn(boxed(sending));
    entry.streams().upload = Some(Upload(task.abort_handle()));
}

async fn send(
    shared: Arc<Shared<Client>>,
    call: CallId,
    source: Box<dyn Source>,
    codec: rpc_core::Codec,
) {
    opened(&shared, call).await;
    let pump = Pump::new(shared.clone(), call, source, codec);
    if let PumpEnd::Ended(end) = pump.await {
        let end = end.as_ref().err().map_or(Ok(()), Err);
        shared.say(call, |client| client.core.end_items(call, end));
    }
}

/// Ready once the server has said how much it takes of what. Nothing is asked of the source before:
/// if the server refuses, the call can be sent again.
async fn opened(shared: &Shared<Client>, call: CallId) {
    std::future::poll_fn(|cx| {
        let client = &mut shared.lock().protocol;
        if client.opened {
            return Poll::Ready(());
        }
        if let Some(entry) = client.core.data(call) {
            let known = entry.streams().uploader.replace(cx.waker().clone());
            if known.is_none() {
                client.early.push(call);
            }
        }
        Poll::Pending
    })
    .await;
}

/// The connection is open: adds whom to wake to `woken`.
pub(super) fn start_uploads(client: &mut Client, woken: &mut Vec<Waker>) {
    for call in std::mem::take(&mut client.early) {
        let entry = client.core.data(call);
        woken.extend(entry.and_then(|entry| entry.streams.as_mut()?.uploader.take()));
    }
}

/// The items behind the reply of a call. The connection is held until they are consumed.
pub(super) fn receiver(
    connection: &Arc<Connection>,
    call: CallId,
    inbox: Arc<Inbox>,
) -> Box<Receiver> {
    let codec = connection.codec.clone();
    Box::new(Receiver::new(codec, inbox, call, connection.clone()))
}

impl Downlink for Connection {
    fn consumed(&self, call: CallId, bytes: usize) -> usize {
        self.shared.say(call, |client| {
            client.streams().consumed(call, bytes, clock::now())
        })
    }

    fn abandon(&self, call: CallId) {
        let (released, next) = self
            .shared
            .say(call, |client| (client.release(call), client.next_waiter()));
        // Outside of the lock: dropping a waker may run a task's destructor.
        drop(released);
        if let Some(next) = next {
            next.wake();
        }
    }
}
