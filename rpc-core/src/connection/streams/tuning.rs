//! When the window of a stream is too narrow for the way that its items have to go.
//!
//! Its sender waits for credit, its consumer waits for items, and what is between them takes its time:
//! only then is more on its way worth its memory. A consumer that is slow has items left when the next
//! come; a producer that is slow never waits for credit; and where the way is short, or the items of
//! others take it, a window that is much wider only makes longer queues. Twice as much is enough on a
//! short way for both to be at work at the same time, which the streams of one connection learn
//! together: many are short.

use std::time::{Duration, Instant};

/// What a receiver knows of the way of one stream.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    trip: Option<Trip>,
    /// Slow trips in a row.
    slow: u8,
}

/// All streams of a connection, as they are at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) now: Instant,
    /// Bytes of items that have come so far.
    pub(super) arrived: u64,
    /// So many may be on their way at once.
    pub(super) room: u64,
}

/// There and back: from a credit to the first item that could not be sent without it.
#[derive(Debug)]
struct Trip {
    began: Traffic,
    /// So many bytes could be sent without the credit.
    without: u64,
    /// The sender has waited since.
    waited: bool,
}

/// Who waited in a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The sender for credit, and the consumer for items.
    Both,
    /// One of them, or none.
    One,
}

impl Tuning {
    /// A shorter way carries 500 MB a second with the window that is shipped.
    const SHORT_TRIP: Duration = Duration::from_micros(500);
    /// One may be slow because a process was not run.
    const SLOW_TRIPS: u8 = 2;

    /// A credit leaves; without it, the sender could send so many bytes more.
    pub(super) const fn credited(&mut self, without: u64, traffic: Traffic) {
        if self.trip.is_none() {
            self.trip = Some(Trip {
                began: traffic,
                without,
                waited: false,
            });
        }
    }

    /// Items have come. Did their sender wait for credit, and their consumer for them? Gives who waited in
    /// a trip that ends with them.
    pub(super) fn arrived(
        &mut self,
        bytes: u64,
        sender_waited: bool,
        consumer_waited: bool,
        traffic: Traffic,
    ) -> Option<Waited> {
        let trip = self.trip.as_mut()?;
        trip.waited |= sender_waited;
        if let Some(without) = trip.without.checked_sub(bytes) {
            trip.without = without;
            return None;
        }
        let lasted = traffic.now.saturating_duration_since(trip.began.now);
        let is_long = lasted >= Self::SHORT_TRIP;
        // No way carries more in one trip than may be on it at once: this one was there and back
        // several times, and the trip is long because others had their turns.
        let is_others = traffic.arrived - trip.began.arrived > traffic.room;
        let both_waited = trip.waited && consumer_waited;
        let is_slow = is_long && !is_others && both_waited;
        self.slow = if is_slow {
            self.slow.saturating_add(1)
        } else {
            0
        };
        self.trip = None;
        Some(match both_waited {
            true => Waited::Both,
            false => Waited::One,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn a_trip_counts_unless_others_took_the_way_meanwhile() {
        const TRIP: Duration = Duration::from_millis(1);
        const WINDOW: u64 = 257 * 1024;
        const ROOM: u64 = 1024 * 1024;
        let wants_more = |arrived_a_trip: u64| {
            let mut tuning = Tuning::default();
            let mut traffic = Traffic {
                now: Instant::now(),
                arrived: 0,
                room: ROOM,
            };
            for _ in 0..Tuning::SLOW_TRIPS {
                tuning.credited(WINDOW, traffic);
                traffic.now += TRIP;
                traffic.arrived += arrived_a_trip;
                tuning.arrived(WINDOW + 1, true, true, traffic);
            }
            tuning.wants_more()
        };
        assert!(wants_more(WINDOW + 1));
        assert!(wants_more(ROOM), "others, in windows of their own");
        assert!(!wants_more(ROOM + 1));
    }
}
