//! A channel to all who serve a name: chooses one for each call, and copes with those that fail.
//!
//! What does a call pay that goes well? It looks at the roster, picks, and is counted: no lock, no
//! allocation, twice the clock. Everything else is off that path, in a future of its own.

mod attempts;
mod endpoint;
mod fleet;
mod following;
mod guard;
mod hedging;
mod policies;
mod settings;
mod short;
mod stats;

pub(super) use attempts::Tracked;
pub(super) use endpoint::Endpoint;
pub use policies::Resilience;
pub use settings::IntoPolicy;
pub(super) use settings::Settings;
pub(super) use short::Begun;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::{Codec, Metadata, Status};
use tokio::task::JoinHandle;

use super::call::{Encode, Outbound, in_time};
use super::dialer::Terms;
use super::pool::NotReached;
use super::remote::first_cause;
use super::slot::{Answer, Failure};
use super::stats::ChannelStats;
use crate::balance::{Backend, hash_key};
use crate::boxed::{Boxed, boxed};
use crate::clock;
use crate::discovery::Watch;
use crate::error::Error;
use crate::resilience::{Attempted, GiveUp, Pushback, RetryBudget, RetryPolicy};
use attempts::{Lost, Place, patience, pick};
use fleet::{Choice, Fleet, Picked};
use hedging::was_late;
use policies::{Policies, Table};
use stats::{Counters, count};

/// How often a call goes elsewhere that found its connection closed before it was sent. Each time
/// that connection is one less; more than so many are a server that sends everybody away.
const UNSENT_MAX: u32 = 16;
/// No timer is finer.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// All who serve a name, and how calls are spread over them.
pub(super) struct Balanced {
    fleet: Arc<Fleet>,
    policies: Table,
    budget: RetryBudget,
    counters: Counters,
    /// The key of the metadata whose value is hashed.
    hash_metadata: Option<Box<str>>,
    /// Follows the name.
    follower: JoinHandle<()>,
}

impl Balanced {
    /// Begins to follow a name. Must be called within a Tokio runtime.
    pub(super) fn start(watch: Watch, settings: Settings, terms: Terms) -> Result<Self, Error> {
        let policy = settings.policy()?;
        let choice = Choice {
            policy,
            subset: settings.subset,
        };
        let (outliers, pool) = (settings.outliers, settings.pool);
        let fleet = Fleet::new(watch.clone(), choice, outliers, (Arc::new(terms), pool));
        let fleet = Arc::new(fleet);
        let follower = tokio::spawn(boxed(fleet::follow(Arc::downgrade(&fleet), watch)));
        Ok(Self {
            policies: Table::new(&settings.resilience, &settings.methods),
            budget: RetryBudget::new(settings.budget),
            counters: Counters::default(),
            hash_metadata: settings.hash_metadata,
            fleet,
            follower,
        })
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.fleet.terms().codec
    }

    pub(super) fn stats(&self) -> ChannelStats {
        self.counters.stats(&self.fleet)
    }

    /// True while somebody is connected to.
    pub(super) fn is_available(&self) -> bool {
        let roster = self.fleet.roster();
        roster.is_some_and(|roster| roster.endpoints.iter().any(|one| one.pool.is_connected()))
    }

    pub(super) fn close(&self) {
        self.follower.abort();
        self.fleet.close();
    }

