//! What stands in for `pool.rs` and `pooled.rs` without the feature `fleet`: a channel has one
//! connection, and there is no value of [`Pool`].

use std::time::Duration;

use rpc_core::Codec;

use super::Route;
use super::call::{Encode, Outbound};
use super::dialer::Dialer;
use super::remote::Remote;
use super::slot::Answer;
use super::stats::ConnectionStats;
use crate::error::Error;

#[derive(Debug)]
pub(super) enum Pool {}

#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) pool: Pool,
}

/// Of what can be set for several connections, what holds for one as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionPool {
    idle_timeout: Option<Duration>,
}

impl ConnectionPool {
    pub(super) const fn with_idle_timeout(self, timeout: Duration) -> Self {
        Self {
            idle_timeout: Some(timeout),
        }
    }

    pub(super) const fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let is_zero = self.idle_timeout.is_some_and(|timeout| timeout.is_zero());
        Error::if_zero([("idle_timeout", is_zero)])
    }
}

pub(super) fn route(dialer: Dialer, _: ConnectionPool) -> Route {
    Route::Remote(Box::new(Remote::new(dialer)))
}

impl Pool {
    pub(super) fn is_connected(&self) -> bool {
        match *self {}
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        match *self {}
    }

    pub(super) async fn connect(&self) -> Result<(), Error> {
        match *self {}
    }
}

impl Pooled {
    pub(super) fn codec(&self) -> &Codec {
        match self.pool {}
    }

    pub(super) fn close(&self) {
        match self.pool {}
    }

    pub(super) async fn exchange(&self, _: &mut Outbound<'_>, _: &Encode<'_>) -> Answer {
        match self.pool {}
    }
}
