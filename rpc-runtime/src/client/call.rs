//! One call of a channel: encode, send, wait, decode.

use std::any::TypeId;
use std::borrow::Cow;
use std::future::Future;
use std::time::{Duration, Instant};

use rpc_core::codec::{CodecError, sharing};
use rpc_core::connection::RequestHead;
use rpc_core::{Deadline, DecodeLimits, Metadata, MethodDescriptor, MethodId, Status, split_path};
use serde_core::de::DeserializeOwned;

use super::resend::ResendPolicy;
use super::slot::{Answer, RawReply, ReplyBody};
use super::unary::{HowFar, Tried};
use super::{Channel, Route};
use crate::boxed::Boxed;
use crate::clock;
use crate::context::{self, Ambient, TRACEPARENT, TRACESTATE, TraceParent};
use crate::middleware::Names;
use crate::resilience::RetryPolicy;
use crate::stream::delivering;

/// A method by its names and id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodRef<'a> {
    pub(super) service: &'a str,
    pub(super) name: &'a str,
    pub(super) id: MethodId,
    idempotent: bool,
    timeout: Option<Duration>,
    /// What balancing hashes it by, if one of its arguments says.
    key: Option<u64>,
    /// Where the names are from, if it is called by a typed client.
    descriptor: Option<&'static MethodDescriptor>,
}

/// Appends the arguments of a call. Behind a pointer: so what becomes of a call is compiled once, with
/// this crate, and not again for each method.
pub(crate) type Encode<'a> = dyn Fn(&mut Vec<u8>) -> Result<(), CodecError> + Send + Sync + 'a;

/// One call on its way out: what it asks for, on what terms.
#[derive(Debug)]
pub(super) struct Outbound<'a> {
    pub(super) method: MethodRef<'a>,
    pub(super) oneway: bool,
    /// When it has to be over; with a `timeout` that has not begun, not known yet.
    pub(super) deadline: Option<Deadline>,
    timeout: Option<Duration>,
    /// When it was last asked how much time is left; meaningless without a deadline.
    now: Option<Instant>,
    pub(super) metadata: Cow<'a, Metadata>,
    pub(super) resend: ResendPolicy,
    /// What balancing hashes it by, if the caller says.
    pub(super) key: Option<u64>,
    /// When it is tried again, if the caller says.
    pub(super) retry: Option<&'a RetryPolicy>,
}

impl Outbound<'_> {
    /// Ends no later than the call that this one is part of, and belongs to its trace.
    fn inherit(&mut self, ambient: Ambient) {
        if let Some(trace) = ambient.trace {
            carry_trace(self.metadata.to_mut(), trace, ambient.trace_state);
        }
        let Some(ambient) = ambient.deadline else {
            return;
        };
        let now = clock::now();
        let own = self.timeout.take().map(|own| Deadline::after(now, own));
        self.deadline = Some(own.map_or(ambient, |own| own.min(ambient)));
        self.now = Some(now);
    }

    /// Starts the timeout, if it has not begun.
    pub(super) fn anchor(&mut self) {
        if let Some(timeout) = self.timeout.take() {
            let now = clock::now();
            self.deadline = Some(Deadline::after(now, timeout));
            self.now = Some(now);
        }
    }

    /// Takes over the deadline that an attempt was held to: the next one has no more time.
    pub(super) fn keep_deadline(&mut self, deadline: Option<Deadline>) {
        if deadline.is_some() {
            self.timeout = None;
            self.deadline = deadline;
            self.renew();
        }
    }

    /// Takes note that time has passed: the server is to know what is left.
    pub(super) fn renew(&mut self) {
        self.now = self.deadline.map(|_| clock::now());
    }

    /// When it was last asked how much time is left.
    pub(super) const fn now(&self) -> Option<Instant> {
        self.now
    }

    #[inline]
    pub(super) fn head(&self) -> RequestHead<'_> {
        let head = RequestHead::new(self.method.id).with_metadata(Some(&*self.metadata));
        if let Some(timeout) = self.timeout {
            return head.with_timeout_anchored_later(timeout);
        }
        match self.now {
            Some(now) => head.with_deadline(self.deadline, now),
            None => head,
        }
    }
}

impl<'a> MethodRef<'a> {
    /// From `Service.method`, split at the last dot.
    pub(super) fn parse(path: &'a str) -> Result<Self, Status> {
        let Some((service, name)) = split_path(path) else {
            return Err(Status::invalid_argument(format!(
                "ill-formed method {path:?}: expected Service.method"
            ))
            .with_not_processed());
        };
        Ok(Self {
            service,
            name,
            id: MethodId::of(service, name),
            idempotent: false,
            timeout: None,
            key: None,
            descriptor: None,
        })
    }
}

