//! Random streams over random wires: what arrives is what was sent, in order, as far as it goes, and
//! neither of two honest sides ever finds fault with the other.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rpc_core::StreamLimits;
use rpc_core::connection::{CallId, RequestHead, Sent};
use rpc_core::wire::{Batch, Outgoing};
use rpc_core::{Deadline, Status};

use super::harness::*;
use super::ids::tolerates_exactly_100;

/// One direction of the streams of a call.
#[derive(Debug, Default)]
struct Way {
    open: bool,
    batch: Batch,
    sent: u32,
    seen: u32,
    /// Bytes that arrived and were not consumed.
    held: usize,
}

#[derive(Debug)]
struct Call {
    id: CallId,
    at_client: bool,
    at_server: bool,
    /// To the server, to the client.
    ways: [Way; 2],
}

/// What was written and has not arrived.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    turn: Option<Outgoing>,
}

struct Model {
    pair: Pair,
    calls: BTreeMap<u64, Call>,
    wires: [Wire; 2],
    serial: u64,
}

const TO_SERVER: usize = 0;
const TO_CLIENT: usize = 1;

impl Model {
    fn new(limits: [u32; 4]) -> Self {
        let (mut client, mut server) = (client_config(), server_config());
        server.stream_limits = StreamLimits::new(limits[0], limits[1]);
        client.stream_limits = StreamLimits::new(limits[2], limits[3]);
        server.streams_max = 6;
        Self {
            pair: Pair::with_configs(client, server, Cut::Never, Cut::Never),
            calls: BTreeMap::new(),
            wires: [Wire::default(), Wire::default()],
            serial: 0,
        }
    }

    fn step(&mut self, action: u8, which: u8, size: u16) {
        let size = usize::from(size);
        match action % 20 {
            0 | 1 => self.start(which),
            2 => {
                self.serial += 1;
                let body = vec![7; [0, 300, 70_000][size % 3]];
                let method = [ECHO, WAIT][usize::from(which) % 2];
                if self.pair.client.accepts_calls() {
                    self.pair.call(method, self.serial, &body);
                }
            }
            3..=6 => self.produce(usize::from(which) % 2, which / 2, size),
            7..=9 => self.write(usize::from(which) % 2, which / 2, size),
            10..=12 => self.arrive(usize::from(which) % 2, size),
            13 | 14 => self.consume(usize::from(which) % 2, which / 2, size),
            15 => self.end(usize::from(which) % 2, which / 2),
            16 if size.is_multiple_of(3) => self.give_up(which),
            17 if size.is_multiple_of(3) => self.fail(which),
            18 if size.is_multiple_of(3) => self.stop(which),
            19 if size % 30 == 1 => self.pair.server.drain(self.pair.now, "drained"),
            19 if size.is_multiple_of(3) => self.pass(Duration::from_millis(u64::from(which))),
            _ => self.begin_reply(which),
        }
        self.look();
    }

    fn start(&mut self, which: u8) {
        if !self.pair.client.accepts_calls() {
            return;
        }
        self.serial += 1;
        let now = self.pair.now;
        let time = Duration::from_millis(u64::from(which));
        let deadline = which.is_multiple_of(4).then(|| Deadline::after(now, time));
        let head = RequestHead::new(STREAM).with_deadline(deadline, now);
        let body = vec![1; [0, 0, 0, 80_000][usize::from(which / 4) % 4]];
        let id = self.pair.start_stream_with(head, self.serial, &body);
        let mut ways = [Way::default(), Way::default()];
        ways[TO_SERVER].open = true;
        let call = Call {
            id,
            at_client: true,
            at_server: false,
            ways,
        };
        self.calls.insert(self.serial, call);
    }

    /// One of the calls that fulfil a condition.
    fn pick(&mut self, which: u8, has: impl Fn(&Call) -> bool) -> Option<(u64, &mut Call)> {
        let count = self.calls.values().filter(|call| has(call)).count();
        let nth = usize::from(which) % count.max(1);
        let mut fitting = self.calls.iter_mut().filter(|(_, call)| has(call));
        fitting.nth(nth).map(|(kept, call)| (*kept, call))
    }

