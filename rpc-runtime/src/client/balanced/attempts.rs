//! The attempts of one call: where each goes, and what its end means.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use rpc_core::{Code, Deadline, Status};

use super::super::attempt::{Failed, attempt, name_missing};
use super::super::call::{Encode, Outbound, in_time};
use super::super::connection::Connection;
use super::super::pool::{Leased, NotReached, Patience};
use super::super::slot::{Failure, RawReply};
use super::Balanced;
use super::endpoint::Endpoint;
use super::fleet::{Fleet, Picked};
use super::following::Following;
use crate::balance::{Backend, Ended, Pick};
use crate::resilience::blames_server;
use crate::stream::Receiver;

/// An endpoint that is connected to.
pub(in crate::client) struct Place {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) leased: Leased,
}

/// An attempt that did not succeed.
pub(in crate::client) struct Lost {
    pub(super) failure: Failure,
    /// What was taken of its stream cannot be sent again.
    pub(super) has_items: bool,
    /// The connection was found closed, and nothing was handed to it.
    pub(super) unsent: bool,
    /// The connection takes no more calls.
    pub(super) is_gone: bool,
    /// There was nobody to send it to.
    pub(super) is_nowhere: bool,
    /// The server has no such service: somebody else has its address now.
    pub(super) is_stranger: bool,
    /// The deadline that it was held to.
    pub(super) deadline: Option<Deadline>,
}

impl Lost {
    pub(super) fn nowhere(status: Status) -> Self {
        Self {
            failure: status.into(),
            has_items: false,
            unsent: true,
            is_gone: false,
            is_nowhere: true,
            is_stranger: false,
            deadline: None,
        }
    }
}

/// An attempt under way. Dropping it is giving it up.
pub(in crate::client) struct Tracked<'a> {
    fleet: &'a Arc<Fleet>,
    endpoint: Arc<Endpoint>,
    began: Duration,
    is_over: bool,
}

impl<'a> Tracked<'a> {
    #[inline]
    pub(super) fn begin(fleet: &'a Arc<Fleet>, endpoint: Arc<Endpoint>, began: Duration) -> Self {
        endpoint.calls.fetch_add(1, Relaxed);
        endpoint.backend.enter();
        Self {
            fleet,
            endpoint,
            began,
            is_over: false,
        }
    }

    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// It was answered, when its server was last heard.
    pub(in crate::client) fn replied(self) {
        let now = self.endpoint.hearing.heard_at();
        self.end_at(now, Ended::Answered);
    }

    /// It was answered. If items follow, it is in flight until the last of them.
    pub(in crate::client) fn answered(self, connection: &Arc<Connection>, reply: &mut RawReply) {
        match &mut reply.items {
            None => self.replied(),
            Some(items) => self.follow(connection, items),
        }
    }

    #[cold]
    fn follow(mut self, connection: &Arc<Connection>, items: &mut Receiver) {
        self.is_over = true;
        let endpoint = &self.endpoint;
        let now = self.fleet.now();
        let is_judged = endpoint.backend.is_ejected();
        let in_flight = endpoint.backend.keep(self.began);
        in_flight.note_reply(now);
        if is_judged {
            self.fleet.note_health(endpoint, self.began, now, false);
        }
        items.follow(Following {
            fleet: Arc::downgrade(self.fleet),
            endpoint: Arc::downgrade(endpoint),
            connection: connection.clone(),
            in_flight: Some(in_flight),
            began: self.began,
            is_judged,
        });
    }

    /// It ended with an answer of the server, or because it took too long.
    #[inline]
    pub(super) fn end(self, ended: Ended) {
        let now = self.fleet.now();
        self.end_at(now, ended);
    }

    #[inline]
    fn end_at(mut self, now: Duration, ended: Ended) {
        self.leave(now, ended);
        let failed = ended != Ended::Answered;
        self.fleet
            .note_health(&self.endpoint, self.began, now, failed);
    }

    #[inline]
    fn leave(&mut self, now: Duration, ended: Ended) {
        self.is_over = true;
        let backend = &self.endpoint.backend;
        backend.leave();
        backend.note_end(now, now.saturating_sub(self.began), ended);
    }

