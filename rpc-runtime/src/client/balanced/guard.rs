//! What stands before a call: the breaker, and what it is told of the end.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::Status;

use super::super::slot::{Answer, Failure};
use super::Balanced;
use super::fleet::Fleet;
use super::following::Accepted;
use super::stats::count;
use crate::resilience::{CircuitBreaker, Pushback, blames_server};

impl Balanced {
    /// Asks the breaker.
    pub(super) fn pass<'a>(
        &self,
        breaker: &'a Arc<CircuitBreaker>,
        now: Duration,
    ) -> Result<Guarded<'a>, Failure> {
        if breaker.allow(now, fastrand::f64()) {
            return Ok(Guarded {
                breaker: Some((breaker, now)),
            });
        }
        count(&self.counters.rejected);
        let name = self.fleet.name();
        let text = format!("not sent: too many calls to {name} failed lately");
        let status = Status::unavailable(text).with_not_processed();
        Err(Pushback::Stop.put(status).into())
    }
}

/// A call that a breaker let through.
pub(super) struct Guarded<'a> {
    breaker: Option<(&'a Arc<CircuitBreaker>, Duration)>,
}

impl Guarded<'_> {
    pub(super) fn end(mut self, answer: &mut Answer, fleet: &Arc<Fleet>) {
        let Some((breaker, _)) = self.breaker.take() else {
            return;
        };
        match answer {
            Err(failure) if blames_server(failure.status.code()) => return,
            Err(_) => {}
            Ok(reply) => {
                if let Some(items) = &mut reply.items {
                    items.follow(Accepted {
                        breaker: breaker.clone(),
                        fleet: Arc::downgrade(fleet),
                    });
                }
            }
        }
        breaker.note_accepted(fleet.now());
    }
}

impl Drop for Guarded<'_> {
    /// The caller gave up: the servers are not to blame for all that is known.
    fn drop(&mut self) {
        if let Some((breaker, began)) = self.breaker.take() {
            breaker.note_accepted(began);
        }
    }
}
