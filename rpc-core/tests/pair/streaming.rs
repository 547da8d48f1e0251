//! What a test does on either side of the streams of a call.

use rpc_core::connection::{Answered, CallId, RequestHead, Sent};
use rpc_core::wire::{Batch, Follows};
use rpc_core::{Metadata, Status};

use super::harness::*;

/// A batch of these items.
pub(crate) fn batch(items: &[&[u8]]) -> Batch {
    let mut batch = Batch::new();
    for item in items {
        let pushed = batch.push(LIMIT, |out| {
            out.extend_from_slice(item);
            Ok::<_, ()>(())
        });
        pushed.unwrap();
    }
    batch
}

impl Pair {
    /// Starts a call of [`STREAM`] with items behind its request.
    pub(crate) fn start_stream(&mut self, kept: u64, body: &[u8]) -> CallId {
        self.start_stream_with(RequestHead::new(STREAM), kept, body)
    }

    pub(crate) fn start_stream_with(
        &mut self,
        head: RequestHead<'_>,
        kept: u64,
        body: &[u8],
    ) -> CallId {
        let call = self.client.start_call(head, kept, |out| {
            out.extend_from_slice(body);
            Ok(Follows::Items)
        });
        let call = call.unwrap();
        self.calls.insert(kept, call);
        call
    }

    /// The handler replies, and items follow.
    pub(crate) fn begin_reply(&mut self, call: CallId, body: &[u8]) {
        let answered = self.server.reply(call, &Metadata::new(), |out| {
            out.extend_from_slice(body);
            Ok(Follows::Items)
        });
        assert_eq!(answered, Answered::Items);
    }

    pub(crate) fn client_sends(&mut self, call: CallId, items: &[&[u8]]) -> Sent {
        self.client.streams().send(call, &mut batch(items))
    }

    pub(crate) fn server_sends(&mut self, call: CallId, items: &[&[u8]]) -> Sent {
        self.server.streams().send(call, &mut batch(items))
    }

    /// The handler ends its call, whatever it is at.
    pub(crate) fn fail(&mut self, call: CallId, status: &Status) {
        self.server.unpark(call).expect("it is parked");
        self.server.fail(call, status);
    }
}
