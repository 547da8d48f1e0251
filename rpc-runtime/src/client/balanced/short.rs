//! The short way of a call to a fleet: a server is picked, is connected to, and answers.
//!
//! [`unary`](super::super::unary) walks it, as it does with a call to a single server: one future, which
//! encodes straight into the connection. Where it ends, [`Begun`] says how far the call came, and the
//! way goes on from there: nothing is picked, counted or sent twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc_core::{Metadata, MethodDescriptor};

use super::super::attempt::Failed;
use super::super::connection::Connection;
use super::super::options::CallOptions;
use super::super::pool::Leased;
use super::attempts::{Lost, Place, Tracked, note_failed, pick};
use super::endpoint::Endpoint;
use super::fleet::Picked;
use super::{Balanced, at_once};

/// How far a call came.
pub(in crate::client) enum Begun {
    /// It is still to be sent; to whom, if somebody is listed.
    Picked(Option<Picked>),
    /// It is still to be sent, to a place that may have to be waited for.
    Reached(Place, Duration),
    /// An attempt has failed.
    Lost(Lost, Place),
}

/// A call that was given a server, and a connection to it.
pub(in crate::client) struct Trip<'a> {
    balanced: &'a Balanced,
    endpoint: Arc<Endpoint>,
    began: Duration,
}

impl Balanced {
    /// About what the clock shows, see [`Fleet::this_turn`](super::fleet::Fleet::this_turn).
    #[inline]
    pub(in crate::client) fn this_turn(&self) -> Instant {
        self.fleet.epoch() + self.fleet.this_turn()
    }

    /// Picks a server for a call and takes its connection; `None`, without having done anything, if
    /// there is more to be thought of than where it goes.
    pub(in crate::client) fn set_out(
        &self,
        method: &MethodDescriptor,
        options: &CallOptions,
        metadata: &Metadata,
    ) -> Option<Result<(Arc<Connection>, Trip<'_>), Begun>> {
        let policies = self.policies.of(method.id);
        let is_hedged = method.idempotent && policies.hedging.is_some();
        let is_hashed = method.hash_argument.is_some() && options.hash_key().is_none();
        if policies.breaker.is_some() || is_hedged || is_hashed {
            return None;
        }
        let began = self.fleet.this_turn();
        self.budget.note_call(began);
        let key = self.key(options.hash_key(), metadata);
        Some(match at_once(self.fleet.pick(&pick(began, key)), began) {
            // Of one that is counted the place has to be given back, which others see to.
            Begun::Reached(Place { endpoint, leased }, began) if !leased.is_counted() => {
                let trip = Trip {
                    balanced: self,
                    endpoint,
                    began,
                };
                Ok((leased.connection, trip))
            }
            begun => Err(begun),
        })
    }
}

impl<'a> Trip<'a> {
    /// The request was sent.
    pub(in crate::client) fn sent(self) -> Tracked<'a> {
        Tracked::begin(&self.balanced.fleet, self.endpoint, self.began)
    }

    /// The connection has no room, or is closed.
    #[cold]
    pub(in crate::client) fn interrupted(self, connection: Arc<Connection>) -> Begun {
        let place = Place {
            endpoint: self.endpoint,
            leased: Leased::uncounted(connection),
        };
        Begun::Reached(place, self.began)
    }

    /// The request could not be sent.
    #[cold]
    pub(in crate::client) fn failed(
        self,
        connection: Arc<Connection>,
        method: (&str, &str),
        failed: Failed,
    ) -> Begun {
        self.sent().lost(connection, method, failed)
    }
}

impl Tracked<'_> {
    /// The attempt has failed.
    #[cold]
    pub(in crate::client) fn lost(
        self,
        connection: Arc<Connection>,
        method: (&str, &str),
        failed: Failed,
    ) -> Begun {
        let place = Place {
            endpoint: self.endpoint().clone(),
            leased: Leased::uncounted(connection),
        };
        let lost = note_failed(self, &place, method, failed);
        Begun::Lost(lost, place)
    }
}
