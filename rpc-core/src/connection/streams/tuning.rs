//! When the window of a stream is too narrow for the way that its items have to go.
//!
//! Its sender waits for credit, its consumer waits for items, and what is between them takes its time:
//! only then is more on its way worth its memory. A consumer that is slow has items left when the next
//! come; a producer that is slow never waits for credit; and where the way is short, a wider window
//! only makes longer queues.

use std::time::{Duration, Instant};

/// What a receiver knows of the way of one stream.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    trip: Option<Trip>,
    /// Slow trips in a row.
    slow: u8,
}

/// There and back: from a credit to the first item that could not be sent without it.
#[derive(Debug)]
struct Trip {
    began: Instant,
    /// So many bytes could be sent without the credit.
    without: u64,
    /// The sender has waited since.
    waited: bool,
}

impl Tuning {
    /// A shorter way carries 500 MB a second with the window that is shipped.
    const SHORT_TRIP: Duration = Duration::from_micros(500);
    /// One may be slow because a process was not run.
    const SLOW_TRIPS: u8 = 2;

    /// A credit leaves; without it, the sender could send so many bytes more.
    pub(super) const fn credited(&mut self, without: u64, now: Instant) {
        if self.trip.is_none() {
            self.trip = Some(Trip {
                began: now,
                without,
                waited: false,
            });
        }
    }

    /// Items have come. Did their sender wait for credit, and their consumer for them?
    pub(super) fn arrived(
        &mut self,
        bytes: u64,
        sender_waited: bool,
        consumer_waited: bool,
        now: Instant,
    ) {
        let Some(trip) = &mut self.trip else {
            return;
        };
        trip.waited |= sender_waited;
        if let Some(without) = trip.without.checked_sub(bytes) {
            trip.without = without;
            return;
        }
        let is_long = now.saturating_duration_since(trip.began) >= Self::SHORT_TRIP;
        let is_slow = is_long && trip.waited && consumer_waited;
        self.slow = if is_slow {
            self.slow.saturating_add(1)
        } else {
            0
        };
        self.trip = None;
    }

    /// True if a wider window would carry more.
    pub(super) const fn wants_more(&self) -> bool {
        self.slow >= Self::SLOW_TRIPS
    }

    /// The window has grown: what was measured before does not count.
    pub(super) const fn grown(&mut self) {
        self.slow = Self::SLOW_TRIPS - 1;
        self.trip = None;
    }
}
