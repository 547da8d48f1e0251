//! Streams over a way that takes its time, and windows that grow because of it.

use std::collections::VecDeque;
use std::time::Duration;

use rpc_core::StreamLimits;
use rpc_core::connection::{CallId, Sent};
use rpc_core::wire::Batch;

use super::clock::MS;
use super::harness::*;
use super::pieces::{KIB, assert_violation};
use super::raw;
use super::streaming::batch;

/// A stream from the server, and the way between the two: it takes time, and carries so many bytes in
/// each tick.
struct Path {
    pair: Pair,
    call: CallId,
    tick: Duration,
    one_way: Duration,
    tick_bytes: usize,
    to_client: Way,
    to_server: Way,
    time: Duration,
    item: Vec<u8>,
    batch: Batch,
    /// Bytes of items that have arrived, and those of them that were not consumed.
    came: usize,
    held: usize,
}

/// What is on its way, and when it arrives.
#[derive(Default)]
struct Way(VecDeque<(Duration, Vec<u8>)>);

impl Way {
    fn arrived(&mut self, time: Duration) -> Option<Vec<u8>> {
        let is_due = self.0.front().is_some_and(|(at, _)| *at <= time);
        is_due.then(|| self.0.pop_front().unwrap().1)
    }

    fn send(&mut self, at: Duration, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.0.push_back((at, bytes));
        }
    }
}

/// As many items as fit; as much as is there.
const ALL: usize = usize::MAX;

impl Path {
    /// 100 MB/s, 64 KiB in an item.
    fn new(limits: StreamLimits, tick: Duration, one_way: Duration) -> Self {
        let mut client = client_config();
        client.stream_limits = limits;
        let mut pair = Pair::with_configs(client, server_config(), Cut::Never, Cut::Never);
        let call = pair.start_stream(1, b"");
        pair.drive();
        pair.begin_reply(call, b"");
        pair.drive();
        pair.client_saw.clear();
        Self {
            pair,
            call,
            tick,
            one_way,
            tick_bytes: (tick.as_secs_f64() * 100e6) as usize,
            to_client: Way::default(),
            to_server: Way::default(),
            time: Duration::ZERO,
            item: vec![7; 8 * KIB - 4],
            batch: Batch::new(),
            came: 0,
            held: 0,
        }
    }

    /// One tick, in which the producer has so many items, and the consumer takes so many bytes.
    fn tick(&mut self, items: usize, takes: usize) {
        self.time += self.tick;
        self.pair.now += self.tick;
        while let Some(bytes) = self.to_server.arrived(self.time) {
            self.pair.server_reads(&bytes).unwrap();
        }
        let written = self.produce(items);
        self.to_client.send(self.time + self.one_way, written);
        while let Some(bytes) = self.to_client.arrived(self.time) {
            self.pair.client_reads(&bytes).unwrap();
        }
        let came = self.pair.client_saw.drain(..).map(|saw| match saw {
            ClientSaw::Items(_, items) => items.iter().map(|item| item.len() + 4).sum(),
            _ => 0,
        });
        let came: usize = came.sum();
        self.came += came;
        self.held += came;
        let taken = self.held.min(takes);
        self.held -= taken;
        let now = self.pair.now;
        self.pair.client.streams().consumed(self.call, taken, now);
        let said = take(self.pair.client.outgoing());
        self.to_server.send(self.time + self.one_way, said);
    }

    /// What the server writes in a tick.
    fn produce(&mut self, mut items: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while written.len() < self.tick_bytes {
            if self.batch.is_empty() && items > 0 {
                self.batch = batch(&[&self.item]);
                items -= 1;
            }
            let sent = self.pair.server.streams().send(self.call, &mut self.batch);
            let room = self.tick_bytes - written.len();
            let part = take_up_to(self.pair.server.outgoing(), room);
            if part.is_empty() && (sent == Sent::AwaitsCredit || items == 0) {
                break;
            }
            written.extend(part);
        }
        written
    }

    /// Checks how wide the window is: so much comes while nothing is consumed, less what was consumed
    /// before and is less than a portion.
    fn assert_width(mut self, width: usize) {
        let quiet = 10 * (self.one_way.div_duration_f64(self.tick) as usize + 10);
        (0..quiet).for_each(|_| self.tick(0, ALL));
        assert_eq!(self.held, 0);
        let before = self.came;
        (0..quiet).for_each(|_| self.tick(ALL, 0));
        let came = self.came - before;
        assert!(
            came <= width && came + PORTION > width,
            "{came}, not {width}"
        );
    }
}

const PORTION: usize = 16 * KIB;

const SHIPPED: usize = 257 * KIB;
const MIB: usize = 1024 * KIB;

