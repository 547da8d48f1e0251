//! A call's hold on a connection, and the wait for it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use rpc_core::Status;

use super::dialing::Stage;
use super::shelf::{MemberId, Place, Ticket};
use super::{NotReached, Patience, Pool, Store, lock};
use crate::client::connection::Connection;
use crate::client::remote::closed_by_user;
use crate::client::slot::RawReply;
use crate::stream::Follower;

/// A connection that a call may go to.
pub(in crate::client) struct Leased {
    pub(in crate::client) connection: Arc<Connection>,
    /// The place on it, if they are counted.
    permit: Option<Permit>,
}

/// A place on a connection of many. Dropping it gives it to the next in line.
struct Permit {
    pool: Arc<Pool>,
    member: MemberId,
    /// It was not handed on.
    is_held: AtomicBool,
}

impl Leased {
    fn of(pool: &Arc<Pool>, place: Place<Arc<Connection>>) -> Self {
        Self {
            connection: place.connection,
            permit: Some(Permit {
                pool: pool.clone(),
                member: place.member,
                is_held: AtomicBool::new(true),
            }),
        }
    }

    /// A connection whose calls are not counted.
    #[inline]
    pub(in crate::client) const fn uncounted(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            permit: None,
        }
    }

    /// True if the call has a place on the connection, which somebody may wait for.
    #[inline]
    pub(in crate::client) const fn is_counted(&self) -> bool {
        self.permit.is_some()
    }

    /// The call goes on with the items behind its reply: they keep its place.
    #[inline]
    pub(in crate::client) fn keep_for(&self, reply: &mut RawReply) {
        if let (Some(items), Some(permit)) = (&mut reply.items, &self.permit) {
            permit.is_held.store(false, Ordering::Relaxed);
            items.follow(Permit {
                pool: permit.pool.clone(),
                member: permit.member,
                is_held: AtomicBool::new(true),
            });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Store::Many(shelf) = &self.pool.store
            && *self.is_held.get_mut()
        {
            let now = self.pool.idle_clock();
            let next = lock(shelf).release(self.member, now);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

impl Follower for Permit {
    fn ended(self: Box<Self>, _: Result<(), &Status>) {}
}

impl Pool {
    /// A connection, if there is one with room and nobody waits for it. It may be found closed when
    /// it is used.
    #[inline]
    pub(in crate::client) fn take(self: &Arc<Self>) -> Option<Leased> {
        match &self.store {
            Store::One(only) => Some(Leased::uncounted(only.load_full()?)),
            Store::Many(shelf) => {
                let now = self.idle_clock();
                let mut shelf = lock(shelf);
                let expired = now.map(|now| shelf.expire(now)).unwrap_or_default();
                let place = shelf.take();
                drop(shelf);
                for connection in expired {
                    connection.close(&closed_by_user());
                }
                Some(Leased::of(self, place?))
            }
        }
    }

    /// A connection with room, made if there is none, or none with room. Callers wait in line, first
    /// in, first out.
    pub(in crate::client) async fn lease(
        self: &Arc<Self>,
        patience: Patience,
    ) -> Result<Leased, NotReached> {
        let mut stages = self.stage.subscribe();
        if let Some(leased) = self.take() {
            return Ok(leased);
        }
        if patience == Patience::Short && self.has_any() {
            return Err(NotReached::Full);
        }
        let mut waiting = Waiting::new(self);
        loop {
            // In line before looking: what happens in between is not missed.
            if let Poll::Ready(leased) = poll_fn(|cx| Poll::Ready(waiting.poll(cx))).await {
                return Ok(leased);
            }
            let stage = stages.borrow_and_update().clone();
            match stage {
                Stage::Closed => return Err(NotReached::Closed),
                _ if self.has_any() => self.open_more(),
                Stage::Idle if !self.dial_here() => return Err(NotReached::Stopped),
                Stage::Idle => {}
                Stage::Slow if patience == Patience::Short => return Err(NotReached::Slow),
                Stage::Failed(error, next) if patience != Patience::Endless => {
                    return Err(NotReached::Failed(error, next));
                }
                Stage::Dialing | Stage::Slow | Stage::Failed(..) => {}
            }
            let mut changed = pin!(stages.changed());
            let leased = poll_fn(|cx| {
                if let Poll::Ready(leased) = waiting.poll(cx) {
                    return Poll::Ready(Some(leased));
                }
                changed.as_mut().poll(cx).map(|()| None)
            });
            if let Some(leased) = leased.await {
                return Ok(leased);
            }
        }
    }
}

/// A caller who waits for a place. Dropping it leaves the line, or gives the place to the next.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    ticket: Option<Ticket>,
}

impl<'a> Waiting<'a> {
    const fn new(pool: &'a Arc<Pool>) -> Self {
        Self { pool, ticket: None }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Leased> {
        let Store::Many(shelf) = &self.pool.store else {
            // Nobody is counted: whoever sees that there is a connection takes it.
            return self.pool.take().map_or(Poll::Pending, Poll::Ready);
        };
        let mut waker = cx.waker().clone();
        let asked = lock(shelf).wait(self.ticket.take(), &mut waker);
        match asked {
            Ok(place) => Poll::Ready(Leased::of(self.pool, place)),
            Err(ticket) => {
                self.ticket = Some(ticket);
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let (Store::Many(shelf), Some(ticket)) = (&self.pool.store, self.ticket) {
            let now = self.pool.idle_clock();
            let mut waker = Waker::noop().clone();
            let mut shelf = lock(shelf);
            shelf.swap_waker(ticket, &mut waker);
            let next = shelf.leave(ticket, now);
            drop(shelf);
            drop(waker);
            next.into_iter().for_each(Waker::wake);
        }
    }
}
