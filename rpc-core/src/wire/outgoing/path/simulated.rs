//! Ways of every kind, as numbers: a link with a rate and a delay, and a reader that picks up what
//! comes out of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::ahead::Ahead;
use super::epoch;

const MIB: u64 = 1 << 20;

/// A way, and what is on it.
struct Way {
    now: Instant,
    start: Instant,
    /// Bytes a second.
    rate: f64,
    /// From end to end, one way.
    delay: Duration,
    /// What the reader takes longer now and then, at the most.
    jitter: Duration,
    /// The state of a generator of jitter.
    seed: u64,
    /// When the link has sent all that it was given.
    link_free: Instant,
    /// When the reader has read all that came.
    reader_free: Instant,
    /// When a piece was sent, when its report will be here, and how long it is.
    pieces: VecDeque<(Instant, Instant, usize)>,
    sent: u64,
    read: u64,
    /// The longest that a piece took, since this was set to nothing.
    slowest: Duration,
    /// The same of how long a piece was.
    longest: usize,
}

impl Way {
    fn new(rate: f64, round_trip: Duration) -> Self {
        let now = epoch();
        Self {
            now,
            start: now,
            rate,
            delay: round_trip / 2,
            jitter: Duration::ZERO,
            seed: 1,
            link_free: now,
            reader_free: now,
            pieces: VecDeque::new(),
            sent: 0,
            read: 0,
            slowest: Duration::ZERO,
            longest: 0,
        }
    }