#[test]
fn f4_a_large_stream_fills_a_long_way() {
    // F4 [stream.growth]: 100 MB, 50 ms there and back, 100 MB/s.
    let mut path = Path::new(StreamLimits::SHIPPED, MS, 25 * MS);
    while path.came < 100_000_000 {
        path.tick(ALL, ALL);
        assert!(path.time < 10_000 * MS, "{} bytes came", path.came);
    }
    let share = (1000 * MS + 25 * MS).div_duration_f64(path.time);
    assert!(share >= 0.7, "{share} of what the way carries");
    path.assert_width(SHIPPED + 8 * KIB * KIB);
}

#[test]
fn a_window_stays_where_round_trips_hold_nobody_up() {
    // [stream.growth] S4-2
    // A consumer that takes nothing for ten seconds.
    let mut path = Path::new(StreamLimits::SHIPPED, MS, 25 * MS);
    (0..10_000).for_each(|_| path.tick(ALL, 0));
    assert_eq!(path.came, SHIPPED / (8 * KIB) * 8 * KIB);
    // A producer with 8 KiB in each 2 ms, which is less than the window in 50 ms.
    let mut path = Path::new(StreamLimits::SHIPPED, MS, 25 * MS);
    (0..5_000).for_each(|n| path.tick(1 - n % 2, ALL));
    path.assert_width(SHIPPED);
    // A short way that carries less than the window, and a consumer that waits for items.
    let (tick, one_way) = (MS / 20, MS / 20);
    let mut path = Path::new(StreamLimits::SHIPPED, tick, one_way);
    (0..20_000).for_each(|_| path.tick(ALL, ALL));
    path.assert_width(SHIPPED);
    // One that carries more, and a consumer that always has some left.
    let mut path = Path::new(StreamLimits::SHIPPED, tick, one_way);
    path.tick_bytes = MIB;
    (0..20_000).for_each(|_| path.tick(ALL, 16 * KIB));
    path.assert_width(SHIPPED);
}

#[test]
fn on_a_short_way_a_window_doubles_once() {
    // [stream.growth]: if the sender has to wait for credit, and the consumer for items.
    let (tick, one_way) = (MS / 20, MS / 20);
    for (tick_bytes, pause) in [(MIB, 1), (5_000, 100)] {
        let mut path = Path::new(StreamLimits::SHIPPED, tick, one_way);
        path.tick_bytes = tick_bytes;
        (0..20_000).for_each(|n| path.tick(ALL, if n % pause == 0 { ALL } else { 0 }));
        path.assert_width(2 * SHIPPED);
    }
}

#[test]
fn windows_grow_as_far_as_they_may() {
    // [stream.growth]
    for growth in [0, 100_000, 3 << 20] {
        let limits = StreamLimits::SHIPPED.with_growth_bytes(growth);
        let mut path = Path::new(limits, MS, 25 * MS);
        (0..2_000).for_each(|_| path.tick(ALL, ALL));
        path.assert_width(SHIPPED + growth as usize);
    }
}

#[test]
fn a_grown_window_is_its_streams_own() {
    // [stream.growth] [stream.window]: whoever is told of it or of its end later counts no less.
    let mut pair = Pair::open();
    let calls = [1, 2].map(|kept| pair.start_stream(kept, b""));
    pair.drive();
    let grown = credit(calls[0], &[16 * 1024, 4 << 20]);
    pair.client_sends(calls[0], &[&vec![7; 20 * KIB]]);
    pair.client_reads(&grown).unwrap();
    let fill = |pair: &mut Pair, call| {
        let sent = (0..10_000).take_while(|_| {
            loop {
                match pair.client_sends(call, &[&[7; 1020]]) {
                    Sent::All => return true,
                    Sent::AwaitsCredit => return false,
                    _ => drop(take(pair.client.outgoing())),
                }
            }
        });
        sent.count()
    };
    let first = fill(&mut pair, calls[0]);
    assert_eq!(
        first,
        4 * KIB + 257 - 5,
        "its own growth, and what all have"
    );
    assert_eq!(fill(&mut pair, calls[1]), 257);
}

fn credit(call: CallId, numbers: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    raw::frame(raw::CREDIT, call.number() as u32, &body)
}

#[test]
fn t9_a_window_that_nobody_can_have_closes_the_connection() {
    // T9 [stream.growth] [stream.credit]
    for numbers in [&[16 * 1024, u32::MAX][..], &[1, 2, 3], &[]] {
        let mut pair = Pair::open();
        let call = pair.start_stream(1, b"");
        pair.drive();
        pair.client_sends(call, &[&vec![7; 20 * KIB]]);
        assert_violation(pair.client_reads(&credit(call, numbers)));
    }
}