    #[cold]
    fn abandon(&mut self) {
        self.leave(self.fleet.now(), Ended::Abandoned);
    }

    /// It ended in a way that says nothing about how quick or well the server is.
    pub(super) fn forget(mut self) {
        self.is_over = true;
        self.endpoint.backend.leave();
    }
}

impl Drop for Tracked<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_over {
            self.abandon();
        }
    }
}

impl Balanced {
    /// Makes a call at one place.
    pub(super) async fn attempt_at(
        &self,
        place: &Place,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        began: Duration,
    ) -> Result<RawReply, Lost> {
        let tracked = Tracked::begin(&self.fleet, place.endpoint.clone(), began);
        match attempt(&place.leased.connection, call, encode).await {
            Ok(reply) if call.oneway => {
                tracked.forget();
                Ok(reply)
            }
            Ok(mut reply) => {
                place.leased.keep_for(&mut reply);
                tracked.answered(&place.leased.connection, &mut reply);
                Ok(reply)
            }
            Err(failed) => {
                call.keep_deadline(failed.deadline);
                Err(note_failed(
                    tracked,
                    place,
                    (call.method.service, call.method.name),
                    failed,
                ))
            }
        }
    }

    /// Makes a call wherever there is somebody; see [`reach`](Self::reach).
    pub(super) async fn attempt_somewhere(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        tried: &mut Vec<Arc<Backend>>,
        picked: Option<Picked>,
    ) -> Result<(RawReply, Place), (Lost, Option<Place>)> {
        let place = match self.reach(call, tried, picked).await {
            Ok(place) => place,
            Err(status) => return Err((Lost::nowhere(status), None)),
        };
        let began = self.fleet.now();
        match self.attempt_at(&place, call, encode, began).await {
            Ok(reply) => Ok((reply, place)),
            Err(lost) => Err((lost, Some(place))),
        }
    }

    /// Finds somebody to call, within the deadline: who was not `tried` yet, if there is such a one,
    /// or whom was `picked` already. What cannot be reached counts as tried.
    #[cold]
    pub(super) async fn reach(
        &self,
        call: &mut Outbound<'_>,
        tried: &mut Vec<Arc<Backend>>,
        picked: Option<Picked>,
    ) -> Result<Place, Status> {
        call.anchor();
        let key = self.key(call.key, &call.metadata);
        let search = self.search(call.resend.wait_for_ready, key, tried, picked);
        let found = in_time(call.deadline, search).await;
        call.renew();
        found.unwrap_or_else(|| {
            let text = format!("nobody of {} was reached in time", self.fleet.name());
            Err(Status::deadline_exceeded(text).with_not_processed())
        })
    }

    /// Connects to one place and to no other, within the deadline.
    pub(super) async fn reach_one(
        &self,
        call: &mut Outbound<'_>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Place, Status> {
        call.anchor();
        let lease = endpoint.pool.lease(Patience::Long);
        let leased = in_time(call.deadline, lease).await;
        call.renew();
        match leased {
            Some(Ok(leased)) => Ok(Place {
                endpoint: endpoint.clone(),
                leased,
            }),
            Some(Err(not_reached)) => Err(not_reached.status()),
            None => {
                let address = endpoint.backend.address();
                let text = format!("{address} was not reached in time");
                Err(Status::deadline_exceeded(text).with_not_processed())
            }
        }
    }

