//! The whole of a client's connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rpc_core::connection::{
    CallId, ClientConfig, ClientConnection, ClientEvent, ConnectionError, RequestHead, StartError,
};
use rpc_core::wire::{Batch, Follows};
use rpc_core::{Deadline, Metadata, MethodId, Status};

use super::script::{Pieces, Script, Written, epoch, later};

const REQUEST: u8 = 1;
const CANCEL: u8 = 4;
const ITEM: u8 = 5;
const END: u8 = 6;
const CREDIT: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const CHUNK: u8 = 11;
/// Replies in pieces may be longer than one.
const MESSAGE_BYTES_MAX: usize = 100_000;
/// A script of two bytes may start hundreds of calls.
const CALLS_MAX: u64 = 10_000;

struct Client {
    connection: ClientConnection<u64>,
    now: Instant,
    serial: u64,
    /// Calls that have not ended, by what the client keeps for them.
    open: BTreeMap<u64, CallId>,
    last: u64,
    pieces: Pieces,
    written: Written,
    cancels: usize,
    closed: bool,
}

/// A script of calls that are started and dropped, bytes that arrive and time that passes. In the
/// first byte: bit 0, a good ack comes first; bit 1, an idle timeout; bit 2, pings also while idle.
pub fn client(data: &[u8]) {
    let mut script = Script::new(data);
    let choice = script.byte();
    let mut config = ClientConfig::new(1);
    config.message_bytes_max = MESSAGE_BYTES_MAX as u32;
    if choice & 2 != 0 {
        config.idle_timeout = Some(Duration::from_secs(60));
    }
    if choice & 4 != 0 {
        config.keep_alive = config.keep_alive.map(|keep_alive| keep_alive.when_idle());
    }
    let now = epoch();
    let mut client = Client {
        connection: ClientConnection::new(config, now),
        now,
        serial: 0,
        open: BTreeMap::new(),
        last: 0,
        pieces: Pieces::default(),
        written: Written::new(),
        cancels: 0,
        closed: false,
    };
    if choice & 1 != 0 {
        client.feed(b"\x93rpc\x01\x00\x01\0\0\0\0\0\0\0\0\0");
    }
    while !script.is_over() && !client.closed {
        client.step(&mut script);
        client.check();
    }
    client.close();
    client.check();
}

