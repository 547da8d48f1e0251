//! Calls that were given up and have to be cancelled, at a pace that the server puts up with.
//!
//! Why is the pace alone not enough? A network that stalls delivers the cancels of seconds at once.
//! So no more than a burst of them is ever on its way: the server's bucket, twice as large, has then
//! always as many tokens as this side has and may have sent. See `[call.cancel-pace]`.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::pace::TokenBucket;
use super::{CANCELS_BURST_MAX, CANCELS_PER_SECOND_MAX, CallId};

#[derive(Debug)]
pub(super) struct Cancels {
    pace: TokenBucket,
    /// In the order in which the calls were given up; those not in `waiting` were answered.
    queue: VecDeque<u32>,
    /// Calls whose cancel has to wait its turn.
    waiting: HashSet<u32>,
    /// Cancels sent to which no answer has come: unanswered.len() <= BURST
    unanswered: HashSet<u32>,
}

impl Cancels {
    const BURST: u32 = CANCELS_BURST_MAX / 2;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            pace: TokenBucket::new(CANCELS_PER_SECOND_MAX, Self::BURST, now),
            queue: VecDeque::new(),
            waiting: HashSet::new(),
            unanswered: HashSet::new(),
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were sent, and no answer has come.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// A call is to be cancelled.
    pub(super) fn push(&mut self, call: CallId) {
        self.waiting.insert(call.wire());
        self.queue.push_back(call.wire());
        if self.queue.len() > 2 * self.waiting.len() + 16 {
            let waiting = &self.waiting;
            self.queue.retain(|call| waiting.contains(call));
        }
    }

    /// The next call whose cancel may be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Option<u32> {
        while let Some(call) = self.queue.front()
            && !self.waiting.contains(call)
        {
            self.queue.pop_front();
        }
        let call = *self.queue.front()?;
        if self.is_blocked() || !self.pace.take(now) {
            return None;
        }
        self.queue.pop_front();
        self.waiting.remove(&call);
        self.unanswered.insert(call);
        Some(call)
    }

    /// A call that was given up is answered: it holds no place any more.
    pub(super) fn answered(&mut self, call: u32) {
        if !self.waiting.remove(&call) {
            self.unanswered.remove(&call);
        }
    }

    /// When [`next`](Self::next) may have something; an answer may come first.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty() && !self.is_blocked()).then(|| self.pace.next_at())
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.waiting.clear();
        self.unanswered.clear();
    }

    fn is_blocked(&self) -> bool {
        self.unanswered.len() >= Self::BURST as usize
    }
}
