//! The seeds of the fuzz corpus: conversations of the real connections, made into scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc_core::codec::Codec;
use rpc_core::connection::{
    ClientConfig, ClientConnection, ClientEvent, RequestHead, ServerConfig, ServerConnection,
    ServerEvent,
};
use rpc_core::wire::{Batch, Follows, Outgoing};
use rpc_core::{Metadata, MethodId, Status};
use serde::Serialize;

/// Writes every seed.
pub(crate) fn write(corpus: &Path) {
    let mut seeds = Vec::new();
    for (name, conversation) in CONVERSATIONS {
        let recorded = Recorded::of(conversation);
        seeds.extend(recorded.seeds(name));
    }
    seeds.extend(values());
    for (target, name, data) in seeds {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), data).unwrap();
    }
}

type Seed = (&'static str, String, Vec<u8>);
type Conversation = (&'static str, fn(&mut Recorded));

/// Handlers of the server target: 0 waits, 2 replies, 3 fails, 4 is unknown.
const WAIT: u32 = 0;
const ECHO: u32 = 2;
const FAIL: u32 = 3;
const UNKNOWN: u32 = 4;

const CONVERSATIONS: [Conversation; 8] = [
    ("streams", |it| {
        let head = RequestHead::new(MethodId::from_number(WAIT));
        let started = it.client.start_call(head, (), |_| Ok(Follows::Items));
        let call = started.unwrap();
        it.carry();
        let items = |_: &mut Vec<u8>| Ok(Follows::Items);
        it.server.reply(call, &Metadata::new(), items);
        for item in [&b""[..], b"item", &[7; 300]] {
            it.client.streams().send(call, &mut batch(item));
            it.server.streams().send(call, &mut batch(item));
        }
        it.carry();
        it.client.streams().send(call, &mut batch(&[7; 20_000]));
        it.carry();
        it.server.streams().consumed(call, 20_000, it.now);
        it.client.end_items(call, Err(&Status::aborted("no more")));
        it.carry();
        it.server.unpark(call);
        it.server.end_items(call);
        it.carry();
    }),
    ("pieces", |it| {
        it.call(WAIT, None, b"");
        it.carry();
        // No real message in pieces is as short as this; the first call has number 16.
        it.to_server.extend(frame(1, 17, &[10, 0, 0, 0]));
        it.to_client.extend(frame(2, 16, &[10, 0, 0, 0]));
        for piece in [&b"abc"[..], b"defghij"] {
            it.to_server.extend(frame(11, 17, piece));
            it.to_client.extend(frame(11, 16, piece));
        }
    }),
    ("small-calls", |it| {
        for body in [&b""[..], b"x", b"hello", &[7; 200]] {
            it.call(ECHO, None, body);
        }
        it.carry();
    }),
    ("errors", |it| {
        it.call(FAIL, None, b"no");
        it.call(UNKNOWN, None, b"who");
        it.carry();
        it.call(ECHO, None, b"fine");
        it.carry();
    }),
    ("deadlines", |it| {
        for ms in [1, 50, 5000] {
            it.call(WAIT, Some(Duration::from_millis(ms)), b"soon");
        }
        it.carry();
        it.pass(Duration::from_secs(6));
        it.carry();
    }),
    ("cancels", |it| {
        for _ in 0..5 {
            it.call(WAIT, None, b"wait");
        }
        it.carry();
        it.cancel_all();
        it.carry();
        it.call(ECHO, None, b"after");
        it.carry();
    }),
    ("keep-alive", |it| {
        it.call(WAIT, None, b"patient");
        it.carry();
        it.pass(Duration::from_secs(10));
        it.carry();
        it.pass(Duration::from_secs(10));
        it.carry();
    }),
    ("drain", |it| {
        it.call(WAIT, None, b"before");
        it.carry();
        it.server.drain(it.now, "moving");
        it.call(ECHO, None, b"behind");
        it.carry();
        it.server.close("good bye");
        it.carry();
    }),
];

fn batch(item: &[u8]) -> Batch {
    let mut batch = Batch::new();
    let pushed = batch.push::<(), ()>(usize::MAX, |out| {
        out.extend_from_slice(item);
        Ok(())
    });
    pushed.unwrap();
    batch
}

/// A frame as its bytes; a request or response with the flag of pieces.
fn frame(kind: u8, call: u8, body: &[u8]) -> Vec<u8> {
    let flags = if kind < 3 { 1 << 5 } else { 0 };
    let header = [body.len() as u8, 0, 0, 0, call, 0, 0, 0, kind, flags];
    [&header[..], &[0; 6], body].concat()
}

/// A conversation and what each side wrote in it.
struct Recorded {
    client: ClientConnection<()>,
    server: ServerConnection<()>,
    open: Vec<rpc_core::connection::CallId>,
    now: Instant,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Recorded {
    #[expect(clippy::disallowed_methods, reason = "where the virtual clock starts")]
    fn of(conversation: fn(&mut Self)) -> Self {
        let now = Instant::now();
        let config = ServerConfig::new(vec![(1, "bincode".into())], vec!["Fuzz".into()]);
        let mut recorded = Self {
            client: ClientConnection::new(ClientConfig::new(1), now),
            server: ServerConnection::new(Arc::new(config), now),
            open: Vec::new(),
            now,
            to_server: Vec::new(),
            to_client: Vec::new(),
        };
        conversation(&mut recorded);
        recorded
    }

    fn call(&mut self, method: u32, timeout: Option<Duration>, body: &[u8]) {
        let mut metadata = Metadata::new();
        if body.len() > 3 {
            metadata.append("trace", "1").unwrap();
        }
        let head = RequestHead::new(MethodId::from_number(method))
            .with_timeout(timeout)
            .with_metadata(Some(&metadata));
        let started = self.client.start_call(head, (), |out| {
            out.extend_from_slice(body);
            Ok(())
        });
        self.open.push(started.unwrap());
    }

    fn cancel_all(&mut self) {
        for call in self.open.drain(..) {
            self.client.release(call);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.handle_timeout(self.now, |()| {}).unwrap();
        self.server.handle_timeout(self.now, |()| {}).unwrap();
    }

    fn carry(&mut self) {
        loop {
            let to_server = taken(self.client.outgoing());
            self.serve(&to_server);
            let to_client = taken(self.server.outgoing());
            self.take_answers(&to_client);
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            self.to_server.extend(to_server);
            self.to_client.extend(to_client);
        }
    }

    fn serve(&mut self, mut bytes: &[u8]) {
        self.server.handle_receipt(self.now, bytes.len());
        while let Some(event) = self.server.handle_input(&mut bytes).unwrap() {
            let ServerEvent::Request(request) = event else {
                continue;
            };
            let server = &mut self.server;
            match request.method.number() {
                WAIT => {
                    let deadline = request.timeout.map(|timeout| self.now + timeout);
                    server.park(request.id, deadline, ());
                }
                ECHO => drop(server.reply(request.id, &request.metadata, |out| {
                    out.extend_from_slice(&request.body);
                    Ok(())
                })),
                FAIL => drop(server.fail(request.id, &Status::aborted("no"))),
                _ => {
                    let status = Status::unimplemented("no such method").with_not_processed();
                    server.fail_unknown_method(request.id, &status);
                }
            }
        }
    }

    fn take_answers(&mut self, mut bytes: &[u8]) {
        self.client.handle_receipt(self.now);
        while let Some(event) = self.client.handle_input(&mut bytes).unwrap() {
            if matches!(&event, ClientEvent::Replied(_, reply) if reply.items) {
                continue;
            }
            if let ClientEvent::Replied(call, _)
            | ClientEvent::Ended(call)
            | ClientEvent::Failed { call, .. } = event
            {
                self.client.release(call);
                self.open.retain(|open| *open != call);
            }
        }
    }

    /// The streams as scripts, whole and in pieces, with time and endings in between.
    fn seeds(&self, name: &str) -> Vec<Seed> {
        let (to_server, to_client) = (&self.to_server, &self.to_client);
        let decoder = |stream: &[u8]| [&[9][..], &stream[16..]].concat();
        // In `server`: 8 time, 10 the timer, 11 a handler ends, 12 bytes are written.
        let serve = script(0, to_server, 10_000, &[]);
        let slowly = script(0, to_server, 33, &[8, 0x41, 12, 20, 0, 11, 0, 3]);
        let few = script(2, to_server, 60, &[10]);
        // In `client`: calls first, or the answers are to nothing.
        let calls = [7, 6, 5, 5, 1, 2, 6, 9];
        let ask = [&[0][..], &calls, &script(0, to_client, 10_000, &[])[1..]].concat();
        let lines = script(0, to_client, 40, &[4, 9, 1, 11, 0x45, 14, 90, 0, 13]);
        vec![
            ("decoder", format!("{name}-requests"), decoder(to_server)),
            ("decoder", format!("{name}-answers"), decoder(to_client)),
            ("server", name.to_owned(), serve),
            ("server", format!("{name}-slowly"), slowly),
            ("server", format!("{name}-few"), few),
            ("client", name.to_owned(), ask),
            ("client", format!("{name}-slowly"), lines),
        ]
    }
}

/// A script that feeds a stream in pieces, with the same steps after each.
fn script(choice: u8, stream: &[u8], size: usize, steps: &[u8]) -> Vec<u8> {
    // 6 feeds a server, 3 a client; each is harmless to the other.
    let feed = if stream[5] == 0 { 3 } else { 6 };
    let mut script = vec![choice];
    for piece in stream.chunks(size) {
        script.push(feed);
        script.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        script.extend_from_slice(piece);
        script.extend_from_slice(steps);
    }
    script
}

fn taken(outgoing: &mut Outgoing) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !outgoing.is_empty() {
        bytes.extend_from_slice(outgoing.chunk());
        outgoing.advance(outgoing.chunk().len());
    }
    bytes
}

#[derive(Serialize)]
struct Tree {
    name: &'static str,
    left: Option<Box<Self>>,
    children: Vec<Self>,
}

#[derive(Serialize)]
enum Shape {
    Nothing,
    Number(i64),
    Line(i32, u128),
    Named { label: String, parts: Vec<Self> },
    Bytes(Vec<u8>),
}

fn tree(depth: usize) -> Tree {
    let child = || (depth > 0).then(|| tree(depth - 1));
    Tree {
        name: "node",
        left: child().map(Box::new),
        children: child().into_iter().collect(),
    }
}

fn shape() -> Shape {
    Shape::Named {
        label: "ü".into(),
        parts: vec![
            Shape::Nothing,
            Shape::Number(-7),
            Shape::Line(1 << 20, u128::MAX),
            Shape::Bytes(vec![0, 255]),
        ],
    }
}

/// A value of each type of the codec targets, behind the byte that chooses it.
fn values() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (codec, target) in [(Codec::Bincode, "bincode"), (Codec::Json, "json")] {
        let mut add = |choice: u8, name: &str, body: Vec<u8>| {
            let name = format!("{choice:02}-{name}");
            seeds.push((target, name, [&[choice][..], &body].concat()));
        };
        let codec = &codec;
        add(0, "tree", encoded(codec, &tree(3)));
        add(1, "units", encoded(codec, &vec![(); 300]));
        add(2, "unit-structs", encoded(codec, &vec![(); 3]));
        let shapes = BTreeMap::from([("a", shape()), ("", Shape::Nothing)]);
        add(3, "map-of-shapes", encoded(codec, &shapes));
        let lists = BTreeMap::from([(u64::MAX, vec!["x", ""])]);
        add(4, "map-of-lists", encoded(codec, &lists));
        add(
            5,
            "string",
            encoded(codec, &"ascii, ü, 漢, \u{1f600}, \0 \" \\"),
        );
        add(6, "shape", encoded(codec, &shape()));
        let parts = vec![Some(vec![1_u8, 2]), None, Some(vec![])];
        add(7, "byte-strings", encoded(codec, &parts));
        let numbers = (
            255_u8,
            -300_i16,
            70_000_u32,
            i64::MIN,
            u128::MAX,
            true,
            '漢',
        );
        add(8, "numbers", encoded(codec, &numbers));
        add(
            9,
            "arrays",
            encoded(codec, &vec![[0_u64, 1, 300, u64::MAX]]),
        );
        add(10, "options", encoded(codec, &Some(Some(shape()))));
        add(
            11,
            "map-to-nothing",
            encoded(codec, &BTreeMap::from([(-1_i8, ())])),
        );
        add(12, "untagged", encoded(codec, &vec![1, 2, 3]));
        add(
            13,
            "floats",
            encoded(codec, &vec![0.1, -0.0, 1e300, f64::MIN_POSITIVE]),
        );
        let mut arguments = Vec::new();
        let names = &["who", "shapes", "times"];
        let three = (&"you".to_owned(), &Vec::<u32>::new(), &3_u32);
        codec
            .encode_arguments(names, &three, &mut arguments)
            .unwrap();
        add(14, "arguments", arguments);
        add(15, "bytes", encoded(codec, &vec![7_u8; 100]));
    }
    seeds
}

fn encoded<T: Serialize + 'static>(codec: &Codec, value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    codec.encode(value, &mut body).unwrap();
    body
}