impl Client {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 21 {
            0..=2 => {
                let length = script.byte();
                self.feed(script.bytes(length.into()));
            }
            3 => {
                let length = script.word();
                self.feed(script.bytes(length.into()));
            }
            4 => self.start(None, &[], &Metadata::new()),
            5 => {
                let deadline = Deadline::after(self.now, script.time());
                self.start(Some(deadline), script.bytes(8), &Metadata::new());
            }
            6 => {
                let mut metadata = Metadata::new();
                let value = u32::from(script.byte()).to_string();
                metadata.append("key", &value).expect("digits may travel");
                self.start(None, &[7; 300], &metadata);
            }
            7 => {
                for _ in 0..script.byte() {
                    self.start(None, &[], &Metadata::new());
                }
            }
            8 => drop(self.connection.start_oneway(head(), |_| Ok(()))),
            9 => self.give_up(script.byte()),
            10 => {
                for _ in 0..script.byte() {
                    self.give_up(0);
                }
            }
            11 | 12 => self.pass(later(self.now, script.time())),
            13 => {
                if let Some(due) = self.connection.poll_timeout() {
                    self.pass(self.now.max(due));
                }
            }
            14 => self.write(script.word().into()),
            16 if self.may_start_large() => self.start(None, &[7; 70_000], &Metadata::new()),
            17 if self.may_start_large() => self.start_stream(script.byte()),
            18 => self.send_items(script.byte(), script.word().into()),
            19 => {
                if let Some(call) = self.nth(script.byte()) {
                    self.connection
                        .streams()
                        .consumed(call, script.word().into(), self.now);
                }
            }
            20 => {
                let which = script.byte();
                if let Some(call) = self.nth(which)
                    && self.connection.streams().can_end(call)
                {
                    let status = Status::aborted("no more");
                    let end = if which < 128 { Ok(()) } else { Err(&status) };
                    self.connection.end_items(call, end);
                }
            }
            _ => {
                let mut held = self.connection.outgoing().take();
                let part = held.chunk().len().min(script.byte().into());
                self.written.push(&held.chunk()[..part]);
                held.advance(part);
                self.connection.outgoing().prepend(held);
            }
        }
    }

    fn start(&mut self, deadline: Option<Deadline>, body: &[u8], metadata: &Metadata) {
        if self.serial >= CALLS_MAX {
            return;
        }
        self.serial += 1;
        let head = head()
            .with_deadline(deadline, self.now)
            .with_metadata(Some(metadata));
        let started = self.connection.start_call(head, self.serial, |out| {
            out.extend_from_slice(body);
            Ok(())
        });
        match started {
            Ok(call) => {
                assert!(call.number() > self.last, "ids rise");
                self.last = call.number();
                self.open.insert(self.serial, call);
            }
            Err(StartError::Closed) => assert!(!self.connection.accepts_calls()),
            Err(StartError::TooLarge { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    /// What waits to be written is the caller's to limit.
    fn may_start_large(&mut self) -> bool {
        self.connection.outgoing().len() < 1 << 20
    }

    /// One of the calls that have not ended.
    fn nth(&self, which: u8) -> Option<CallId> {
        self.open.values().nth(usize::from(which) % 8).copied()
    }

    fn start_stream(&mut self, length: u8) {
        if self.serial < CALLS_MAX {
            self.serial += 1;
            let started = self.connection.start_call(head(), self.serial, |out| {
                out.resize(out.len() + usize::from(length) * 300, length);
                Ok(Follows::Items)
            });
            if let Ok(call) = started {
                self.last = call.number();
                self.open.insert(self.serial, call);
            }
        }
    }

    fn send_items(&mut self, which: u8, length: usize) {
        if let Some(call) = self.nth(which) {
            let mut batch = Batch::new();
            let pushed = batch.push::<(), ()>(usize::MAX, |out| {
                out.resize(out.len() + length * 2, which);
                Ok(())
            });
            pushed.expect("short enough");
            let _ = self.connection.streams().send(call, &mut batch);
        }
    }

    fn give_up(&mut self, which: u8) {
        if self.open.is_empty() {
            return;
        }
        let which = usize::from(which) % self.open.len();
        if let Some((serial, call)) = self.open.iter().nth(which).map(|(s, c)| (*s, *c)) {
            self.open.remove(&serial);
            assert_eq!(self.connection.release(call), Some(serial));
            assert_eq!(self.connection.release(call), None);
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        self.connection.handle_receipt(self.now);
        let outcome = loop {
            let event = match self.connection.handle_input(&mut bytes) {
                Ok(Some(event)) => event,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let (call, last) = match event {
                ClientEvent::Replied(call, reply) => {
                    assert!(reply.body.len() <= MESSAGE_BYTES_MAX);
                    ((!reply.items).then_some(call), None)
                }
                ClientEvent::Failed { call, .. } | ClientEvent::Ended(call) => (Some(call), None),
                ClientEvent::Items(call, row) => {
                    assert!(!row.is_empty() && self.connection.data(call).is_some());
                    (None, None)
                }
                ClientEvent::GoAway { last, .. } => (None, Some(last)),
                _ => (None, None),
            };
            if let Some(call) = call {
                let serial = self.connection.release(call).expect("a call ends once");
                assert_eq!(self.open.remove(&serial), Some(call));
            }
            if let Some(last) = last {
                self.close_above(last);
            }
        };
        self.end_if(outcome);
    }

    fn close_above(&mut self, last: u64) {
        let mut ended = Vec::new();
        self.connection
            .close_above(last, |serial| ended.push(*serial));
        for serial in ended {
            let call = self.open.remove(&serial).expect("a call ends once");
            assert!(call.number() > last);
            assert_eq!(self.connection.release(call), Some(serial));
        }
    }

    fn pass(&mut self, to: Instant) {
        self.now = to;
        let mut ended = Vec::new();
        let outcome = self
            .connection
            .handle_timeout(to, |serial| ended.push(*serial));
        for serial in ended {
            let call = self.open.remove(&serial).expect("a call ends once");
            assert_eq!(self.connection.release(call), Some(serial));
        }
        self.end_if(outcome);
    }

    fn end_if(&mut self, outcome: Result<(), ConnectionError>) {
        if outcome.is_err() {
            self.close();
        }
    }

    fn write(&mut self, count: usize) {
        let outgoing = self.connection.outgoing();
        let part = outgoing.chunk().len().min(count);
        self.written.push(&outgoing.chunk()[..part]);
        outgoing.advance(part);
    }

    fn close(&mut self) {
        let mut ended = Vec::new();
        self.connection
            .close(|serial, unsent| ended.push((*serial, unsent)));
        for (serial, _) in &ended {
            let call = self.open.remove(serial).expect("a call ends once");
            assert_eq!(self.connection.release(call), Some(*serial));
        }
        assert!(self.open.is_empty(), "each call ends");
        assert_eq!(self.connection.in_flight(), 0);
        assert_eq!(self.connection.poll_timeout(), None);
        assert!(!self.connection.accepts_calls());
        self.closed = true;
        self.write(usize::MAX);
    }

    fn check(&mut self) {
        assert_eq!(self.connection.open_calls(), self.open.len());
        assert!(self.connection.in_flight() >= self.open.len());
        while let Some((kind, flags, call, body)) = self.written.next() {
            match kind {
                REQUEST | CHUNK | ITEM | END => {
                    assert!(call != 0);
                    self.pieces.note(kind, flags, call, &body);
                }
                CREDIT => assert!(body.iter().any(|byte| *byte != 0)),
                CANCEL => {
                    self.pieces.cut(call);
                    self.cancels += 1;
                    assert!(self.cancels as u64 <= self.serial);
                }
                PING | PONG => assert_eq!(body.len(), 8),
                other => panic!("a client does not write {other}"),
            }
        }
    }
}

fn head() -> RequestHead<'static> {
    RequestHead::new(MethodId::from_number(7))
}
