//! The way to one server: connects when needed, keeps the connection, connects again.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use rpc_core::{Code, Codec, Status};
use tokio::sync::Notify;

use super::attempt::{Failed, attempt, name_missing};
use super::call::{Encode, Outbound, in_time};
use super::connection::Connection;
use super::dialer::Dialer;
use super::opening::{Attempted, Driving, Made};
use super::resend::{Attempts, Resend};
use super::slot::{Answer, Failure};
use super::stats::ConnectionStats;
use super::unary::LostCall;
use crate::boxed::Boxed;
use crate::clock;
use crate::error::Error;
use crate::resilience::backoff::{Backoff, BackoffPolicy};

/// A server, and the connection to it while there is one.
pub(super) struct Remote {
    dialer: Dialer,
    /// Calls keep what they find here, see `near`; so it is rarely asked for.
    current: RwLock<Option<Arc<Connection>>>,
    /// Never held while anybody waits.
    dialing: Mutex<Dialing>,
    closed: AtomicBool,
    closing: Notify,
}

struct Dialing {
    backoff: Backoff,
    /// Why the last attempt failed.
    failure: Option<String>,
    /// The last connection was accepted and of no use.
    was_sent_away: bool,
    /// The attempt under way, so that many callers make one connection. It belongs to all of them, not to
    /// the one that began it: else callers who cannot wait that long would begin one after the other,
    /// and end none.
    attempt: Option<Arc<Attempted>>,
}

/// What a caller finds who needs a connection.
enum Found {
    Usable(Arc<Connection>),
    /// There is none, and for so long nobody tries to make one; why.
    Pause(Duration, Status),
    Attempt(Arc<Attempted>),
    Closed,
}

impl Remote {
    pub(super) fn new(dialer: Dialer) -> Self {
        let dialing = Dialing::new(dialer.backoff(BackoffPolicy::default()));
        Self {
            dialer,
            current: RwLock::new(None),
            dialing: Mutex::new(dialing),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    pub(super) fn codec(&self) -> &Codec {
        self.dialer.codec()
    }

    /// True while there is a connection that takes calls.
    pub(super) fn is_available(&self) -> bool {
        self.current()
            .is_some_and(|current| current.accepts_calls())
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        ConnectionStats::of_one(self.current().as_deref())
    }

    /// Ends the connection, its calls, and every later call.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.closing.notify_waiters();
        // One that nobody holds still writes what waits.
        let _held = self.replace(None);
        self.dialer.close();
        self.stop_connecting();
    }

    /// Drops the attempt under way.
    fn stop_connecting(&self) {
        let attempt = self.dialing().attempt.take();
        if let Some(attempt) = attempt {
            attempt.settle();
        }
    }

    fn dialing(&self) -> MutexGuard<'_, Dialing> {
        self.dialing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects now and waits until the server has accepted.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        let connection = self.dialer.open_accepted().await?;
        self.replace(Some(Arc::new(connection)));
        Ok(())
    }

    /// The connection there is, which may be closed.
    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection from now on; gives the one until now.
    fn replace(&self, connection: Option<Arc<Connection>>) -> Option<Arc<Connection>> {
        let current = self.current.write();
        mem::replace(
            &mut current.unwrap_or_else(PoisonError::into_inner),
            connection,
        )
    }

    /// Makes a call on the current connection, or on a new one if that is closed. It may have been
    /// tried on one before.
    #[inline]
    pub(super) async fn exchange(
        &self,
        call: &mut Outbound<'_>,
        encode: &Encode<'_>,
        mut tried: Option<LostCall>,
    ) -> Answer {
        let mut connection = match &tried {
            Some(tried) => tried.connection.clone(),
            None => match self.current() {
                Some(connection) => connection,
                None => self.dial(None, call).await?,
            },
        };
        let mut course = Course::default();
        loop {
            let failed = match tried.take() {
                Some(tried) => tried.failed,
                None => match attempt(&connection, call, encode).await {
                    Ok(reply) => return Ok(reply),
                    Err(failed) => failed,
                },
            };
            let failure = course.after(&connection, call, failed)?;
            connection = match self.dial(Some(&connection), call).await {
                Ok(connection) => connection,
                Err(dialed) => return Err(first_cause(failure, dialed)),
            };
        }
    }

