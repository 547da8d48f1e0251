//! Calls that interceptors see: they are asked, the call is made, they are told.
//!
//! Who is ready at once leaves the call on the short way ([`unary`](super::unary)); it takes its inquiry
//! along, to tell them of the answer. One that waits is polled on elsewhere, as it is: nobody is asked
//! twice. The time is that of the turn, which the driver of a connection has looked at for all
//! calls that are made together.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rpc_core::connection::{Answered, RequestHead};
use rpc_core::{Deadline, MethodDescriptor};

use super::call::{Encode, Outbound};
use super::slot::{Answer, Failure};
use super::unary::HowFar;
use super::{Channel, Route};
use crate::boxed::Boxed;
use crate::clock;
use crate::context;
use crate::middleware::{CallInfo, Inquiry, Names};

/// Interceptors that know of a call.
pub(super) type Asked<'a> = Pin<Box<dyn Inquiry + 'a>>;

/// What they said of a call on the short way.
pub(super) enum Said<'a> {
    LetThrough(Asked<'a>, Held),
    Refused(Failure),
    /// Nothing yet.
    Waits(Asked<'a>),
}

/// To what a call is held that goes the short way.
pub(super) enum Held {
    /// To its own timeout, if it has one, which begins with those of the calls that are made together.
    Alone(Option<Duration>),
    /// To its deadline, which is near or that of the call that it is part of; the time now.
    Within(Instant),
}

impl Held {
    /// True if the interceptors have used up the time of the call.
    pub(super) fn is_late(&self, call: &CallInfo) -> bool {
        match (self, call.deadline()) {
            (Self::Within(now), Some(deadline)) => deadline.has_passed(*now),
            _ => false,
        }
    }
}

/// What a driver saw of the clock may be some milliseconds old. A call that has less time than this is
/// worth looks of its own, before and after the interceptors are asked.
const GLANCE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

impl Channel {
    /// Asks about a call, if it may go the short way.
    pub(super) fn ask(
        &self,
        method: &'static MethodDescriptor,
        cx: &mut Context<'_>,
    ) -> Option<Said<'_>> {
        let timeout = self.timeout(method.timeout);
        let is_short = matches!(self.inner.route, Route::Remote(_) | Route::Balanced(_))
            && self.options.service_name().is_none()
            && timeout != Some(Duration::ZERO);
        let ambient = context::ambient().unwrap_or_default();
        if !is_short || ambient.trace.is_some() {
            return None;
        }
        let is_near = timeout.is_some_and(|timeout| timeout < GLANCE_TIMEOUT_MIN);
        let is_exact = is_near || ambient.deadline.is_some();
        let now = if is_exact {
            clock::now()
        } else {
            self.this_turn()
        };
        let own = timeout.map(|timeout| Deadline::after(now, timeout));
        let deadline = match (own, ambient.deadline) {
            (Some(own), Some(ambient)) => Some(own.min(ambient)),
            (one, other) => one.or(other),
        };
        if deadline.is_some_and(|deadline| deadline.has_passed(now)) {
            return None;
        }
        let metadata = self.options.metadata().clone();
        let call = CallInfo::new(Names::Own(method), metadata, None, deadline, now);
        let mut asked = self.inner.settings.interceptors.inquiry();
        asked.as_mut().begin(Box::new(call));
        Some(match asked.as_mut().poll_before(cx) {
            Poll::Ready(Ok(())) if is_exact => Said::LetThrough(asked, Held::Within(clock::now())),
            Poll::Ready(Ok(())) => Said::LetThrough(asked, Held::Alone(timeout)),
            Poll::Ready(Err(status)) => {
                let failure = Failure::from(status.with_not_processed());
                tell(&*asked, &Err(&failure));
                Said::Refused(failure)
            }
            Poll::Pending => Said::Waits(asked),
        })
    }

    /// About what the clock shows: what a driver saw this turn, if one has woken the caller.
    fn this_turn(&self) -> Instant {
        match (&self.inner.route, &self.inner.settings.glance) {
            (Route::Balanced(balanced), _) => balanced.this_turn(),
            (_, Some(glance)) => glance.epoch() + glance.this_turn(),
            _ => clock::now(),
        }
    }

    /// Asks the interceptors, then sends.
    pub(super) fn send_intercepted<'a>(
        &'a self,
        call: &'a mut Outbound<'_>,
        encode: &'a Encode<'_>,
    ) -> Boxed<'a, Answer> {
        call.anchor();
        let (names, metadata) = (call.method.names(), call.metadata.clone().into_owned());
        let began = call.now().unwrap_or_else(clock::now);
        let info = CallInfo::new(names, metadata, None, call.deadline, began);
        let mut asked = self.inner.settings.interceptors.inquiry();
        asked.as_mut().begin(Box::new(info));
        Box::pin(self.go_on_asked(call, encode, asked, HowFar::Asking))
    }

    /// Goes on with a call that interceptors know of.
    pub(super) async fn go_on_asked(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        mut asked: Asked<'_>,
        how_far: HowFar,
    ) -> Answer {
        let said = match how_far {
            HowFar::Asking => poll_fn(|cx| asked.as_mut().poll_before(cx)).await,
            _ => Ok(()),
        };
        let answer = match said {
            Ok(()) => {
                if let Some(info) = asked.call() {
                    call.keep_deadline(info.deadline());
                    if let Some(changed) = info.changed_metadata() {
                        call.metadata = Cow::Owned(changed.clone());
                    }
                }
                self.go_on(call, encode, how_far).await
            }
            Err(status) => Err(status.with_not_processed().into()),
        };
        tell(&*asked, &answer.as_ref().map(drop));
        answer
    }
}

/// The head of a request that goes the short way, as the interceptors have left it.
pub(super) fn head<'a>(
    call: &'a CallInfo,
    method: &MethodDescriptor,
    held: &Held,
) -> RequestHead<'a> {
    match *held {
        Held::Alone(timeout) => RequestHead::of_call(method.id, call.metadata(), timeout),
        Held::Within(now) => {
            let head = RequestHead::of_call(method.id, call.metadata(), None);
            head.with_deadline(call.deadline(), now)
        }
    }
}

/// Tells them how the call ended.
pub(super) fn tell(asked: &dyn Inquiry, answer: &Result<(), &Failure>) {
    asked.tell(match answer {
        Ok(()) => Answered::Reply,
        Err(failure) => Answered::Error(failure.status.code()),
    });
}