    fn produce(&mut self, way: usize, which: u8, size: usize) {
        let Some((kept, call)) = self.pick(which, |call| call.ways[way].open) else {
            return;
        };
        let stream = &mut call.ways[way];
        for _ in 0..1 + size % 5 {
            let length = [8, 8, 30, 500, 9000, 30_000, 68_000, LIMIT][size / 8 % 8];
            let pushed = stream.batch.push::<(), ()>(LIMIT, |out| {
                let start = out.len();
                out.extend_from_slice(&(kept as u32).to_le_bytes());
                out.extend_from_slice(&stream.sent.to_le_bytes());
                out.resize(start + length, 3);
                Ok(())
            });
            pushed.unwrap();
            stream.sent += 1;
            if stream.batch.len() > 100_000 {
                break;
            }
        }
        self.send(way, kept);
    }

    fn send(&mut self, way: usize, kept: u64) {
        let call = self.calls.get_mut(&kept).unwrap();
        let mut streams = match way {
            TO_SERVER => self.pair.client.streams(),
            _ => self.pair.server.streams(),
        };
        let stream = &mut call.ways[way];
        let sent = streams.send(call.id, &mut stream.batch);
        assert!(sent != Sent::All || stream.batch.is_empty());
        if sent == Sent::Over {
            assert!(!stream.open, "{kept} is over, and nobody said so");
        }
    }

    /// Takes a turn, or writes a part of it, or gives it back.
    fn write(&mut self, way: usize, how: u8, size: usize) {
        let outgoing = match way {
            TO_SERVER => self.pair.client.outgoing(),
            _ => self.pair.server.outgoing(),
        };
        let wire = &mut self.wires[way];
        match wire.turn.take() {
            None if how.is_multiple_of(8) => wire.bytes.extend(take_up_to(outgoing, size)),
            None => wire.turn = Some(outgoing.take()),
            Some(mut turn) => {
                wire.bytes
                    .extend(take_up_to(&mut turn, size * (1 + usize::from(how % 4))));
                match how % 3 {
                    0 => wire.turn = Some(turn),
                    _ => outgoing.prepend(turn),
                }
            }
        }
    }

    fn arrive(&mut self, way: usize, size: usize) {
        let wire = &mut self.wires[way];
        let bytes: Vec<u8> = wire.bytes.drain(..size.min(wire.bytes.len())).collect();
        match way {
            TO_SERVER => self.pair.server_reads(&bytes).unwrap(),
            _ => self.pair.client_reads(&bytes).unwrap(),
        }
    }

    fn consume(&mut self, way: usize, which: u8, size: usize) {
        let Some((_, call)) = self.pick(which, |call| call.ways[way].held > 0) else {
            return;
        };
        let bytes = call.ways[way].held.min(1 + size);
        call.ways[way].held -= bytes;
        let id = call.id;
        match way {
            TO_SERVER => self
                .pair
                .server
                .streams()
                .consumed(id, bytes, self.pair.now),
            _ => self
                .pair
                .client
                .streams()
                .consumed(id, bytes, self.pair.now),
        };
    }

    fn end(&mut self, way: usize, which: u8) {
        let ready = |call: &Call| call.ways[way].open && call.ways[way].batch.is_empty();
        let Some((_, call)) = self.pick(which, ready) else {
            return;
        };
        let id = call.id;
        if way == TO_SERVER {
            if self.pair.client.streams().can_end(id) {
                call_of(&mut self.calls, id).ways[way].open = false;
                let status = Status::aborted("no more");
                let end = if which.is_multiple_of(2) {
                    Ok(())
                } else {
                    Err(&status)
                };
                self.pair.client.end_items(id, end);
            }
        } else if self.pair.server.streams().can_end(id) {
            over_at_server(call_of(&mut self.calls, id));
            self.pair.server.unpark(id).unwrap();
            self.pair.server.end_items(id);
        }
    }