impl<'a> MethodRef<'a> {
    /// The method of the same name of another service.
    fn of_service(self, service: &'a str) -> Self {
        Self {
            service,
            id: MethodId::of(service, self.name),
            descriptor: None,
            ..self
        }
    }
}

impl From<&'static MethodDescriptor> for MethodRef<'static> {
    fn from(method: &'static MethodDescriptor) -> Self {
        Self {
            service: method.service,
            name: method.name,
            id: method.id,
            idempotent: method.idempotent,
            timeout: method.timeout,
            key: None,
            descriptor: Some(method),
        }
    }
}

impl MethodRef<'_> {
    pub(super) fn names(&self) -> Names {
        let given = || Names::given(self.service, self.name);
        self.descriptor.map_or_else(given, Names::Own)
    }

    /// Says by what balancing hashes the call, unless its caller does.
    pub(crate) const fn with_key(mut self, key: Option<u64>) -> Self {
        self.key = key;
        self
    }
}

impl Channel {
    /// Sends a request and waits for its answer; oneway, for the request to be queued.
    ///
    /// `encode` may be called again if the connection was lost before the request was written.
    #[inline]
    pub(crate) async fn exchange(
        &self,
        method: MethodRef<'_>,
        oneway: bool,
        encode: &Encode<'_>,
    ) -> Answer {
        // A call that is oneway, stays within the process, or finds no server may be over at once, and
        // whoever makes one after the other would never give way.
        tokio::task::consume_budget().await;
        let mut call = self.outbound(method, oneway);
        let intercepted = self.has_interceptors();
        let direct = !intercepted && !call.is_overdue();
        let answer = match &self.inner.route {
            // As `send` does, but not by way of it: each layer copies the reply.
            Route::Remote(remote) if direct => remote.exchange(&mut call, encode, None).await,
            Route::Pooled(pooled) if direct => pooled.exchange(&mut call, encode).await,
            Route::Balanced(balanced) if direct => balanced.exchange(&mut call, encode).await,
            _ if intercepted => self.send_intercepted(&mut call, encode).await,
            _ => self.send_boxed(&mut call, encode).await,
        };
        capture(&answer);
        answer
    }