    /// The connection that replaces a `stale` one, within the deadline of the call.
    #[cold]
    fn dial<'a>(
        &'a self,
        stale: Option<&'a Arc<Connection>>,
        call: &'a mut Outbound<'_>,
    ) -> Boxed<'a, Result<Arc<Connection>, Failure>> {
        Box::pin(self.dial_in_time(stale, call))
    }

    async fn dial_in_time(
        &self,
        stale: Option<&Arc<Connection>>,
        call: &mut Outbound<'_>,
    ) -> Result<Arc<Connection>, Failure> {
        call.anchor();
        let dial = self.dial_patiently(stale, call.resend.wait_for_ready);
        let dialed = in_time(call.deadline, self.unless_closed(dial)).await;
        call.renew();
        dialed.unwrap_or_else(|| {
            let text = format!("not connected to {} in time", self.dialer.target());
            Err(Status::deadline_exceeded(text).with_not_processed().into())
        })
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Stops waiting for a connection when the channel is closed.
    async fn unless_closed<T>(
        &self,
        dial: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        // Created before the dialing looks: a notification in between is not lost.
        let mut closing = pin!(self.closing.notified());
        let mut dial = pin!(dial);
        poll_fn(|cx| {
            if closing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(closed_by_user().with_not_processed().into()));
            }
            dial.as_mut().poll(cx)
        })
        .await
    }

    /// Tries once, or until it succeeds if the caller waits; between attempts the backoff holds.
    async fn dial_patiently(
        &self,
        stale: Option<&Arc<Connection>>,
        wait_for_ready: bool,
    ) -> Result<Arc<Connection>, Failure> {
        loop {
            let attempt = match self.find(stale) {
                Found::Usable(current) => return Ok(current),
                Found::Closed => return Err(closed_by_user().with_not_processed().into()),
                Found::Pause(wait, _) if wait_for_ready => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Found::Pause(_, why) => return Err(why.into()),
                Found::Attempt(attempt) => attempt,
            };
            let Some(opened) = Driving::new(&attempt).await else {
                // Another caller has seen to it.
                continue;
            };
            match self.note_opened(&attempt, opened) {
                Ok(connection) => return Ok(connection),
                Err(error) if !wait_for_ready => {
                    let status = Status::unavailable(error.to_string());
                    return Err(status.with_not_processed().with_source(error).into());
                }
                Err(_) => {}
            }
        }
    }

    /// The current connection, unless it is the stale one or closed; else what is done to have another.
    fn find(&self, stale: Option<&Arc<Connection>>) -> Found {
        // Dropped after the lock is released.
        let (current, _replaced);
        let mut dialing = self.dialing();
        if self.is_closed() {
            return Found::Closed;
        }
        current = self.current();
        if let Some(current) = &current {
            let is_stale = stale.is_some_and(|stale| Arc::ptr_eq(stale, current));
            if !is_stale && current.accepts_calls() {
                return Found::Usable(current.clone());
            }
            // Seen to be over for the first time. A server that hangs up before it accepts is as good
            // as one that does not listen.
            _replaced = self.replace(None);
            if current.was_opened() {
                dialing.note_opened(current);
            } else {
                dialing.note_failure(current.why_closed());
            }
        }
        if let Some(wait) = dialing.backoff.wait(clock::now()) {
            return Found::Pause(wait, dialing.not_yet(wait));
        }
        let begin = || Attempted::new(self.dialer.open());
        Found::Attempt(dialing.attempt.get_or_insert_with(begin).clone())
    }

    /// What came of an attempt, which is over.
    fn note_opened(&self, attempt: &Attempted, opened: Made) -> Result<Arc<Connection>, Error> {
        let mut dialing = self.dialing();
        dialing.attempt = None;
        let opened = opened.map(|(connection, _)| Arc::new(connection));
        let replaced = match &opened {
            Ok(connection) => self.replace(Some(connection.clone())),
            Err(error) => {
                dialing.note_failure(error.to_string());
                None
            }
        };
        drop(dialing);
        drop(replaced);
        attempt.settle();
        if self.is_closed() {
            // Closed by another thread, which may not have found this one.
            self.close();
        }
        opened
    }
}

impl Dialing {
    const fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failure: None,
            was_sent_away: false,
            attempt: None,
        }
    }

    /// A server may go at any time, so once is no failure. Who accepts again and again only to send
    /// everybody away is as good as one that does not listen.
    fn note_opened(&mut self, connection: &Connection) {
        let was_of_use = connection.was_of_use();
        if !was_of_use && self.was_sent_away {
            return self.note_failure(connection.why_closed());
        }
        self.was_sent_away = !was_of_use;
        self.backoff.note_success();
    }

    fn note_failure(&mut self, failure: String) {
        self.backoff.note_failure(clock::now(), fastrand::f64());
        self.failure = Some(failure);
    }

    /// Why a call that does not wait fails at once.
    fn not_yet(&self, wait: Duration) -> Status {
        let failure = self.failure.as_deref().unwrap_or("the last attempt failed");
        let text = format!("{failure}; next attempt in {} ms", wait.as_millis());
        Status::unavailable(text).with_not_processed()
    }
}

/// What a call has been through.
#[derive(Debug, Default)]
pub(super) struct Course {
    attempts: Attempts,
    /// An earlier attempt of an idempotent call may have been processed, whatever the last says.
    maybe_processed: bool,
}

impl Course {
    /// After an attempt that failed: why, if the call is to be sent again; else the end of it.
    #[cold]
    pub(super) fn after(
        &mut self,
        connection: &Connection,
        call: &mut Outbound<'_>,
        failed: Failed,
    ) -> Result<Failure, Failure> {
        call.keep_deadline(failed.deadline);
        let (mut failure, begun) = (failed.failure, !failed.unsent);
        let method = (call.method.service, call.method.name);
        if failed.has_items {
            // What was taken of its stream cannot be sent again.
            return Err(name_missing(connection, method, failure));
        }
        let open = connection.accepts_calls();
        if open {
            failure = name_missing(connection, method, failure);
        }
        if self.maybe_processed {
            failure.status = failure.status.with_maybe_processed();
        }
        if open {
            return Err(failure);
        }
        self.maybe_processed = !failure.status.is_not_processed();
        let decision = self.attempts.decide(&failure.status, call.resend, begun);
        if decision == Resend::No {
            return Err(failure);
        }
        Ok(failure)
    }
}

/// Why a call failed that could not be sent again: what ended its connection, unless the time ran
/// out. Whether it may have been processed only the first attempt knows.
pub(super) fn first_cause(first: Failure, dialed: Failure) -> Failure {
    if dialed.status.code() != Code::DeadlineExceeded {
        return first;
    }
    if first.status.is_not_processed() {
        return dialed;
    }
    Status::deadline_exceeded(dialed.status.message().to_owned()).into()
}

pub(super) fn closed_by_user() -> Status {
    Status::unavailable("the channel is closed")
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("dialer", &self.dialer)
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}