    fn begin_reply(&mut self, which: u8) {
        let ready = |call: &Call| call.at_server && !call.ways[TO_CLIENT].open;
        let Some((_, call)) = self.pick(which, ready) else {
            return;
        };
        let id = call.id;
        if self.pair.server.parked(id).is_none() || self.pair.begun.contains_key(&id) {
            return;
        }
        let length = [0, 0, 100, 70_000][usize::from(which) % 4];
        let answered = self.pair.server.reply(id, &metadata(&[]), |out| {
            out.resize(out.len() + length, 0);
            Ok(rpc_core::wire::Follows::Items)
        });
        let call = call_of(&mut self.calls, id);
        match answered {
            rpc_core::connection::Answered::Items => call.ways[TO_CLIENT].open = true,
            _ => over_at_server(call),
        }
    }

    fn give_up(&mut self, which: u8) {
        if let Some((_, call)) = self.pick(which, |call| call.at_client) {
            over_at_client(call);
            let id = call.id;
            self.pair.client.release(id).unwrap();
        }
    }

    fn fail(&mut self, which: u8) {
        if let Some((_, call)) = self.pick(which, |call| call.at_server) {
            over_at_server(call);
            let id = call.id;
            self.pair.fail(id, &Status::aborted("enough"));
        }
    }