    /// Goes on with a call from where it has come to.
    pub(crate) fn exchange_again<'a>(
        &'a self,
        method: MethodRef<'a>,
        encode: &'a Encode<'_>,
        tried: Tried,
    ) -> Boxed<'a, Answer> {
        Box::pin(self.try_again(method, encode, tried))
    }

    async fn try_again(&self, method: MethodRef<'_>, encode: &Encode<'_>, tried: Tried) -> Answer {
        let mut call = self.outbound(method, false);
        let answer = match tried.asked {
            Some(asked) => {
                self.go_on_asked(&mut call, encode, asked, *tried.how_far)
                    .await
            }
            None => self.go_on(&mut call, encode, *tried.how_far).await,
        };
        capture(&answer);
        answer
    }

    pub(super) async fn go_on(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        how_far: HowFar,
    ) -> Answer {
        match (&self.inner.route, how_far) {
            (_, HowFar::Unsent) => self.send(call, encode).await,
            (Route::Remote(remote), HowFar::One(lost)) => {
                remote.exchange(call, encode, Some(lost)).await
            }
            (Route::Balanced(balanced), HowFar::Fleet(begun)) => {
                balanced.persist(call, encode, begun).await
            }
            // Only who began a call goes on with it.
            _ => Err(Status::internal("the call came from another channel").into()),
        }
    }

    /// Works out the terms of a call: the nearest deadline of all that apply, the metadata.
    #[inline]
    fn outbound<'a>(&'a self, method: MethodRef<'a>, oneway: bool) -> Outbound<'a> {
        let method = match self.options.service_name() {
            Some(service) => method.of_service(service),
            None => method,
        };
        let timeout = self.timeout(method.timeout);
        let metadata = Cow::Borrowed(self.options.metadata());
        let mut call = Outbound {
            method,
            oneway,
            deadline: None,
            timeout,
            now: None,
            metadata,
            resend: ResendPolicy {
                idempotent: method.idempotent,
                wait_for_ready: self.options.wait_for_ready(),
            },
            key: self.options.hash_key().or(method.key),
            retry: self.options.retry(),
        };
        if let Some(ambient) = context::ambient() {
            call.inherit(ambient);
        }
        call
    }

    /// How long a call may take whose method says so much.
    #[inline]
    pub(super) fn timeout(&self, method: Option<Duration>) -> Option<Duration> {
        let timeout = self.options.timeout().or(method);
        timeout.or(self.inner.settings.default_timeout)
    }

    fn send_boxed<'a>(
        &'a self,
        call: &'a mut Outbound<'_>,
        encode: &'a Encode<'_>,
    ) -> Boxed<'a, Answer> {
        Box::pin(self.send(call, encode))
    }

    async fn send(&self, call: &mut Outbound<'_>, encode: &Encode<'_>) -> Answer {
        if call.is_overdue() {
            let status = late("the deadline had passed before the call was made");
            return Err(status.with_not_processed().into());
        }
        match &self.inner.route {
            Route::Remote(remote) => remote.exchange(call, encode, None).await,
            Route::Pooled(pooled) => pooled.exchange(call, encode).await,
            Route::Balanced(balanced) => balanced.exchange(call, encode).await,
            Route::One(balanced, endpoint) => balanced.exchange_with(endpoint, call, encode).await,
            Route::Invoked(invoked) => {
                call.anchor();
                invoked.exchange(call, encode).await
            }
        }
    }

    /// Decodes the reply of a method.
    #[inline]
    pub(crate) fn decode_reply<T: DeserializeOwned + 'static>(
        &self,
        service: &str,
        name: &str,
        mut reply: RawReply,
    ) -> Result<T, Status> {
        let limits = DecodeLimits::for_message(reply.body.len());
        let decode = || {
            let decode = || self.codec().decode(&reply.body, &limits);
            match &reply.body {
                ReplyBody::Shared(body) => sharing(body, decode),
                ReplyBody::Short(_) => decode(),
            }
        };
        let decoded = match reply.items.take() {
            None => decode(),
            Some(items) => delivering(*items, decode),
        };
        decoded.map_err(|error| undecodable(service, name, &error))
    }

    /// As [`decode_reply`](Self::decode_reply), of a short message with nothing beside it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    pub(crate) fn decode_short<T: DeserializeOwned + 'static>(
        &self,
        service: &str,
        name: &str,
        body: &[u8],
    ) -> Result<T, Status> {
        match self.codec().decode_short(body) {
            Some(value) => Ok(value),
            None => self.decode_plain(service, name, body),
        }
    }

    /// The same in another codec than the usual one, or once more of a message that is not what it should
    /// be, to say why.
    #[inline(never)]
    fn decode_plain<T: DeserializeOwned + 'static>(
        &self,
        service: &str,
        name: &str,
        body: &[u8],
    ) -> Result<T, Status> {
        let decoded = self.codec().decode(body, &DecodeLimits::default());
        decoded.map_err(|error| undecodable(service, name, &error))
    }

    /// The typed error that a status carries, or the status as such an error.
    pub(crate) fn decode_error<E>(&self, status: Status) -> E
    where
        E: DeserializeOwned + From<Status> + 'static,
    {
        let is_typed = TypeId::of::<E>() != TypeId::of::<Status>();
        let Some(body) = status.error_body().filter(|_| is_typed) else {
            return status.into();
        };
        let decoded = self.codec().decode(body, &DecodeLimits::default());
        decoded.unwrap_or_else(|_| status.into())
    }
}

#[cold]
fn undecodable(service: &str, name: &str, error: &CodecError) -> Status {
    Status::internal(format!(
        "the reply of {service}.{name} could not be decoded: {error}"
    ))
}

/// Hands over the metadata of an answer, if anybody wants it.
#[inline]
pub(super) fn capture(answer: &Answer) {
    context::capture(match answer {
        Ok(reply) => &reply.metadata,
        Err(failure) => failure.status.metadata(),
    });
}

impl Outbound<'_> {
    /// True if no time was left from the beginning.
    #[inline]
    fn is_overdue(&self) -> bool {
        let left = self.deadline.zip(self.now);
        let has_passed = left.is_some_and(|(deadline, now)| deadline.has_passed(now));
        has_passed || self.timeout == Some(Duration::ZERO)
    }
}

/// Adds the trace that the caller's own call belongs to, unless the caller says otherwise.
#[cold]
fn carry_trace(metadata: &mut Metadata, trace: TraceParent, state: Option<String>) {
    if metadata.get(TRACEPARENT).is_some() {
        return;
    }
    // Metadata that is full goes without: the call matters more than its trace.
    let added = metadata.append(TRACEPARENT, &trace.to_string());
    if let (Ok(()), Some(state)) = (added, state) {
        let _ = metadata.append(TRACESTATE, &state);
    }
}

/// What a future gives, unless the deadline comes before.
pub(super) async fn in_time<F: Future>(deadline: Option<Deadline>, future: F) -> Option<F::Output> {
    let Some(deadline) = deadline else {
        return Some(future.await);
    };
    let deadline = tokio::time::Instant::from_std(deadline.instant());
    tokio::time::timeout_at(deadline, future).await.ok()
}

pub(super) fn late(text: &'static str) -> Status {
    Status::deadline_exceeded(text)
}
