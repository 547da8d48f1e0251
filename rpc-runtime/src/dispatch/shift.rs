//! What calls share that are run one after the other: a place among the running ones, looks at the
//! clock, memory.
//!
//! Why not each its own? A look at the clock, or a number that several threads count in, costs as much
//! as a tenth of a short call. So what has arrived together is counted together: with the end of the
//! read, or when a call of another method comes.
//!
//! What they share as well is a write: that of their replies. It is worth little to have one with all
//! others if the client waits for it with nothing to do. So where the client may get on meanwhile, what is
//! answered is not kept for long for the sake of the calls behind it: 15 µs, and then four times as long
//! each time, so that a write, which wakes the client, costs little beside the handlers. It is looked at
//! when a call is timed.
//!
//! Is the latency of a method exact then? Each call is timed of a method whose calls take their time.
//! Of those that are over within some microseconds one in 16 is, and stands for those behind it.

use std::num::NonZero;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rpc_core::connection::Answered;

use super::incoming::Task;
use super::router::{Method, Router};
use super::running::Intercepted;
use super::stats::nanos;
use crate::clock;

/// Runs calls one after the other. When it ends, what was not counted yet is.
pub(crate) struct Shift<'a> {
    router: &'a Router,
    /// It holds a place, for the call that runs or the next.
    is_placed: bool,
    began: Instant,
    /// When it was last looked at the clock.
    now: Instant,
    /// Nothing has run since.
    is_now: bool,
    ended: Option<Ended<'a>>,
    place: &'a mut Place,
    /// Unless all replies are left to its end.
    sending: Option<Sending>,
    is_send_due: bool,
}

/// When replies are to be sent before the end of a shift.
struct Sending {
    /// When it began, or they were last sent.
    last: Instant,
    /// So long after that.
    after: Duration,
}

/// Where the handlers of a connection are made and polled. One that is over stays there, for the next call.
#[derive(Default)]
pub(crate) struct Place {
    /// One that is over holds its service, and neither arguments nor a reply.
    pub(super) handler: Option<Task>,
    /// Where the method is that the handler there was made for, if that is known. Methods are as long as
    /// there are connections.
    method: Option<NonZero<usize>>,
    /// The handler there may also take on calls that arrive later.
    lasts: bool,
    /// With the handler in it, if there are interceptors.
    pub(super) intercepted: Option<Box<Intercepted>>,
}

impl Place {
    /// The longest handler that a connection keeps: it may be idle for long.
    const LASTING_BYTES_MAX: usize = 512;

    /// A handler of this method.
    #[inline]
    pub(super) fn handler_of(&mut self, method: &Method) -> Option<&mut Task> {
        let is_there = self.method == Some(address_of(method));
        self.handler.as_mut().filter(|_| is_there)
    }

    /// Where the handler of a call of any method is made.
    #[inline]
    pub(super) fn renew(&mut self) -> &mut Option<Task> {
        self.method = None;
        self.lasts = false;
        &mut self.handler
    }

    /// The handler there was made for a plain call of this method, by its service.
    pub(super) fn note_method(&mut self, method: &Method) {
        self.method = Some(address_of(method));
        let is_short = |task: &Task| size_of_val(&**task) <= Self::LASTING_BYTES_MAX;
        self.lasts = method.service.is_constant() && self.handler.as_ref().is_some_and(is_short);
    }

    /// Takes out what is there.
    #[inline(never)]
    pub(super) fn take(&mut self) -> Option<Task> {
        self.method = None;
        self.lasts = false;
        match self.intercepted.take() {
            Some(intercepted) => Some(Box::into_pin(intercepted)),
            None => self.handler.take(),
        }
    }
}

#[inline]
fn address_of(method: &Method) -> NonZero<usize> {
    NonNull::from(method).addr()
}

/// Calls that have ended and are not counted yet, of one method.
struct Ended<'a> {
    method: &'a Method,
    calls: u32,
    errors: u32,
    /// How long the first of them took, in nanoseconds.
    nanos: u64,
}

impl<'a> Shift<'a> {
    /// Calls that one that was timed stands for.
    const CALLS_A_SAMPLE: u32 = 16;
    /// Calls that take longer are timed each.
    const QUICK_MAX: Duration = Duration::from_micros(5);
    /// So long the first replies are kept: some writes' worth.
    const SEND_AFTER: Duration = Duration::from_micros(15);
    /// How many times as long those behind them.
    const SEND_AFTER_GROWTH: u32 = 4;