    fn stop(&mut self, which: u8) {
        let running = |call: &Call| call.at_server;
        if let Some((_, call)) = self.pick(which, running) {
            let id = call.id;
            if !self.pair.begun.contains_key(&id) {
                self.pair.server.stop_items(id);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let [client, server] = self.pair.pass(time);
        client.and(server).unwrap();
    }

    /// Takes note of what both sides saw.
    fn look(&mut self) {
        for saw in std::mem::take(&mut self.pair.server_saw) {
            match saw {
                ServerSaw::Request {
                    id, method: STREAM, ..
                } => {
                    by_number(&mut self.calls, id).at_server = true;
                }
                ServerSaw::Items(id, row) => {
                    let call = by_number(&mut self.calls, id);
                    assert!(call.at_server);
                    take_items(&mut call.ways[TO_SERVER], &row);
                }
                ServerSaw::ItemsEnded(id, _) => {
                    let way = &by_number(&mut self.calls, id).ways[TO_SERVER];
                    assert!(
                        !way.open && way.seen == way.sent,
                        "ended before its last item"
                    );
                }
                ServerSaw::Cancelled(id) | ServerSaw::Expired(id) => {
                    self.pair.begun.retain(|call, _| call.number() != id);
                    if let Some(call) = self.calls.values_mut().find(|c| c.id.number() == id) {
                        over_at_server(call);
                    }
                }
                _ => {}
            }
        }
        for saw in std::mem::take(&mut self.pair.client_saw) {
            match saw {
                ClientSaw::Items(kept, row) => {
                    let call = self.calls.get_mut(&kept).unwrap();
                    assert!(call.at_client);
                    take_items(&mut call.ways[TO_CLIENT], &row);
                }
                ClientSaw::Ended(kept) => {
                    let call = self.calls.get_mut(&kept).unwrap();
                    let way = &call.ways[TO_CLIENT];
                    assert_eq!(way.seen, way.sent, "ended before its last item");
                    assert!(call.at_client, "ended twice");
                    over_at_client(call);
                }
                ClientSaw::Failed { kept, .. } | ClientSaw::Expired(kept) => {
                    if let Some(call) = self.calls.get_mut(&kept) {
                        assert!(call.at_client, "ended twice");
                        over_at_client(call);
                    }
                }
                ClientSaw::Stopped(kept) => {
                    let call = self.calls.get_mut(&kept).unwrap();
                    call.ways[TO_SERVER].open = false;
                }
                _ => {}
            }
        }
    }

    /// What is not over.
    fn state(&mut self) -> String {
        let live = self
            .calls
            .values()
            .filter(|call| call.at_client || call.at_server);
        let live: Vec<_> = live
            .map(|call| {
                (
                    call.id,
                    call.at_client,
                    call.at_server,
                    call.ways
                        .each_ref()
                        .map(|way| (way.open, way.batch.len(), way.sent, way.seen, way.held)),
                )
            })
            .collect();
        let wires = self
            .wires
            .each_ref()
            .map(|wire| (wire.bytes.len(), wire.turn.is_some()));
        let sides = (self.pair.client.in_flight(), self.pair.server.running());
        format!("{live:?} {wires:?} {sides:?}")
    }

    /// Everybody does what is left to do.
    fn finish(mut self) {
        for round in 0.. {
            assert!(round < 2000, "somebody waits for ever: {}", self.state());
            for way in [TO_SERVER, TO_CLIENT] {
                let open = |(kept, call): (&u64, &Call)| call.ways[way].open.then_some(*kept);
                for kept in self.calls.iter().filter_map(open).collect::<Vec<_>>() {
                    self.send(way, kept);
                }
                for which in 0..8 {
                    self.consume(way, which, usize::MAX >> 1);
                    self.end(way, which);
                }
                let begun = self.wires[way].turn.is_some();
                for _ in 0..2 + usize::from(begun) {
                    self.write(way, 1, 1 << 20);
                }
                self.arrive(way, usize::MAX);
                self.look();
            }
            for which in 0..8 {
                self.begin_reply(which);
            }
            self.pair
                .waiting
                .retain(|(call, _)| self.calls.values().all(|of| of.id != *call));
            self.pair.answer_parked();
            // Where the client has left at its deadline, the server waits for its own.
            self.pass(Duration::from_millis(1));
            self.look();
            if self
                .calls
                .values()
                .all(|call| !call.at_client && !call.at_server)
                && self
                    .wires
                    .iter()
                    .all(|wire| wire.bytes.is_empty() && wire.turn.is_none())
                && self.pair.is_quiet()
            {
                break;
            }
        }
        assert_eq!(self.pair.client.in_flight() + self.pair.server.running(), 0);
        tolerates_exactly_100(&mut self.pair);
    }
}

fn call_of(calls: &mut BTreeMap<u64, Call>, id: CallId) -> &mut Call {
    by_number(calls, id.number())
}

fn by_number(calls: &mut BTreeMap<u64, Call>, id: u64) -> &mut Call {
    let found = calls.values_mut().find(|call| call.id.number() == id);
    found.expect("it was started")
}

fn over_at_client(call: &mut Call) {
    call.at_client = false;
    call.ways[TO_SERVER].open = false;
    call.ways[TO_SERVER].batch.clear();
    call.ways[TO_CLIENT].held = 0;
}

fn over_at_server(call: &mut Call) {
    call.at_server = false;
    call.ways[TO_CLIENT].open = false;
    call.ways[TO_CLIENT].batch.clear();
    call.ways[TO_SERVER].held = 0;
}

/// The next items of a stream, and no others.
fn take_items(way: &mut Way, row: &[Vec<u8>]) {
    for item in row {
        let (head, rest) = item.split_at(8);
        assert_eq!(head[4..], way.seen.to_le_bytes(), "a gap, or twice");
        assert!(rest.iter().all(|byte| *byte == 3));
        way.seen += 1;
        way.held += 4 + item.len();
    }
    assert!(way.seen <= way.sent);
}

fn limits() -> impl Strategy<Value = [u32; 4]> {
    let window = || prop_oneof![1..200_u32, 1000..70_000_u32, 70_000..300_000_u32];
    [window(), window(), window(), window()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn t9_honest_streams_are_in_order_and_never_beyond_a_window(
        steps in prop::collection::vec(any::<(u8, u8, u16)>(), 0..120),
        limits in limits(),
    ) {
        // [stream.window] [stream.items] [stream.end] [frame.pieces] [call.once]
        let mut model = Model::new(limits);
        for (action, which, size) in steps {
            model.step(action, which, size);
        }
        model.finish();
    }
}
