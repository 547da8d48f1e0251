//! A typed call that waits for room on its connection.
//!
//! Why not on the other way, with everything else that is rare? A program that has more calls than its
//! connection has room for has them in line all the time: then it is what each of them does.

use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use rpc_core::connection::{RequestHead, StartError};

use super::super::attempt::{Failed, give_up, start, start_status};
use super::super::call::Encode;
use super::super::line::{Entered, enter};
use super::super::near::Held;
use super::super::waiters::Ticket;
use super::progress::{HowFar, LostCall, Sent, Stage, Tried};
use super::sending::Sending;

/// A call that was not sent. Dropping it is leaving the line.
pub(super) struct InLine<'a> {
    connection: Held<'a>,
    /// Absent before it has lined up, and once it is out.
    ticket: Option<Ticket>,
    deadline: Option<Instant>,
}

impl<'a> InLine<'a> {
    pub(super) const fn new(connection: Held<'a>) -> Self {
        Self {
            connection,
            ticket: None,
            deadline: None,
        }
    }

    /// Sends the request, or waits; leaves in `stage` what the call has become.
    pub(super) fn advance(
        mut self: Box<Self>,
        mut head: RequestHead<'_>,
        encode: &Encode<'_>,
        stage: &mut Stage<'a>,
        cx: &Context<'_>,
    ) -> Sending {
        if self.ticket.is_some() {
            head.deadline = self.deadline;
            head.anchored_later = false;
        }
        let connection = &self.connection;
        let ticket = self.ticket;
        let entered = enter(connection, ticket, &mut head, cx, false, |client, head| {
            start(connection, client, head, encode, cx)
        });
        match entered {
            Entered::Sent(Ok(pending)) => {
                self.ticket = None;
                *stage = Stage::Sent(Sent::new(self.connection.clone(), pending));
                Sending::UnderWay
            }
            Entered::Sent(Err(error)) => {
                let is_lost = matches!(*error, StartError::Closed);
                let failure = start_status(*error).into();
                if !is_lost {
                    return Sending::Ended(failure);
                }
                let deadline = head.deadline;
                self.lose(Failed::sent(failure, deadline, false))
            }
            Entered::Waits(ticket) => {
                self.ticket = Some(ticket);
                self.deadline = head.deadline;
                *stage = Stage::InLine(self);
                Sending::UnderWay
            }
            Entered::Late(status) => Sending::Ended(status.into()),
            Entered::Closed(status) => {
                // Nobody is in line any more.
                self.ticket = None;
                let failed = Failed::unsent(status.into(), head.deadline);
                self.lose(failed)
            }
        }
    }

    fn lose(&self, failed: Failed) -> Sending {
        let connection = Arc::clone(&self.connection);
        let how_far = HowFar::One(LostCall { connection, failed }).boxed();
        Sending::Elsewhere(Some(Tried {
            asked: None,
            how_far,
        }))
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            give_up(&self.connection, None, self.ticket);
        }
    }
}