    fn random(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) as f64 / (1_u64 << 31) as f64
    }

    /// Sends what the window admits, up to `total` in all.
    fn send(&mut self, ahead: &mut Ahead, total: u64) {
        ahead.note_time(self.now);
        while self.sent < total && ahead.admits() {
            let bytes = ahead.piece_bytes().min((total - self.sent) as usize);
            ahead.take(bytes);
            self.longest = self.longest.max(bytes);
            self.sent += bytes as u64;
            let takes = Duration::from_secs_f64(bytes as f64 / self.rate);
            self.link_free = self.link_free.max(self.now) + takes;
            let pause = self.jitter.mul_f64(self.random());
            self.reader_free = self.reader_free.max(self.link_free + self.delay) + pause;
            let report = self.reader_free + self.delay;
            self.pieces.push_back((self.now, report, bytes));
        }
    }

    /// Goes on to the next report.
    fn hear(&mut self, ahead: &mut Ahead) {
        let (sent, report, bytes) = self.pieces.pop_front().expect("something is on its way");
        self.now = report;
        self.read += bytes as u64;
        self.slowest = self.slowest.max(report - sent);
        assert!(ahead.read(bytes, report));
    }

    /// Sends so much, and gives how long it took to the last report.
    fn carry(&mut self, ahead: &mut Ahead, bytes: u64, lively: bool) -> Duration {
        let (begin, total) = (self.now, self.sent + bytes);
        (self.slowest, self.longest) = (Duration::ZERO, 0);
        self.send(ahead, total);
        while !self.pieces.is_empty() {
            self.hear(ahead);
            if lively {
                ahead.note_small();
            }
            self.send(ahead, total);
        }
        self.now - begin
    }

    /// How long so much takes if nothing is held back.
    fn least(&self, bytes: u64) -> Duration {
        2 * self.delay + Duration::from_secs_f64(bytes as f64 / self.rate)
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_body_over_a_distance_takes_little_longer_than_without_reports() {
    // [frame.ahead]: the first of a connection too.
    for round_trip in [1, 10, 50, 100, 300] {
        for rate in [1e7, 1e8, 6e8, 1.2e9] {
            for lively in [false, true] {
                let mut ahead = Ahead::default();
                let mut way = Way::new(rate, ms(round_trip));
                let least = way.least(48 * MIB);
                for body in 0..3 {
                    let took = way.carry(&mut ahead, 48 * MIB, lively);
                    // The first is held back until the first report.
                    let first = ms(if body == 0 { round_trip } else { 0 });
                    let most = least.mul_f64(1.15) + first;
                    assert!(
                        took <= most,
                        "{round_trip} ms, {rate}: {took:?} for {least:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_small_waits_for_a_round_trip_at_the_most() {
    // [frame.ahead]: once the rate is known, however long it goes on.
    for round_trip in [5, 50] {
        for rate in [1e7, 5e7] {
            let mut ahead = Ahead::default();
            let mut way = Way::new(rate, ms(round_trip));
            way.carry(&mut ahead, (3.0 * rate) as u64, true);
            for _ in 0..2 {
                way.carry(&mut ahead, (30.0 * rate) as u64, true);
                // A piece more, and what is the least.
                let least = Duration::from_secs_f64(128.0 * 1024.0 / rate);
                let most = ms(round_trip).mul_f64(3.2) + least;
                assert!(
                    way.slowest <= most,
                    "{round_trip} ms, {rate}: {:?}",
                    way.slowest
                );
            }
        }
    }
}

#[test]
fn a_short_way_holds_little() {
    // [frame.ahead]: loopback, on which all waits in front of the reader.
    for (lively, most) in [(true, 192 * 1024), (false, 2 * MIB)] {
        let mut ahead = Ahead::default();
        let mut way = Way::new(2e9, Duration::from_micros(20));
        way.carry(&mut ahead, 64 * MIB, lively);
        way.carry(&mut ahead, 128 * MIB, lively);
        let waits = (way.slowest.as_secs_f64() * way.rate) as u64;
        assert!(waits <= most, "{waits} bytes");
    }
}

#[test]
fn a_piece_is_no_longer_than_what_is_read_soon() {
    // [frame.ahead] [frame.pieces]
    let micros = Duration::from_micros;
    let ways = [
        // A half of what may be on its way.
        (4e9, micros(20), false, 900..=1024),
        (1.2e9, micros(20), false, 256..=300),
        // What is read in half a millisecond, or 256 KiB.
        (1.2e9, ms(50), false, 500..=600),
        (1e8, ms(50), false, 256..=256),
        (4e9, micros(20), true, 16..=64),
    ];
    for (rate, round_trip, lively, expected) in ways {
        let mut ahead = Ahead::default();
        let mut way = Way::new(rate, round_trip);
        way.carry(&mut ahead, 64 * MIB, lively);
        way.carry(&mut ahead, 128 * MIB, lively);
        let longest = way.longest / 1024;
        assert!(
            expected.contains(&longest),
            "{longest} KiB at {rate}, {round_trip:?}"
        );
    }
}

#[test]
fn jitter_and_pauses_of_the_reader_cost_little() {
    // [frame.ahead]: a rate that is measured in a bad moment is not the last word.
    for round_trip in [1, 20] {
        let mut ahead = Ahead::default();
        let mut way = Way::new(1e8, ms(round_trip));
        way.carry(&mut ahead, 64 * MIB, false);
        way.jitter = ms(round_trip) / 2;
        // The reader reads slower by it, not only later.
        let piece = 64.0 * 1024.0;
        let slow = piece / (piece / way.rate).max(way.jitter.as_secs_f64() / 2.0);
        let took = way.carry(&mut ahead, 64 * MIB, false);
        let least = Duration::from_secs_f64(64.0 * MIB as f64 / slow);
        assert!(
            took <= least.mul_f64(1.5) + ms(100),
            "{took:?} for {least:?}"
        );
        way.jitter = Duration::ZERO;
        way.reader_free += ms(500);
        way.carry(&mut ahead, 16 * MIB, false);
        let took = way.carry(&mut ahead, 64 * MIB, false);
        let least = way.least(64 * MIB);
        assert!(took <= least.mul_f64(1.3), "{took:?} for {least:?}");
    }
}

#[test]
fn a_way_that_changes_is_measured_anew() {
    // [frame.ahead]: longer, shorter, slower and faster than it was.
    let ways = [
        (1e8, 1),
        (1e8, 80),
        (1e7, 80),
        (1e8, 10),
        (5e8, 40),
        (1e9, 1),
    ];
    let mut ahead = Ahead::default();
    let mut way = Way::new(1e8, ms(20));
    for (rate, round_trip) in ways {
        (way.rate, way.delay) = (rate, ms(round_trip) / 2);
        // Half a minute of it, in which the shortest time ages.
        let until = way.now + Duration::from_secs(30);
        while way.now < until {
            way.carry(&mut ahead, (3.0 * rate) as u64, false);
        }
        let bytes = (2.0 * rate) as u64;
        let took = way.carry(&mut ahead, bytes, false);
        let least = way.least(bytes);
        assert!(
            took <= least.mul_f64(1.3),
            "{rate} {round_trip}: {took:?} for {least:?}"
        );
        let most = ms(round_trip).mul_f64(3.2) + Duration::from_secs_f64(640.0 * 1024.0 / rate);
        assert!(
            way.slowest <= most,
            "{rate} {round_trip}: {:?}",
            way.slowest
        );
    }
    assert!(way.read == way.sent && way.now > way.start);
}