    /// Waits until somebody is connected to.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        loop {
            let mut news = self.fleet.news();
            let mut tried = Vec::new();
            while let Some(picked) = self.fleet.pick_again(None, &tried) {
                let patience = patience(picked.is_last_resort);
                match self.lease(&picked.endpoint, None, patience, true).await {
                    Ok(_) => return Ok(()),
                    Err(not_reached)
                        if picked.is_last_resort
                            && !matches!(not_reached, NotReached::Overtaken) =>
                    {
                        return Err(not_reached.into_error());
                    }
                    Err(_) => tried.push(picked.endpoint.backend.clone()),
                }
            }
            if let Some(why) = self.fleet.why_empty() {
                return Err(Error::new(crate::error::Kind::Resolve, why.message()));
            }
            news.changed().await;
        }
    }

    /// Makes a call: picks a server, and another one if that fails.
    #[inline]
    pub(super) async fn exchange(&self, call: &mut Outbound<'_>, encode: &Encode<'_>) -> Answer {
        let policies = self.policies.of(call.method.id);
        let now = self.fleet.now();
        let guarded = match &policies.breaker {
            Some(breaker) => Some(self.pass(breaker, now)?),
            None => None,
        };
        self.budget.note_call(now);
        let is_hedged = call.resend.idempotent && policies.hedging.is_some() && !call.oneway;
        let key = self.key(call.key, &call.metadata);
        let picked = self.fleet.pick(&pick(now, key));
        let begun = if is_hedged {
            Begun::Picked(picked)
        } else {
            at_once(picked, now)
        };
        let begun = match begun {
            Begun::Reached(place, now) => match self.attempt_at(&place, call, encode, now).await {
                Ok(reply) => Ok(reply),
                Err(lost) => Err(Begun::Lost(lost, place)),
            },
            begun => Err(begun),
        };
        let mut answer = match begun {
            Ok(reply) => Ok(reply),
            Err(begun) => self.persist(call, encode, begun).await,
        };
        if let Some(guarded) = guarded {
            guarded.end(&mut answer, &self.fleet);
        }
        answer
    }

    /// All who are listed, once that is known.
    pub(super) async fn endpoints(&self) -> Result<Vec<Arc<Endpoint>>, Status> {
        loop {
            let mut news = self.fleet.news();
            if let Some(roster) = self.fleet.roster() {
                return Ok(roster.endpoints.clone());
            }
            if let Some(why) = self.fleet.why_empty() {
                return Err(why);
            }
            news.changed().await;
        }
    }

    /// Makes a call at one server, and nowhere else.
    pub(super) async fn exchange_with(
        &self,
        endpoint: &Arc<Endpoint>,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
    ) -> Answer {
        self.budget.note_call(self.fleet.now());
        let mut unsent = 0;
        loop {
            let place = self.reach_one(call, endpoint).await?;
            let began = self.fleet.now();
            match self.attempt_at(&place, call, encode, began).await {
                Ok(reply) => return Ok(reply),
                Err(lost) if lost.unsent && unsent < UNSENT_MAX => unsent += 1,
                Err(lost) => return Err(lost.failure),
            }
        }
    }

    /// What a call is hashed by.
    #[inline]
    fn key(&self, said: Option<u64>, metadata: &Metadata) -> Option<u64> {
        said.or_else(|| {
            let name = self.hash_metadata.as_deref()?;
            Some(hash_key(metadata.get(name)?.as_bytes()))
        })
    }

    /// Makes the attempts of a call, from where it has come to.
    #[cold]
    pub(super) fn persist<'a>(
        &'a self,
        call: &'a mut Outbound<'_>,
        encode: &'a Encode<'_>,
        begun: Begun,
    ) -> Boxed<'a, Answer> {
        Box::pin(self.attempts(call, encode, begun))
    }

    async fn attempts(&self, call: &mut Outbound<'_>, encode: &Encode<'_>, begun: Begun) -> Answer {
        let policies = self.policies.of(call.method.id);
        let retry = call.retry.unwrap_or(&policies.retry);
        let mut tried = Vec::new();
        let (mut lost, mut place) = match begun {
            Begun::Lost(lost, place) => (lost, Some(place)),
            Begun::Reached(place, began) => {
                match self.attempt_at(&place, call, encode, began).await {
                    Ok(reply) => return Ok(reply),
                    Err(lost) => (lost, Some(place)),
                }
            }
            Begun::Picked(picked) => {
                let first = self.first_attempt(call, encode, policies, &mut tried, picked);
                match first.await {
                    Ok(reply) => return Ok(reply),
                    Err(lost) => lost,
                }
            }
        };
        call.keep_deadline(lost.deadline);
        let mut so_far = SoFar::default();
        loop {
            if lost.has_items || lost.is_nowhere {
                return Err(lost.failure);
            }
            so_far.note(&mut lost);
            let pause = match self.next(call, retry, &lost, &mut so_far) {
                Ok(pause) => pause,
                Err(why) => return Err(self.give_up(lost, why, &so_far)),
            };
            let picked = match place {
                Some(place) if !retry.fails_over() && !lost.is_stranger => Some(Picked {
                    endpoint: place.endpoint,
                    is_last_resort: false,
                }),
                Some(place) => {
                    tried.push(place.endpoint.backend.clone());
                    None
                }
                None => None,
            };
            let picked = match picked {
                None if lost.is_stranger => match self
                    .fleet
                    .pick_again(self.key(call.key, &call.metadata), &tried)
                {
                    Some(other) if !other.is_last_resort => Some(other),
                    // Nobody has the service.
                    _ => return Err(lost.failure),
                },
                picked => picked,
            };
            if !pause.is_zero() {
                in_time(call.deadline, tokio::time::sleep(pause)).await;
            }
            match self
                .attempt_somewhere(call, encode, &mut tried, picked)
                .await
            {
                Ok((reply, _)) => return Ok(reply),
                Err((again, _)) if again.is_nowhere => {
                    return Err(first_cause(lost.failure, again.failure));
                }
                Err((again, at)) => (lost, place) = (again, at),
            }
        }
    }

    /// The first attempt of a call that is hedged, or that found nobody connected at once.
    async fn first_attempt(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        policies: &Policies,
        tried: &mut Vec<Arc<Backend>>,
        picked: Option<Picked>,
    ) -> Result<super::slot::RawReply, (Lost, Option<Place>)> {
        let is_hedged = call.resend.idempotent && !call.oneway;
        let hedging = policies.hedging.as_ref().filter(|_| is_hedged);
        let delay = hedging.and_then(|hedging| Some((hedging, hedging.begin(self.fleet.now())?)));
        let place = match self.reach(call, tried, picked).await {
            Ok(place) => place,
            Err(status) => return Err((Lost::nowhere(status), None)),
        };
        if let Some((hedging, delay)) = delay {
            let hedged = self.attempt_hedged(&place, call, encode, tried, (hedging, delay));
            return hedged.await.map_err(|lost| (lost, Some(place)));
        }
        let began = self.fleet.now();
        let answer = self.attempt_at(&place, call, encode, began).await;
        let tells_latency = match &answer {
            Ok(_) => true,
            Err(lost) => was_late(&lost.failure, lost.deadline),
        };
        if let Some(hedging) = hedging.filter(|_| tells_latency) {
            hedging.record(self.fleet.now().saturating_sub(began));
        }
        answer.map_err(|lost| (lost, Some(place)))
    }

    /// Decides whether there is one more attempt, and after which pause.
    fn next(
        &self,
        call: &mut Outbound<'_>,
        retry: &RetryPolicy,
        lost: &Lost,
        so_far: &mut SoFar,
    ) -> Result<Duration, GiveUp> {
        if (lost.unsent || lost.is_stranger) && so_far.unsent < UNSENT_MAX {
            // Not an attempt: there is one connection less, and nothing was handed to it; or it was
            // handed to somebody who could not do anything with it.
            so_far.unsent += 1;
            return Ok(Duration::ZERO);
        }
        so_far.attempts += 1;
        call.anchor();
        let status = &lost.failure.status;
        let now = clock::now();
        let remaining = call.deadline.map(|deadline| deadline.remaining(now));
        let attempted = Attempted::new(status, so_far.attempts)
            .with_idempotent(call.resend.idempotent)
            .with_remaining(remaining);
        let waits = call.resend.wait_for_ready;
        match retry.decide(&attempted, &self.budget, self.fleet.now(), fastrand::f64()) {
            Ok(pause) => {
                count(&self.counters.retries);
                // Who goes away takes nobody's time: the next one need not be spared.
                let is_free = lost.is_gone && status.is_not_processed() && so_far.attempts == 1;
                Ok(if is_free { Duration::ZERO } else { pause })
            }
            Err(GiveUp::Attempts | GiveUp::Budget | GiveUp::Deadline)
                if waits && lost.is_gone && status.is_not_processed() =>
            {
                let pause = so_far.patience.pause(so_far.attempts, fastrand::f64());
                // Who waits until the deadline is not sent away before it: while there is time,
                // half of it is left for the next attempt.
                let most = remaining.map_or(pause, |left| (left / 2).max(TIMER_TICK));
                Ok(pause.min(most))
            }
            Err(why) => Err(why),
        }
    }

    /// Says so in the status, if trying again elsewhere would multiply what was tried here.
    fn give_up(&self, lost: Lost, why: GiveUp, so_far: &SoFar) -> Failure {
        let mut failure = lost.failure;
        if why == GiveUp::Budget {
            count(&self.counters.over_budget);
        }
        if so_far.attempts > 1 || why == GiveUp::Budget {
            failure.status = Pushback::Stop.put(failure.status);
        }
        failure
    }
}

/// The place to call, if the one picked is connected to.
#[inline]
fn at_once(picked: Option<Picked>, now: Duration) -> Begun {
    match picked {
        Some(picked) => match picked.endpoint.pool.take() {
            Some(leased) => {
                let endpoint = picked.endpoint;
                Begun::Reached(Place { endpoint, leased }, now)
            }
            None => Begun::Picked(Some(picked)),
        },
        None => Begun::Picked(None),
    }
}

/// What a call has been through.
#[derive(Default)]
struct SoFar {
    attempts: u32,
    /// Connections that were found closed, and servers of something else.
    unsent: u32,
    maybe_processed: bool,
    patience: crate::resilience::BackoffPolicy,
}

impl SoFar {
    /// An earlier attempt of an idempotent call may have been processed, whatever the last says.
    fn note(&mut self, lost: &mut Lost) {
        let status = &mut lost.failure.status;
        if self.maybe_processed {
            *status = status.clone().with_maybe_processed();
        }
        self.maybe_processed = !status.is_not_processed();
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced")
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}
