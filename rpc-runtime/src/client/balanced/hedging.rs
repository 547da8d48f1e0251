//! A second attempt at another place, when the first is late.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc_core::{Code, Deadline};

use super::super::attempt::{Attempt, Failed};
use super::super::call::{Encode, Outbound};
use super::super::slot::{Answer, Failure, RawReply};
use super::Balanced;
use super::attempts::{Lost, Place, Tracked, note_failed};
use super::stats::count;
use crate::balance::Backend;
use crate::clock;
use crate::resilience::Hedging;

impl Balanced {
    /// Makes a call at one place, and when it is not over after `delay`, at another one as well. The
    /// first success counts; the other attempt is dropped, which cancels it on its server.
    pub(super) async fn attempt_hedged(
        &self,
        first: &Place,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        tried: &mut Vec<Arc<Backend>>,
        (hedging, delay): (&Hedging, Duration),
    ) -> Result<RawReply, Lost> {
        call.anchor();
        let call = &*call;
        tried.push(first.endpoint.backend.clone());
        let mut one = self.run(first, call, encode);
        let late = tokio::time::timeout(delay, poll_fn(|cx| Pin::new(&mut one.attempt).poll(cx)));
        if let Ok(answer) = late.await {
            return one.end(hedging, call, answer);
        }
        let second = match self.second(call, hedging, tried) {
            // A stream that is on its way to one server cannot go to another.
            Some(second) if !one.attempt.has_items() => second,
            _ => {
                let answer = (&mut one.attempt).await;
                return one.end(hedging, call, answer);
            }
        };
        count(&self.counters.hedges);
        tried.push(second.endpoint.backend.clone());
        let mut two = self.run(&second, call, encode);
        let (answer, two_won) = poll_fn(|cx| {
            if let Poll::Ready(answer) = Pin::new(&mut one.attempt).poll(cx) {
                return Poll::Ready((answer, false));
            }
            let answer = Pin::new(&mut two.attempt).poll(cx);
            answer.map(|answer| (answer, true))
        })
        .await;
        let (ended, mut other) = if two_won { (two, one) } else { (one, two) };
        let is_final = match &answer {
            Ok(_) => true,
            Err(failure) => Hedging::is_final(&failure.status),
        };
        let ended = ended.end(hedging, call, answer);
        if is_final {
            if two_won && ended.is_ok() {
                count(&self.counters.hedges_won);
            }
            other.give_up(hedging);
            return ended;
        }
        // That one failed by the fault of its server: it is the other that counts.
        let answer = (&mut other.attempt).await;
        let other = other.end(hedging, call, answer);
        if !two_won && other.is_ok() {
            count(&self.counters.hedges_won);
        }
        match (other, ended) {
            (Err(mut other), Err(ended)) if !ended.failure.status.is_not_processed() => {
                other.failure.status = other.failure.status.clone().with_maybe_processed();
                Err(other)
            }
            (other, _) => other,
        }
    }

    /// Where a second attempt goes: to somebody who is connected to already, if there may be one.
    fn second(
        &self,
        call: &Outbound<'_>,
        hedging: &Hedging,
        tried: &[Arc<Backend>],
    ) -> Option<Place> {
        let now = self.fleet.now();
        let picked = self
            .fleet
            .pick_again(self.key(call.key, &call.metadata), tried)?;
        if picked.is_last_resort {
            return None;
        }
        let endpoint = picked.endpoint;
        let Some(leased) = endpoint.pool.take() else {
            // For the next one.
            endpoint.pool.dial();
            return None;
        };
        let place = Place { endpoint, leased };
        hedging.permit(now, &self.budget).then_some(place)
    }

    fn run<'a>(
        &'a self,
        place: &'a Place,
        call: &'a Outbound<'a>,
        encode: &'a Encode<'a>,
    ) -> Running<'a> {
        let began = self.fleet.now();
        Running {
            place,
            began,
            balanced: self,
            attempt: Attempt::new(&place.leased.connection, call.head(), encode),
            tracked: Tracked::begin(&self.fleet, place.endpoint.clone(), began),
        }
    }
}

/// True if the call takes at least as long as the attempt did: its own time is over, and not that of a call
/// which its handler made.
pub(super) fn was_late(failure: &Failure, deadline: Option<Deadline>) -> bool {
    failure.status.code() == Code::DeadlineExceeded
        && deadline.is_some_and(|deadline| deadline.has_passed(clock::now()))
}

/// One of two attempts.
struct Running<'a> {
    balanced: &'a Balanced,
    place: &'a Place,
    began: Duration,
    attempt: Attempt<'a>,
    tracked: Tracked<'a>,
}

impl Running<'_> {
    /// It has an answer.
    fn end(self, hedging: &Hedging, call: &Outbound<'_>, answer: Answer) -> Result<RawReply, Lost> {
        let was_late = |failure| was_late(failure, call.deadline);
        if answer.as_ref().err().is_none_or(was_late) {
            let took = self.balanced.fleet.now().saturating_sub(self.began);
            hedging.record(took);
        }
        let failure = match answer {
            Ok(mut reply) => {
                self.place.leased.keep_for(&mut reply);
                let connection = &self.place.leased.connection;
                self.tracked.answered(connection, &mut reply);
                return Ok(reply);
            }
            Err(failure) => failure,
        };
        let failed = Failed::of(&self.attempt, failure);
        let method = (call.method.service, call.method.name);
        Err(note_failed(self.tracked, self.place, method, failed))
    }

    /// The other one was quicker: cancels this one.
    fn give_up(self, hedging: &Hedging) {
        let took = self.balanced.fleet.now().saturating_sub(self.began);
        hedging.record(took);
    }
}