    /// Begins at the time `now`. If it `sends`, it tells when replies are to be sent before its end.
    #[inline]
    pub(crate) fn new(router: &'a Router, place: &'a mut Place, now: Instant, sends: bool) -> Self {
        Self {
            router,
            is_placed: false,
            began: now,
            now,
            is_now: true,
            ended: None,
            place,
            sending: sends.then_some(Sending {
                last: now,
                after: Self::SEND_AFTER,
            }),
            is_send_due: false,
        }
    }

    /// True if what was answered is to be sent before the next call is turned to.
    #[inline]
    pub(crate) const fn is_send_due(&self) -> bool {
        self.is_send_due
    }

    /// It was, or could not be.
    pub(crate) fn note_sent(&mut self) {
        self.now = clock::now();
        self.is_now = true;
        if let Some(sending) = &mut self.sending {
            sending.last = self.now;
            sending.after *= Self::SEND_AFTER_GROWTH;
        }
        self.is_send_due = false;
    }

    /// Where the methods are found that it runs.
    #[inline]
    pub(crate) const fn router(&self) -> &'a Router {
        self.router
    }

    /// When it began: when its calls were read.
    #[inline]
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// Takes note that something else was done.
    #[inline]
    pub(crate) const fn pause(&mut self) {
        self.is_now = false;
    }

    /// Takes a place for a call, if it has none; false if there is none.
    #[inline]
    pub(super) fn enter(&mut self) -> bool {
        self.is_placed = self.is_placed || self.router.admission().enter();
        self.is_placed
    }

    #[inline]
    pub(super) const fn place(&mut self) -> &mut Place {
        self.place
    }

    /// Turns to a call; true if it is to be timed.
    #[inline]
    pub(super) fn begin(&mut self, method: &'a Method) -> bool {
        let stands = self.stands_for(method);
        if !stands && !self.is_now {
            self.now = clock::now();
            self.is_now = true;
        }
        !stands
    }

    /// True if a call that was timed stands for the next of this method.
    #[inline]
    pub(super) fn stands_for(&self, method: &Method) -> bool {
        self.ended.as_ref().is_some_and(|ended| {
            std::ptr::eq(ended.method, method)
                && ended.calls < Self::CALLS_A_SAMPLE
                && ended.nanos < Self::QUICK_MAX.as_nanos() as u64
        })
    }

    /// About when it turned to the call that runs.
    #[inline]
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// A call is over. If it was to be timed, gives how many nanoseconds it took.
    #[inline]
    pub(super) fn end(
        &mut self,
        method: &'a Method,
        timed: bool,
        answered: Answered,
    ) -> Option<u64> {
        let failed = matches!(answered, Answered::Error(_));
        if let Some(ended) = self.ended.as_mut().filter(|_| !timed) {
            ended.calls += 1;
            ended.errors += u32::from(failed);
            self.is_now = false;
            return None;
        }
        Some(self.end_timed(method, failed))
    }

    /// A call is over that was to be timed, and stands for those behind it. Not inlined: few are.
    #[inline(never)]
    fn end_timed(&mut self, method: &'a Method, failed: bool) -> u64 {
        let before = std::mem::replace(&mut self.now, clock::now());
        self.is_now = true;
        let nanos = nanos(self.now.saturating_duration_since(before));
        self.is_send_due = self.sending.as_ref().is_some_and(|sending| {
            self.now.saturating_duration_since(sending.last) >= sending.after
        });
        self.count();
        self.ended = Some(Ended {
            method,
            calls: 1,
            errors: u32::from(failed),
            nanos,
        });
        nanos
    }

    /// A call goes on by itself, and keeps its place among the running ones.
    pub(super) fn hand_over(&mut self) -> Option<Task> {
        self.is_placed = false;
        self.is_now = false;
        self.count();
        self.place.take()
    }

    fn count(&mut self) {
        if let Some(ended) = self.ended.take() {
            let counters = &ended.method.counters;
            counters.start(ended.calls.into());
            counters.finish(ended.calls.into(), ended.errors.into(), ended.nanos);
        }
    }
}

impl Drop for Shift<'_> {
    #[inline]
    fn drop(&mut self) {
        self.count();
        if self.is_placed {
            self.router.admission().leave();
        }
        if !self.place.lasts {
            drop(self.place.take());
        }
    }
}
