//! Calls that interceptors see: they are asked, the call is made, they are told.
//!
//! Who is ready at once leaves the call on the short way ([`unary`](super::unary)); it takes along what
//! they are to be told of with the answer. One that waits is polled on elsewhere, as it is: nobody is asked
//! twice. The time is that of the turn, which the driver of a connection has looked at for all
//! calls that are made together.

use std::borrow::Cow;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rpc_core::connection::{Answered, RequestHead};
use rpc_core::{Deadline, MethodDescriptor, Status};

use super::call::{Encode, Outbound};
use super::slot::{Answer, Failure};
use super::unary::HowFar;
use super::{Channel, Route};
use crate::boxed::Boxed;
use crate::clock;
use crate::context;
use crate::middleware::{CallInfo, Inquiry, Kept, Names};

/// Interceptors that know of a call that has left the short way.
pub(super) enum Asked {
    /// They have not answered yet.
    Waiting(Inquiry),
    /// They have let it through.
    LetThrough(Box<CallInfo>),
}

impl Asked {
    #[cold]
    pub(super) fn let_through(kept: Kept, method: &'static MethodDescriptor) -> Self {
        Self::LetThrough(Box::new(kept.into_info(method)))
    }
}

/// What they said of a call on the short way.
pub(super) enum Said {
    LetThrough(Kept, Held),
    Refused(Failure),
    /// Nothing yet.
    Waits(Inquiry),
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
    pub(super) fn is_late(&self, call: &Kept) -> bool {
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
    #[inline]
    pub(super) fn ask(
        &self,
        method: &'static MethodDescriptor,
        cx: &mut Context<'_>,
    ) -> Option<Said> {
        let timeout = self.timeout(method.timeout);
        let is_short = matches!(self.inner.route, Route::Remote(_) | Route::Balanced(_))
            && self.options.service_name().is_none()
            && timeout != Some(Duration::ZERO);
        if !is_short {
            return None;
        }
        let within = match context::is_present() {
            true => context::untraced_deadline()?,
            false => None,
        };
        let is_near = timeout.is_some_and(|timeout| timeout < GLANCE_TIMEOUT_MIN);
        let is_exact = is_near || within.is_some();
        let now = if is_exact {
            clock::now()
        } else {
            self.this_turn()
        };
        let own = timeout.map(|timeout| Deadline::after(now, timeout));
        let deadline = match (own, within) {
            (Some(own), Some(within)) => Some(own.min(within)),
            (one, other) => one.or(other),
        };
        if deadline.is_some_and(|deadline| deadline.has_passed(now)) {
            return None;
        }
        let (names, metadata) = (Names::Own(method), self.options.metadata().clone());
        let interceptors = &self.inner.settings.interceptors;
        let mut spare = interceptors.spare();
        let mut own = None;
        let place = spare.as_deref_mut().unwrap_or(&mut own);
        let inquiry = place.get_or_insert_with(|| interceptors.inquiry(true));
        inquiry.begin(&names, metadata, || None, deadline, now);
        Some(match inquiry.poll_before(cx) {
            Poll::Ready(Ok(())) => {
                let held = match is_exact {
                    true => Held::Within(clock::now()),
                    false => Held::Alone(timeout),
                };
                let kept = inquiry.keep()?;
                Said::LetThrough(kept, held)
            }
            Poll::Ready(Err(status)) => {
                let failure = Failure::from(status.with_not_processed());
                inquiry.tell(answered(&Err(&failure)));
                drop(inquiry.keep());
                Said::Refused(failure)
            }
            Poll::Pending => Said::Waits(place.take()?),
        })
    }

    /// About what the clock shows: what a driver saw this turn, if one has woken the caller.
    #[inline]
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
        let mut inquiry = self.inner.settings.interceptors.inquiry(true);
        inquiry.begin(&names, metadata, || None, call.deadline, began);
        Box::pin(self.go_on_asked(call, encode, Asked::Waiting(inquiry), HowFar::Unsent))
    }

    /// Goes on with a call that interceptors know of.
    pub(super) async fn go_on_asked(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        asked: Asked,
        how_far: HowFar,
    ) -> Answer {
        let info = match asked {
            Asked::LetThrough(info) => info,
            Asked::Waiting(mut inquiry) => {
                let said = poll_fn(|cx| inquiry.poll_before(cx)).await;
                let refused = said.map_err(|status| Failure::from(status.with_not_processed()));
                if let Err(failure) = refused {
                    inquiry.tell(answered(&Err(&failure)));
                    return Err(failure);
                }
                let lost = || Status::internal("the interceptors have lost the call");
                inquiry.into_call().ok_or_else(lost)?
            }
        };
        call.keep_deadline(info.deadline());
        if let Some(changed) = info.changed_metadata() {
            call.metadata = Cow::Owned(changed.clone());
        }
        let answer = self.go_on(call, encode, how_far).await;
        let interceptors = &self.inner.settings.interceptors;
        interceptors.tell(&info, answered(&answer.as_ref().map(drop)));
        answer
    }

    /// True if interceptors see its calls.
    #[inline]
    pub(super) fn has_interceptors(&self) -> bool {
        !self.inner.settings.interceptors.is_empty()
    }

    /// Tells the interceptors how a call ended that they have let through.
    pub(super) fn tell(
        &self,
        kept: Kept,
        method: &'static MethodDescriptor,
        answer: &Result<(), &Failure>,
    ) {
        let info = kept.into_info(method);
        let interceptors = &self.inner.settings.interceptors;
        interceptors.tell(&info, answered(answer));
    }
}

/// The head of a request that goes the short way, as the interceptors have left it.
pub(super) fn head<'a>(call: &'a Kept, method: &MethodDescriptor, held: &Held) -> RequestHead<'a> {
    match *held {
        Held::Alone(timeout) => RequestHead::of_call(method.id, call.metadata(), timeout),
        Held::Within(now) => {
            let head = RequestHead::of_call(method.id, call.metadata(), None);
            head.with_deadline(call.deadline(), now)
        }
    }
}

/// What interceptors are told of an answer.
fn answered(answer: &Result<(), &Failure>) -> Answered {
    match answer {
        Ok(()) => Answered::Reply,
        Err(failure) => Answered::Error(failure.status.code()),
    }
}