    async fn search(
        &self,
        wait_for_ready: bool,
        key: Option<u64>,
        tried: &mut Vec<Arc<Backend>>,
        mut first: Option<Picked>,
    ) -> Result<Place, Status> {
        let fleet = &*self.fleet;
        // Those that were passed over because all of their connections are full.
        let mut full = Vec::new();
        let mut waits_for_full = false;
        loop {
            // Asked for before looking: what happens in between is not missed.
            let mut news = fleet.news();
            let picked = first.take();
            let again = || fleet.pick_again(key, tried);
            let status = match picked.or_else(again) {
                Some(Picked {
                    endpoint,
                    is_last_resort,
                }) => match self
                    .lease(
                        &endpoint,
                        key,
                        patience(is_last_resort || waits_for_full),
                        full.is_empty(),
                    )
                    .await
                {
                    Err(NotReached::Overtaken) => {
                        tried.push(endpoint.backend.clone());
                        continue;
                    }
                    Ok(leased) => return Ok(Place { endpoint, leased }),
                    Err(NotReached::Closed) => return Err(NotReached::Closed.status()),
                    Err(not_reached) if !is_last_resort => {
                        if let NotReached::Full = not_reached {
                            full.push(endpoint.backend.clone());
                        }
                        tried.push(endpoint.backend.clone());
                        continue;
                    }
                    Err(_) if !full.is_empty() => {
                        // A place in line is better than none.
                        tried.retain(|tried| !full.iter().any(|full| full.is_same(tried)));
                        tried.push(endpoint.backend.clone());
                        full.clear();
                        waits_for_full = true;
                        continue;
                    }
                    Err(not_reached) => Some(not_reached.status()),
                },
                None => fleet.why_empty(),
            };
            if let Some(status) = status
                && (!wait_for_ready || fleet.is_closed())
            {
                return Err(status);
            }
            news.changed().await;
            tried.clear();
            waits_for_full = false;
        }
    }

    /// A connection to one place. Who waits for the last there is, and stands in no line, goes on as soon
    /// as there is another: the list may have changed because nobody is there any more.
    pub(super) async fn lease(
        &self,
        endpoint: &Endpoint,
        key: Option<u64>,
        patience: Patience,
        may_go: bool,
    ) -> Result<Leased, NotReached> {
        if patience == Patience::Short || !may_go {
            return endpoint.pool.lease(patience).await;
        }
        let mut news = self.fleet.news();
        let is_tried = [endpoint.backend.clone()];
        let mut lease = pin!(endpoint.pool.lease(patience));
        loop {
            let mut changed = pin!(news.changed());
            let leased = poll_fn(|cx| match lease.as_mut().poll(cx) {
                Poll::Ready(leased) => Poll::Ready(Some(leased)),
                Poll::Pending => changed.as_mut().poll(cx).map(|()| None),
            });
            if let Some(leased) = leased.await {
                return leased;
            }
            let other = self.fleet.pick_again(key, &is_tried);
            if other.is_some_and(|other| !other.is_last_resort) {
                return Err(NotReached::Overtaken);
            }
        }
    }
}

/// Who is the last to be asked is waited for.
pub(super) const fn patience(is_last_resort: bool) -> Patience {
    if is_last_resort {
        Patience::Long
    } else {
        Patience::Short
    }
}

/// What a policy is told about a call.
#[inline]
pub(super) fn pick<'a>(now: Duration, key: Option<u64>) -> Pick<'a> {
    let pick = Pick::new(now, fastrand::u64(..));
    match key {
        Some(key) => pick.with_key(key),
        None => pick,
    }
}

/// Takes note of what a failure says about its endpoint.
#[cold]
pub(super) fn note_failed(
    tracked: Tracked<'_>,
    place: &Place,
    method: (&str, &str),
    failed: Failed,
) -> Lost {
    let mut failure = failed.failure;
    let connection = &place.leased.connection;
    let is_gone = !connection.accepts_calls();
    let is_stranger = failure.unknown_method && connection.lacks_service(method.0);
    if is_gone {
        // Whoever breaks connections is found out by who makes them.
        tracked.forget();
        place.endpoint.pool.note_lost(connection, failed.unsent);
    } else {
        let code = failure.status.code();
        // Nothing that this process finds out by itself, such as an argument that is too long.
        let is_ours = code == Code::Internal && failure.status.is_not_processed();
        let is_blamed = is_stranger || (blames_server(code) && !is_ours);
        tracked.end(match code {
            Code::DeadlineExceeded if is_blamed => Ended::Unanswered,
            _ if is_blamed => Ended::Failed,
            _ => Ended::Answered,
        });
        if code == Code::DeadlineExceeded && place.endpoint.backend.is_ejected() {
            place.endpoint.pool.doubt(connection);
        }
        failure = name_missing(connection, method, failure);
    }
    Lost {
        failure,
        has_items: failed.has_items,
        unsent: failed.unsent,
        is_gone,
        is_nowhere: false,
        is_stranger,
        deadline: failed.deadline,
    }
}
