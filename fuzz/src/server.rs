//! The whole of a server's connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rpc_core::connection::{
    Answered, CallId, ConnectionError, ServerConfig, ServerConnection, ServerEvent, ServerRequest,
};
use rpc_core::wire::{Batch, Follows};
use rpc_core::{Code, Metadata, Status};

use super::script::{Pieces, Script, Written, epoch, later};

const RESPONSE: u8 = 2;
const ERROR: u8 = 3;
const STOP: u8 = 4;
const ITEM: u8 = 5;
const END: u8 = 6;
const CREDIT: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const GO_AWAY: u8 = 10;
const CHUNK: u8 = 11;
const ITEMS: u8 = 1 << 6;
/// Requests in pieces may be longer than one.
const MESSAGE_BYTES_MAX: usize = 100_000;

struct Server {
    connection: ServerConnection<CallId>,
    now: Instant,
    /// Parked calls, whether they are oneway.
    parked: BTreeMap<CallId, bool>,
    /// Requests that are not oneway, with the answers that were written.
    answers: BTreeMap<u32, usize>,
    requests: usize,
    /// Calls whose reply has items behind it.
    streaming: Vec<CallId>,
    /// What waits for the end of a oneway call.
    stash: Vec<u8>,
    pieces: Pieces,
    written: Written,
    closed: bool,
}

/// A script of bytes that arrive, time that passes and handlers that end. In the first byte: bit 0,
/// a good hello comes first; bit 1, few calls may be in flight; bit 2, no keep-alive.
pub fn server(data: &[u8]) {
    let mut script = Script::new(data);
    let choice = script.byte();
    let mut config = ServerConfig::new(vec![(1, "bincode".into())], vec!["Fuzz".into()]);
    config.message_bytes_max = MESSAGE_BYTES_MAX as u32;
    config.streams_max = 8;
    if choice & 2 != 0 {
        config.calls_max = 3;
    }
    if choice & 4 != 0 {
        config.keep_alive = None;
    }
    let now = epoch();
    let mut server = Server {
        connection: ServerConnection::new(Arc::new(config), now),
        now,
        parked: BTreeMap::new(),
        answers: BTreeMap::new(),
        requests: 0,
        streaming: Vec::new(),
        stash: Vec::new(),
        pieces: Pieces::default(),
        written: Written::new(),
        closed: false,
    };
    if choice & 1 != 0 {
        let hello = b"\x93rpc\x01\x01\x01\0\0\0\0\0\0\0\0\0";
        server.feed(hello);
    }
    while !script.is_over() && !server.closed {
        server.step(&mut script);
        server.go_on();
        server.check();
    }
    server.close("the end");
    server.check();
}

impl Server {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 22 {
            0..=5 => {
                let length = script.byte();
                self.feed(script.bytes(length.into()));
            }
            6 | 7 => {
                let length = script.word();
                self.feed(script.bytes(length.into()));
            }
            8 | 9 => self.pass(later(self.now, script.time())),
            10 => {
                if let Some(due) = self.connection.poll_timeout() {
                    self.pass(self.now.max(due));
                }
            }
            11 => self.answer(script.byte(), script.byte().into()),
            16 => self.begin_items(script.byte()),
            17 => self.send_items(script.byte(), script.word().into()),
            18 => {
                if let Some(call) = self.parked(script.byte()) {
                    self.connection
                        .streams()
                        .consumed(call, script.word().into(), self.now);
                }
            }
            19 => self.end_items(script.byte()),
            20 => {
                if let Some(call) = self.parked(script.byte()) {
                    self.connection.stop_items(call);
                }
            }
            21 => self.answer(script.byte(), 2 * usize::from(script.word())),
            12 => self.write(script.word().into()),
            13 => {
                let mut held = self.connection.outgoing().take();
                let part = held.chunk().len().min(script.byte().into());
                self.written.push(&held.chunk()[..part]);
                held.advance(part);
                self.connection.outgoing().prepend(held);
            }
            14 => self.connection.drain(self.now, "moving"),
            _ if script.byte() == 0 => self.close("the script says so"),
            _ => {}
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.connection.handle_receipt(self.now, bytes.len());
        self.stash.extend_from_slice(bytes);
        self.go_on();
    }

