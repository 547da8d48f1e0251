//! The way to one server over several connections.

use std::fmt;
use std::sync::Arc;

use rpc_core::{Codec, Status};

use super::Route;
use super::attempt::{Attempt, Failed};
use super::call::{Encode, Outbound, in_time};
use super::dialer::Dialer;
use super::pool::{ConnectionPool, Leased, Patience, Pool};
use super::remote::{Course, Remote, first_cause};
use super::slot::{Answer, Failure};
use crate::boxed::Boxed;

/// A server, and the connections to it.
pub(super) struct Pooled {
    pub(super) pool: Arc<Pool>,
}

/// The way to one server: over one connection, unless more is set.
pub(super) fn route(dialer: Dialer, settings: ConnectionPool) -> Route {
    if settings.is_plain() {
        return Route::Remote(Box::new(Remote::new(dialer)));
    }
    let pool = Pool::new(dialer, settings, Box::new(()));
    Route::Pooled(Pooled { pool })
}

impl Pooled {
    pub(super) fn codec(&self) -> &Codec {
        self.pool.dialer().codec()
    }

    pub(super) fn close(&self) {
        let _held = self.pool.close();
        self.pool.dialer().close();
    }

    /// Makes a call on the connection with the fewest; waits in line if all have as many as they may.
    #[inline]
    pub(super) async fn exchange(&self, call: &mut Outbound<'_>, encode: &Encode<'_>) -> Answer {
        let mut leased = match self.pool.take() {
            Some(leased) => leased,
            None => self.lease(call).await?,
        };
        let mut course = Course::default();
        loop {
            let connection = &leased.connection;
            let mut attempt = Attempt::of(connection, call, encode);
            let failed = match (&mut attempt).await {
                Ok(mut reply) => {
                    leased.keep_for(&mut reply);
                    return Ok(reply);
                }
                Err(failure) => Failed::of(&attempt, failure),
            };
            drop(attempt);
            if !connection.accepts_calls() {
                self.pool.note_lost(connection, failed.unsent);
            }
            let failure = course.after(connection, call, failed)?;
            drop(leased);
            leased = match self.lease(call).await {
                Ok(leased) => leased,
                Err(nowhere) => return Err(first_cause(failure, nowhere)),
            };
        }
    }

    /// A connection with room, within the deadline of the call.
    #[cold]
    fn lease<'a>(&'a self, call: &'a mut Outbound<'_>) -> Boxed<'a, Result<Leased, Failure>> {
        Box::pin(self.lease_in_time(call))
    }

    async fn lease_in_time(&self, call: &mut Outbound<'_>) -> Result<Leased, Failure> {
        call.anchor();
        let patience = if call.resend.wait_for_ready {
            Patience::Endless
        } else {
            Patience::Long
        };
        let leased = in_time(call.deadline, self.pool.lease(patience)).await;
        call.renew();
        match leased {
            Some(Ok(leased)) => Ok(leased),
            Some(Err(not_reached)) => Err(not_reached.status().into()),
            None => {
                let target = self.pool.dialer().target();
                let text = format!("no connection to {target} had room in time");
                Err(Status::deadline_exceeded(text).with_not_processed().into())
            }
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}
