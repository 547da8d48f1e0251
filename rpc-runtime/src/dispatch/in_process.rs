//! A client wired to the services of this process, without a socket.

use std::sync::{Arc, Mutex, PoisonError};

use rpc_core::codec::CodecError;
use rpc_core::connection::{Answered, CallId};
use rpc_core::wire::{Body, Encoded, Follows};
use rpc_core::{Codec, Deadline, Metadata, MethodId, Status};

use super::{Apart, CallStart, Place, Respond, Router, Running, Shift, Started};
use crate::boxed::{Boxed, boxed};
use crate::clock;
use crate::context::Frame;
use crate::invoke::{Invoke, Request, Response};
use crate::stream::{Items, Pump, Receiver, Source, in_current_context};

/// Answers calls with the services of a server builder: bodies are encoded and decoded, handlers
/// run in the task of their caller, and nothing is sent anywhere.
#[derive(Clone, Debug)]
pub struct InProcess {
    router: Arc<Router>,
    message_bytes_max: u32,
}

impl InProcess {
    pub(crate) const fn new(router: Arc<Router>, message_bytes_max: u32) -> Self {
        Self {
            router,
            message_bytes_max,
        }
    }

    async fn answer(&self, request: Request) -> Result<Response, Status> {
        let (service, method) = (&*request.service, &*request.method);
        let id = MethodId::of(service, method);
        let Some(method) = self.router.find(id) else {
            return Err(self.missing(service, method).with_not_processed());
        };
        let (length, limit) = (request.body.len(), self.message_bytes_max);
        if length > limit as usize {
            let text = format!("the arguments have {length} bytes; the limit is {limit}");
            return Err(Status::resource_exhausted(text).with_not_processed());
        }
        let source = request.items.and_then(|items| items.take());
        let answer = Arc::new(Collected::default());
        let respond: Arc<dyn Respond> = answer.clone();
        let now = clock::now();
        let deadline = request.timeout.map(|t| Deadline::after(now, t));
        let items = |source| Box::new(Receiver::direct(self.codec(), source, limit as usize));
        let mut frame = Frame::new(deadline, request.metadata);
        let start = CallStart {
            call: CallId::FIRST,
            oneway: request.oneway,
            codec: &self.codec(),
            respond: &respond,
            collection: None,
            surroundings: Apart(&mut frame),
            body: &Body::Owned(request.body),
            later: None,
            items: source.map(items),
        };
        let mut place = Place::default();
        let mut shift = Shift::new(&self.router, &mut place, now, false);
        let started = Running::start(&self.router, method, start, &mut shift, None);
        drop(shift);
        drop(place);
        if let Started::Waits(running) = started {
            running.await;
        }
        answer.take()
    }
}

impl Invoke for InProcess {
    #[inline]
    fn invoke<'i: 'f, 'f>(&'i self, request: Request) -> Boxed<'f, Result<Response, Status>> {
        boxed(self.answer(request))
    }

    fn codec(&self) -> Codec {
        Codec::default()
    }
}

impl InProcess {
    fn missing(&self, service: &str, method: &str) -> Status {
        if self.router.has_service(service) {
            return Status::unimplemented(format!("service {service:?} has no method {method:?}"));
        }
        Status::not_found(format!("this process has no service {service:?}"))
    }
}

/// Keeps the answer for the caller.
#[derive(Default)]
struct Collected {
    answer: Mutex<Option<Result<Response, Status>>>,
}

impl Collected {
    fn put(&self, answer: Result<Response, Status>) {
        let mut slot = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(answer);
    }

    fn take(&self) -> Result<Response, Status> {
        let taken = self
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        taken.unwrap_or_else(|| Err(Status::internal("the call ended without an answer")))
    }
}

impl Respond for Collected {
    fn reply(
        &self,
        call: CallId,
        metadata: &Metadata,
        body: &mut dyn FnMut(&mut Vec<u8>) -> Result<Encoded, CodecError>,
    ) -> Answered {
        let mut encoded = Vec::new();
        let Encoded { follows, parts, .. } = match body(&mut encoded) {
            Ok(told) => told,
            Err(error) => {
                let status = Status::internal("the reply could not be encoded").with_source(error);
                return self.fail(call, &status);
            }
        };
        let response = Response::new(parts.fill(encoded)).with_metadata(metadata.clone());
        self.put(Ok(response));
        match follows {
            Follows::Items => Answered::Items,
            _ => Answered::Reply,
        }
    }

    fn send_items(self: Arc<Self>, _: CallId, source: Box<dyn Source>, _: Codec) -> Option<Pump> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(response)) = &mut *answer {
            response.items = Some(Items::new(in_current_context(source)));
        }
        None
    }

    fn end_items(&self, _: CallId) -> Answered {
        Answered::Reply
    }

    fn fail(&self, _: CallId, status: &Status) -> Answered {
        self.put(Err(status.clone()));
        Answered::Error(status.code())
    }

    fn fail_unknown_method(&self, call: CallId, status: &Status) -> Answered {
        self.fail(call, status)
    }

    fn finish_oneway(&self, _: CallId) {
        self.put(Ok(Response::default()));
    }
}
