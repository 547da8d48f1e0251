//! Calls whose handler cannot start at once: interceptors are asked first, or the arguments are
//! still on their way.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::Status;
use rpc_core::codec::sharing;
use rpc_core::connection::Answered;
use rpc_core::wire;
use tokio::sync::oneshot;

use super::{HANDLER_PANICKED, NOT_DISPATCHED, dispatch, log_panic, poll_task};
use crate::boxed::Boxed;
use crate::contain::contain;
use crate::context::{self, Context};
use crate::dispatch::incoming::Dispatched;
use crate::dispatch::responder::OwnedResponder;
use crate::dispatch::router::Method;
use crate::middleware::{CallInfo, Chain, Interceptor};
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
        later: Option<oneshot::Receiver<Bytes>>,
        items: Option<Box<Receiver>>,
    ) -> Self {
        let here = || Body::Here(body.clone().into_bytes());
        let body = later.map_or_else(here, Body::Later);
        Self { body, items }
    }
}

/// Asks the interceptors, waits for the arguments, then dispatches: a refused body is not waited for
/// and never decoded.
pub(super) fn run(
    interceptors: Arc<[Arc<dyn Interceptor>]>,
    method: Arc<Method>,
    responder: OwnedResponder,
    arguments: Arguments,
) -> Boxed<'static, Answered> {
    Box::pin(async move {
        let mut asked = None;
        if !interceptors.is_empty() {
            let context = Context::current();
            let (chain, info) = asked.insert((Chain::new(&interceptors), about(&method, &context)));
            if let Err(status) = chain.before(info).await {
                let answered = responder.lend().fail(&status.with_not_processed());
                chain.after(info, answered);
                return answered;
            }
            if info.metadata != *context.metadata() {
                context::replace_metadata(info.metadata.clone());
            }
        }
        let handled = contain(handle(&method, &responder, arguments)).await;
        let answered = handled.unwrap_or_else(|panic| {
            log_panic(&method, &panic);
            responder.lend().fail(&Status::internal(HANDLER_PANICKED))
        });
        if let Some((chain, info)) = asked {
            chain.after(&info, answered);
        }
        answered
    })
}

fn about(method: &Method, context: &Context) -> CallInfo {
    CallInfo {
        service: method.service_name.clone(),
        method: method.descriptor.name.to_owned(),
        metadata: context.metadata().clone(),
        peer: context.peer().cloned(),
        deadline: context.deadline(),
    }
}

async fn handle(method: &Method, responder: &OwnedResponder, arguments: Arguments) -> Answered {
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
        dispatch(method, &responder, &body, &mut items, &mut task)
    });
    match (dispatched, task) {
        (Dispatched::Made, Some(mut task)) => {
            poll_fn(|cx| poll_task(&mut task, &responder.lend(), cx)).await
        }
        (Dispatched::Answered(answered), _) => answered,
        _ => responder.lend().fail(&Status::internal(NOT_DISPATCHED)),
    }
}
