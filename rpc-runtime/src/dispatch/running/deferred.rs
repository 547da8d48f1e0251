//! Calls whose handler cannot start at once: the arguments are still on their way, or an interceptor
//! takes its time.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::Status;
use rpc_core::codec::sharing;
use rpc_core::connection::Answered;
use rpc_core::wire;
use tokio::sync::oneshot;

use super::handler::{NOT_DISPATCHED, dispatch, poll_task};
use crate::boxed::Boxed;
use crate::dispatch::incoming::Dispatched;
use crate::dispatch::responder::OwnedResponder;
use crate::dispatch::router::Method;
use crate::stream::Receiver;

/// What a handler is called with, not decoded and maybe not here.
pub(super) struct Arguments {
    body: Body,
    items: Option<Box<Receiver>>,
}

enum Body {
    Here(Bytes),
    Later(oneshot::Receiver<Bytes>),
}

impl Arguments {
    pub(super) fn new(
        body: &wire::Body<'_>,
        later: &mut Option<oneshot::Receiver<Bytes>>,
        items: &mut Option<Box<Receiver>>,
    ) -> Self {
        let here = || Body::Here(body.clone().into_bytes());
        Self {
            body: later.take().map_or_else(here, Body::Later),
            items: items.take(),
        }
    }
}

/// Waits for the arguments, then dispatches.
pub(super) fn run(
    method: Arc<Method>,
    responder: OwnedResponder,
    arguments: Arguments,
) -> Boxed<'static, Answered> {
    Box::pin(handle(method, responder, arguments))
}

async fn handle(method: Arc<Method>, responder: OwnedResponder, arguments: Arguments) -> Answered {
    let body = match arguments.body {
        Body::Here(body) => body,
        Body::Later(later) => match later.await {
            Ok(body) => body,
            // The connection has ended the call.
            Err(_) => {
                return responder
                    .lend()
                    .fail(&Status::cancelled("the arguments did not arrive"));
            }
        },
    };
    let mut task = None;
    let dispatched = sharing(&body, || {
        let (responder, mut items) = (responder.lend(), arguments.items);
        let body = wire::Body::Owned(body.clone());
        dispatch(&method, &responder, &body, &mut items, &mut task)
    });
    match (dispatched, task) {
        (Dispatched::Made, Some(mut task)) => {
            poll_fn(|cx| poll_task(&mut task, &responder.lend(), cx)).await
        }
        (Dispatched::Answered(answered), _) => answered,
        _ => responder.lend().fail(&Status::internal(NOT_DISPATCHED)),
    }
}
