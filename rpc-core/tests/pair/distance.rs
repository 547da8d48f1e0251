//! Both sides at a distance from each other: a link with a rate and a delay, in virtual time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rpc_core::wire::Outgoing;

use super::harness::{ClientSaw, Cut, ECHO, Pair, WAIT, client_config, server_config, take_up_to};

const BODY: usize = 24 << 20;

/// One direction: what is on its way, and when it will be there.
#[derive(Default)]
struct Link {
    on_its_way: VecDeque<(Instant, Vec<u8>)>,
    free: Option<Instant>,
}

impl Link {
    /// Takes all turns that there are, as a socket that is never full.
    fn take(&mut self, outgoing: &mut Outgoing, now: Instant, way: Way) {
        while outgoing.has_turn() {
            outgoing.note_time(now);
            let mut turn = outgoing.take();
            let bytes = take_up_to(&mut turn, usize::MAX);
            outgoing.prepend(turn);
            let begins = self.free.map_or(now, |free| free.max(now));
            let sent = begins + Duration::from_secs_f64(bytes.len() as f64 / way.rate);
            self.free = Some(sent);
            self.on_its_way.push_back((sent + way.delay, bytes));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.on_its_way.front().map(|(there, _)| *there)
    }

    fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.next().filter(|there| *there <= now)?;
        self.on_its_way.pop_front().map(|(_, bytes)| bytes)
    }
}

#[derive(Clone, Copy)]
struct Way {
    rate: f64,
    delay: Duration,
}

impl Way {
    fn new(rate: f64, round_trip_ms: u64) -> Self {
        Self {
            rate,
            delay: Duration::from_millis(round_trip_ms) / 2,
        }
    }

    /// How long an echo of so much takes at least.
    fn least(self, bytes: usize) -> Duration {
        2 * (self.delay + Duration::from_secs_f64(bytes as f64 / self.rate))
    }
}

/// Client and server with such a way between them.
struct Distance {
    pair: Pair,
    way: Way,
    there: Link,
    back: Link,
}

impl Distance {
    fn open(way: Way) -> Self {
        let (mut client, mut server) = (client_config(), server_config());
        client.message_bytes_max = BODY as u32;
        server.message_bytes_max = BODY as u32;
        let mut distance = Self {
            pair: Pair::with_configs(client, server, Cut::Never, Cut::Never),
            way,
            there: Link::default(),
            back: Link::default(),
        };
        distance.run_until(|saw| *saw == ClientSaw::Opened);
        distance
    }

    /// Lets time pass until the client sees something; gives how long that took.
    fn run_until(&mut self, mut sees: impl FnMut(&ClientSaw) -> bool) -> Duration {
        let begin = self.pair.now;
        loop {
            let now = self.pair.now;
            self.there.take(self.pair.client.outgoing(), now, self.way);
            self.back.take(self.pair.server.outgoing(), now, self.way);
            if std::mem::take(&mut self.pair.client_saw)
                .iter()
                .any(&mut sees)
            {
                return now - begin;
            }
            let next = [self.there.next(), self.back.next()]
                .into_iter()
                .flatten()
                .min();
            self.pair.now = next.expect("something is on its way");
            if let Some(bytes) = self.there.arrived(self.pair.now) {
                self.pair.server_reads(&bytes).unwrap();
            }
            if let Some(bytes) = self.back.arrived(self.pair.now) {
                self.pair.client_reads(&bytes).unwrap();
            }
        }
    }

    /// How long until the reply to this call is here.
    fn replied(&mut self, call: u64) -> Duration {
        self.run_until(|saw| matches!(saw, ClientSaw::Replied { kept, .. } if *kept == call))
    }
}

#[test]
fn a_large_body_takes_little_longer_than_the_way_does() {
    // [frame.ahead]: there and back, also the first of a connection, of which nothing is known yet.
    let body = vec![7; BODY];
    for (rate, round_trip_ms) in [(5e8, 10), (5e8, 50), (5e8, 100), (2e7, 50), (1e9, 1)] {
        let way = Way::new(rate, round_trip_ms);
        let mut distance = Distance::open(way);
        for (call, held) in [(1, 2), (2, 0), (3, 0)] {
            distance.pair.call(ECHO, call, &body);
            let took = distance.replied(call);
            let most = way.least(BODY).mul_f64(1.2) + held * 2 * way.delay;
            assert!(took <= most, "{rate} {round_trip_ms}: {took:?} of {most:?}");
        }
    }
}

#[test]
fn a_small_call_beside_a_large_body_waits_for_round_trips_not_for_the_body() {
    // [frame.ahead]: once the way is known.
    let body = vec![7; BODY];
    for (rate, round_trip_ms) in [(5e7, 10), (2e7, 50), (2e8, 20)] {
        let way = Way::new(rate, round_trip_ms);
        let mut distance = Distance::open(way);
        distance.pair.call(ECHO, 1, &body);
        distance.replied(1);
        distance.pair.call(WAIT, 2, &body);
        let (begin, mut call, mut slowest) = (distance.pair.now, 100, Duration::ZERO);
        while distance.pair.now - begin < way.least(BODY).mul_f64(0.4) {
            call += 1;
            distance.pair.call(ECHO, call, b"small");
            slowest = slowest.max(distance.replied(call));
        }
        assert!(call > 103, "{call}");
        let most = 3 * 2 * way.delay + Duration::from_millis(5);
        assert!(
            slowest <= most,
            "{rate} {round_trip_ms}: {slowest:?} of {most:?}"
        );
    }
}