    /// Takes what has arrived, unless it has to wait.
    fn go_on(&mut self) {
        let resumes = self.connection.is_to_resume();
        if self.closed || self.connection.is_paused() {
            return assert!(!resumes || self.closed);
        }
        let stash = std::mem::take(&mut self.stash);
        let mut bytes = &stash[..];
        let outcome = loop {
            let event = match self.connection.handle_input(&mut bytes) {
                Ok(Some(event)) => event,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            match event {
                ServerEvent::Request(request) => run(
                    &mut self.connection,
                    &mut self.parked,
                    &mut self.answers,
                    self.now,
                    &request,
                ),
                ServerEvent::Cancelled(call) => {
                    assert!(self.parked.remove(&call).is_some(), "handed back once");
                    continue;
                }
                ServerEvent::Body(call, body) => {
                    assert!(body.len() <= MESSAGE_BYTES_MAX && self.parked.contains_key(&call));
                    continue;
                }
                ServerEvent::Items(_, row) => {
                    assert!(!row.is_empty());
                    continue;
                }
                _ => continue,
            }
            self.requests += 1;
        };
        self.stash = bytes.to_vec();
        let is_kept = outcome.is_ok() && !bytes.is_empty();
        assert!(
            !is_kept || self.connection.is_paused(),
            "it takes what it can"
        );
        self.end_if(outcome);
    }

    fn pass(&mut self, to: Instant) {
        self.now = to;
        let parked = &mut self.parked;
        let outcome = self.connection.handle_timeout(to, |call| {
            assert!(parked.remove(&call).is_some(), "handed back once");
        });
        self.end_if(outcome);
    }

    fn end_if(&mut self, outcome: Result<(), ConnectionError>) {
        if let Err(error) = outcome {
            self.close(&error.to_string());
        }
    }

    /// One of the handlers that wait ends.
    fn answer(&mut self, which: u8, length: usize) {
        let Some(call) = self.parked(which) else {
            return;
        };
        if self.streaming.contains(&call) {
            return self.end_items(which);
        }
        let oneway = self.parked.remove(&call);
        assert_eq!(self.connection.unpark(call), Some(call));
        assert_eq!(self.connection.unpark(call), None);
        if oneway == Some(true) {
            return self.connection.finish_oneway(call);
        }
        reply(&mut self.connection, call, &vec![which; length]);
    }

    /// One of the calls that wait.
    fn parked(&self, which: u8) -> Option<CallId> {
        self.parked.keys().nth(which as usize % 8).copied()
    }

    fn begin_items(&mut self, which: u8) {
        let call = self.parked(which).filter(|call| !self.parked[call]);
        if let Some(call) = call.filter(|call| !self.streaming.contains(call)) {
            let items = |_: &mut Vec<u8>| Ok(Follows::Items);
            match self.connection.reply(call, &Metadata::new(), items) {
                Answered::Items => self.streaming.push(call),
                _ => drop(self.parked.remove(&call)),
            }
        }
    }

    fn send_items(&mut self, which: u8, length: usize) {
        if let Some(call) = self.parked(which) {
            let mut batch = Batch::new();
            let pushed = batch.push::<(), ()>(usize::MAX, |out| {
                out.resize(out.len() + length * 2, which);
                Ok(())
            });
            pushed.expect("short enough");
            let _ = self.connection.streams().send(call, &mut batch);
        }
    }

    fn end_items(&mut self, which: u8) {
        let call = self.parked(which);
        if let Some(call) = call.filter(|call| self.streaming.contains(call))
            && self.connection.streams().can_end(call)
        {
            self.parked.remove(&call);
            assert_eq!(self.connection.unpark(call), Some(call));
            self.connection.end_items(call);
        }
    }

    fn write(&mut self, count: usize) {
        let outgoing = self.connection.outgoing();
        let part = outgoing.chunk().len().min(count);
        self.written.push(&outgoing.chunk()[..part]);
        outgoing.advance(part);
    }

    fn close(&mut self, reason: &str) {
        let stopped = self.connection.close(reason);
        let parked = std::mem::take(&mut self.parked);
        assert!(stopped.iter().eq(parked.keys()), "in order, each once");
        assert_eq!(self.connection.running(), 0);
        assert_eq!(self.connection.poll_timeout(), None);
        // Their answers will never come.
        for (call, oneway) in parked {
            if !oneway {
                self.answers.remove(&(call.number() as u32));
            }
        }
        self.closed = true;
        while !self.connection.outgoing().is_empty() {
            self.write(usize::MAX);
        }
    }

    fn check(&mut self) {
        assert_eq!(self.connection.running(), self.parked.len());
        while let Some((kind, flags, call, body)) = self.written.next() {
            if kind == ERROR {
                self.pieces.cut(call);
            }
            match kind {
                RESPONSE if flags & ITEMS != 0 => drop(self.pieces.note(kind, flags, call, &body)),
                RESPONSE | ERROR | CHUNK | END | ITEM => {
                    if !self.pieces.note(kind, flags, call, &body) {
                        continue;
                    }
                    // Also requests that were refused are answered; those are not in the table.
                    if let Some(answers) = self.answers.get_mut(&call) {
                        *answers += 1;
                        assert_eq!(*answers, 1, "answered once");
                    }
                }
                STOP => assert!(body.is_empty()),
                CREDIT => assert!(body.iter().any(|byte| *byte != 0)),
                PING | PONG => assert_eq!(body.len(), 8),
                GO_AWAY => assert!(body.len() >= 8),
                other => panic!("a server does not write {other}"),
            }
        }
        if self.closed {
            assert!(self.written.is_between_frames());
            assert!(
                self.answers.values().all(|answers| *answers == 1),
                "each answered"
            );
        }
    }
}

/// What a handler does follows from its method.
fn run(
    connection: &mut ServerConnection<CallId>,
    parked: &mut BTreeMap<CallId, bool>,
    answers: &mut BTreeMap<u32, usize>,
    now: Instant,
    request: &ServerRequest<'_>,
) {
    let call = request.id;
    assert!(request.body.len() <= MESSAGE_BYTES_MAX);
    if !request.oneway {
        answers.insert(call.number() as u32, 0);
    }
    let deadline = request.timeout.map(|timeout| now + timeout);
    match request.method.number() % 5 {
        _ if request.more && !request.oneway => {
            connection.park(call, deadline, call);
            parked.insert(call, false);
        }
        _ if request.more => {
            connection.park_oneway(call, deadline, call);
            parked.insert(call, true);
        }
        0 | 1 if request.oneway => {
            connection.park_oneway(call, deadline, call);
            parked.insert(call, true);
        }
        0 | 1 => {
            connection.park(call, deadline, call);
            parked.insert(call, false);
        }
        _ if request.oneway => connection.finish_oneway(request.id),
        2 => reply(connection, call, &request.body),
        3 => {
            let status = Status::aborted("no").with_metadata(request.metadata.clone());
            let answered = connection.fail(call, &status);
            assert_eq!(answered, Answered::Error(Code::Aborted));
        }
        _ => {
            let status = Status::unimplemented("no such method").with_not_processed();
            connection.fail_unknown_method(call, &status);
        }
    }
}

fn reply(connection: &mut ServerConnection<CallId>, call: CallId, body: &[u8]) {
    connection.reply(call, &Metadata::new(), |out| {
        out.extend_from_slice(body);
        Ok(())
    });
}
