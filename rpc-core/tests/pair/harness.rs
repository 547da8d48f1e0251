//! A client and a server, the wire between them, and a service that does what a method's name says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BufMut;
use rpc_core::connection::{
    CallId, ClientConfig, ClientConnection, ClientEvent, ConnectionError, Landing, RequestHead,
    ServerConfig, ServerConnection, ServerEvent,
};
use rpc_core::{Code, Metadata, MethodId, Status};

/// Replies with the body and the metadata of the request.
pub(crate) const ECHO: MethodId = MethodId::from_number(0xec00);
/// Waits until [`Pair::answer_parked`] or a cancel.
pub(crate) const WAIT: MethodId = MethodId::from_number(0xa170);
/// Fails with the body of the request as typed error, and its metadata.
pub(crate) const FAIL: MethodId = MethodId::from_number(0xfa11);
/// Waits as [`WAIT`], with items in either direction; the test does what its handler would.
pub(crate) const STREAM: MethodId = MethodId::from_number(0x5742);
/// Nobody has it.
pub(crate) const UNKNOWN: MethodId = MethodId::from_number(0xdead);

/// The longest message of either side in these tests.
pub(crate) const LIMIT: usize = 101 * 1024;

/// Where the wire cuts the bytes of one direction.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// Nowhere: all that waits arrives at once.
    Never,
    /// After every so many bytes.
    Every(usize),
    /// Once, behind this many bytes of the stream.
    At(usize),
    /// Behind each of so many bytes, in turn.
    Sizes(Vec<usize>),
}

/// One direction of the wire.
#[derive(Debug)]
struct Direction {
    cut: Cut,
    /// All bytes that went this way.
    carried: Vec<u8>,
    pieces: usize,
}

impl Direction {
    fn new(cut: Cut) -> Self {
        Self {
            cut,
            carried: Vec::new(),
            pieces: 0,
        }
    }

    /// The next piece of what waits.
    fn carry<'a>(&mut self, waiting: &mut &'a [u8]) -> &'a [u8] {
        let size = match &self.cut {
            Cut::Never => waiting.len(),
            Cut::Every(size) => *size,
            Cut::At(offset) => match offset.checked_sub(self.carried.len()) {
                Some(ahead) if ahead > 0 => ahead,
                _ => waiting.len(),
            },
            Cut::Sizes(sizes) => sizes[self.pieces % sizes.len()],
        };
        let (piece, rest) = waiting.split_at(size.clamp(1, waiting.len()));
        *waiting = rest;
        self.pieces += 1;
        self.carried.extend_from_slice(piece);
        piece
    }
}

/// What the server was told, as values that last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServerSaw {
    Opened {
        codec: u8,
    },
    Request {
        id: u64,
        method: MethodId,
        timeout: Option<Duration>,
        oneway: bool,
        metadata: Metadata,
        body: Vec<u8>,
    },
    Items(u64, Vec<Vec<u8>>),
    ItemsEnded(u64, Result<(), Status>),
    Credited(u64),
    Cancelled(u64),
    Expired(u64),
}

/// What the client was told; `kept` is what it keeps for the call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClientSaw {
    Opened,
    Replied {
        kept: u64,
        metadata: Metadata,
        body: Vec<u8>,
    },
    /// As `Replied`, but items follow.
    Streams {
        kept: u64,
        metadata: Metadata,
        body: Vec<u8>,
    },
    Items(u64, Vec<Vec<u8>>),
    Ended(u64),
    Credited(u64),
    Stopped(u64),
    Failed {
        kept: u64,
        status: Status,
        metadata: Metadata,
        not_processed: bool,
        unknown_method: bool,
    },
    GoAway {
        last: u64,
        reason: String,
    },
    /// The deadline of this call has passed.
    Expired(u64),
    /// The server has not processed this call: a go-away, or it was not written to the end.
    NotProcessed(u64),
    /// The connection ended, and what became of this call nobody knows.
    Lost(u64),
}

impl ClientSaw {
    /// The code of a failure.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Failed { status, .. } => Some(status.code()),
            _ => None,
        }
    }
}

/// What came in front of the body of a request.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    id: CallId,
    method: MethodId,
    timeout: Option<Duration>,
    oneway: bool,
    metadata: Metadata,
}

/// A client and a server that has the methods above.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection<u64>,
    pub(crate) server: ServerConnection<u64>,
    pub(crate) client_saw: Vec<ClientSaw>,
    pub(crate) server_saw: Vec<ServerSaw>,
    /// Calls that wait, in order of arrival, with their bodies.
    pub(crate) waiting: Vec<(CallId, Vec<u8>)>,
    /// Requests of which the body is still to come.
    pub(crate) begun: HashMap<CallId, Begun>,
    /// Which call was started last as what.
    pub(crate) calls: HashMap<u64, CallId>,
    to_server: Direction,
    to_client: Direction,
    pub(super) now: Instant,
    /// Read the rest of a frame to where it belongs, as a runtime does.
    in_place: bool,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with_cuts(Cut::Never, Cut::Never)
    }

    pub(crate) fn with_cuts(to_server: Cut, to_client: Cut) -> Self {
        Self::with_configs(client_config(), server_config(), to_server, to_client)
    }

    pub(crate) fn with_configs(
        client: ClientConfig,
        server: ServerConfig,
        to_server: Cut,
        to_client: Cut,
    ) -> Self {
        let now = epoch();
        Self {
            client: ClientConnection::new(client, now),
            server: ServerConnection::new(Arc::new(server), now),
            client_saw: Vec::new(),
            server_saw: Vec::new(),
            waiting: Vec::new(),
            begun: HashMap::new(),
            calls: HashMap::new(),
            to_server: Direction::new(to_server),
            to_client: Direction::new(to_client),
            now,
            in_place: false,
        }
    }

    /// A pair whose hello and ack have crossed; what was seen so far is forgotten.
    pub(crate) fn open() -> Self {
        let mut pair = Self::new();
        pair.drive();
        assert_eq!(pair.client_saw, [ClientSaw::Opened]);
        pair.client_saw.clear();
        pair.server_saw.clear();
        pair
    }

    pub(crate) fn reading_in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Starts a call that is remembered as `kept`.
    pub(crate) fn call(&mut self, method: MethodId, kept: u64, body: &[u8]) -> CallId {
        self.call_with(RequestHead::new(method), kept, body)
    }

    pub(crate) fn call_with(&mut self, head: RequestHead<'_>, kept: u64, body: &[u8]) -> CallId {
        let call = self.client.start_call(head, kept, |out| {
            out.extend_from_slice(body);
            Ok(())
        });
        let call = call.unwrap();
        self.calls.insert(kept, call);
        call
    }

    pub(crate) fn oneway(&mut self, method: MethodId, body: &[u8]) {
        let head = RequestHead::new(method);
        let sent = self.client.start_oneway(head, |out| {
            out.extend_from_slice(body);
            Ok(())
        });
        sent.unwrap();
    }

    /// Carries bytes both ways until nothing waits; neither side may find fault.
    pub(crate) fn drive(&mut self) {
        while !self.client.outgoing().is_empty() || !self.server.outgoing().is_empty() {
            self.carry_to_server().unwrap();
            self.carry_to_client().unwrap();
        }
    }

    /// Carries what the client has written.
    pub(crate) fn carry_to_server(&mut self) -> Result<(), ConnectionError> {
        let bytes = take(self.client.outgoing());
        let mut waiting = &bytes[..];
        while !waiting.is_empty() {
            let piece = self.to_server.carry(&mut waiting);
            self.server_reads(piece)?;
        }
        Ok(())
    }

    /// Carries what the server has written.
    pub(crate) fn carry_to_client(&mut self) -> Result<(), ConnectionError> {
        let bytes = take(self.server.outgoing());
        let mut waiting = &bytes[..];
        while !waiting.is_empty() {
            let piece = self.to_client.carry(&mut waiting);
            self.client_reads(piece)?;
        }
        Ok(())
    }

    /// The server reads these bytes, whoever wrote them.
    pub(crate) fn server_reads(&mut self, mut piece: &[u8]) -> Result<(), ConnectionError> {
        self.server.handle_receipt(self.now, piece.len());
        if self.in_place {
            let landing = self.server.arriving().landing(1);
            let landing = landing.map(|landing| land(landing, &mut piece));
            let behind = landing.map(|landing| self.server.arriving().land(landing));
            self.server_reads_next(&behind.unwrap_or_default())?;
        }
        self.server_reads_next(piece)
    }

    fn server_reads_next(&mut self, mut piece: &[u8]) -> Result<(), ConnectionError> {
        while let Some(event) = self.server.handle_input(&mut piece)? {
            self.serve(event);
        }
        assert!(piece.is_empty(), "the server takes all it is given");
        self.server.outgoing().report_reading();
        Ok(())
    }

    /// The client reads these bytes, whoever wrote them.
    pub(crate) fn client_reads(&mut self, mut piece: &[u8]) -> Result<(), ConnectionError> {
        self.client.handle_receipt(self.now);
        if self.in_place {
            let landing = self.client.arriving().landing(1);
            let landing = landing.map(|landing| land(landing, &mut piece));
            let behind = landing.map(|landing| self.client.arriving().land(landing));
            self.client_reads_next(&behind.unwrap_or_default())?;
        }
        self.client_reads_next(piece)
    }

    fn client_reads_next(&mut self, mut piece: &[u8]) -> Result<(), ConnectionError> {
        while let Some(event) = self.client.handle_input(&mut piece)? {
            let saw = note(&mut self.client, event);
            self.client_saw.push(saw);
        }
        assert!(piece.is_empty(), "the client takes all it is given");
        self.client.outgoing().report_reading();
        Ok(())
    }

    /// Replies to the calls that still wait, oldest first.
    pub(crate) fn answer_parked(&mut self) {
        for (call, body) in std::mem::take(&mut self.waiting) {
            if self.server.unpark(call).is_some() {
                reply(&mut self.server, call, &Metadata::new(), &body);
            }
        }
    }

    /// Lets time pass, and each side act on it.
    pub(crate) fn pass(&mut self, time: Duration) -> [Result<(), ConnectionError>; 2] {
        self.now += time;
        [self.client_looks(), self.server_looks()]
    }

    /// All that went to the server and to the client.
    pub(crate) fn carried(&self) -> [&[u8]; 2] {
        [&self.to_server.carried, &self.to_client.carried]
    }

    /// True when no call is open, none runs, and nothing waits to be written.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.client.open_calls() == 0
            && self.server.is_idle()
            && self.client.outgoing().is_empty()
            && !self.client.arriving().is_within_frame()
    }

    /// A call still gets its reply.
    #[track_caller]
    pub(crate) fn assert_usable(&mut self) {
        self.call(ECHO, 0xa11e, b"still there?");
        self.drive();
        let last = self.client_saw.last();
        assert!(
            matches!(last, Some(ClientSaw::Replied { kept: 0xa11e, .. })),
            "{last:?}"
        );
        assert!(self.is_quiet());
    }

    /// How much memory the server holds for a body that is not complete.
    pub(crate) fn server_buffer(&mut self) -> usize {
        let landing = self.server.arriving().landing(1);
        landing.map_or(0, |landing| {
            let held = landing.capacity();
            self.server.arriving().land(landing);
            held
        })
    }

    /// How much memory the client holds for a body that is not complete.
    pub(crate) fn client_buffer(&mut self) -> usize {
        let landing = self.client.arriving().landing(1);
        landing.map_or(0, |landing| {
            let held = landing.capacity();
            self.client.arriving().land(landing);
            held
        })
    }

    fn serve(&mut self, event: ServerEvent<'_, u64>) {
        let saw = match event {
            ServerEvent::Opened { codec } => ServerSaw::Opened { codec },
            ServerEvent::Cancelled(id) => {
                self.begun.retain(|call, _| call.number() != id);
                ServerSaw::Cancelled(id)
            }
            ServerEvent::Request(request) => {
                let (id, oneway) = (request.id, request.oneway);
                let begun = Begun {
                    id,
                    method: request.method,
                    timeout: request.timeout,
                    oneway,
                    metadata: request.metadata,
                };
                if !request.more {
                    return self.run(begun, &request.body);
                }
                let deadline = request.timeout.map(|timeout| self.now + timeout);
                match oneway {
                    true => self.server.park_oneway(id, deadline, id.number()),
                    false => self.server.park(id, deadline, id.number()),
                }
                self.begun.insert(id, begun);
                return;
            }
            ServerEvent::Body(call, body) => {
                let begun = self.begun.remove(&call).expect("its beginning was here");
                self.server.unpark(call).expect("it waited for its body");
                return self.run(begun, &body);
            }
            ServerEvent::Items(call, items) => ServerSaw::Items(call.number(), entries(&items)),
            ServerEvent::ItemsEnded(call, end) => ServerSaw::ItemsEnded(call.number(), end),
            ServerEvent::Credited(call) => ServerSaw::Credited(call.number()),
            other => panic!("an event these tests do not know: {other:?}"),
        };
        self.server_saw.push(saw);
    }

    /// Does with a request what the name of its method says.
    fn run(&mut self, request: Begun, body: &[u8]) {
        let Begun { id, metadata, .. } = request;
        let server = &mut self.server;
        match request.method {
            _ if request.oneway => server.finish_oneway(id),
            ECHO => reply(server, id, &metadata, body),
            WAIT | STREAM => {
                let deadline = request.timeout.map(|timeout| self.now + timeout);
                server.park(id, deadline, id.number());
                self.waiting.push((id, body.to_vec()));
            }
            FAIL => {
                let typed = bytes::Bytes::copy_from_slice(body);
                let status = Status::failed_precondition("100%d {} \0 ✓")
                    .with_metadata(metadata.clone())
                    .with_error_body(typed);
                server.fail(id, &status);
            }
            _ => {
                let status = Status::unimplemented("no such method").with_not_processed();
                server.fail_unknown_method(id, &status);
            }
        }
        self.server_saw.push(ServerSaw::Request {
            id: id.number(),
            method: request.method,
            timeout: request.timeout,
            oneway: request.oneway,
            metadata,
            body: body.to_vec(),
        });
    }
}

pub(crate) fn client_config() -> ClientConfig {
    let mut config = ClientConfig::new(1);
    config.message_bytes_max = LIMIT as u32;
    config
}

pub(crate) fn server_config() -> ServerConfig {
    let codecs = vec![(1, "bincode".into()), (2, "json".into())];
    let mut config = ServerConfig::new(codecs, vec!["Greeter".into()]);
    config.message_bytes_max = LIMIT as u32;
    config
}

/// Metadata with these pairs.
pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let mut metadata = Metadata::new();
    for (key, value) in pairs {
        metadata.append(key, value).unwrap();
    }
    metadata
}

/// Small numbers that look random and are the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % end as u64) as usize
    }
}

pub(crate) fn reply(
    server: &mut ServerConnection<u64>,
    call: CallId,
    metadata: &Metadata,
    body: &[u8],
) {
    server.reply(call, metadata, |out| {
        out.extend_from_slice(body);
        Ok(())
    });
}

fn note(client: &mut ClientConnection<u64>, event: ClientEvent<'_>) -> ClientSaw {
    match event {
        ClientEvent::Opened => ClientSaw::Opened,
        ClientEvent::Replied(call, reply) if reply.items => ClientSaw::Streams {
            kept: *client.data(call).expect("it is open"),
            metadata: reply.metadata,
            body: reply.body.to_vec(),
        },
        ClientEvent::Items(call, items) => {
            let kept = *client.data(call).expect("it is open");
            ClientSaw::Items(kept, entries(&items))
        }
        ClientEvent::Credited(call) => ClientSaw::Credited(*client.data(call).expect("it is open")),
        ClientEvent::Stopped(call) => ClientSaw::Stopped(*client.data(call).expect("it is open")),
        ClientEvent::Ended(call) => ClientSaw::Ended(taken(client, call)),
        ClientEvent::Replied(call, reply) => ClientSaw::Replied {
            kept: taken(client, call),
            metadata: reply.metadata,
            body: reply.body.to_vec(),
        },
        ClientEvent::Failed {
            call,
            status,
            unknown_method,
            ..
        } => ClientSaw::Failed {
            kept: taken(client, call),
            metadata: status.metadata().clone(),
            not_processed: status.is_not_processed(),
            status,
            unknown_method,
        },
        ClientEvent::GoAway { last, reason, .. } => ClientSaw::GoAway { last, reason },
        other => panic!("an event these tests do not know: {other:?}"),
    }
}

fn taken(client: &mut ClientConnection<u64>, call: CallId) -> u64 {
    client.release(call).expect("a call ends once")
}

/// The `last` of the latest go-away that the client saw.
pub(crate) fn last_accepted(pair: &Pair) -> Option<u64> {
    pair.client_saw.iter().rev().find_map(|saw| match saw {
        ClientSaw::GoAway { last, .. } => Some(*last),
        _ => None,
    })
}

/// Items, each behind its length, one by one.
pub(crate) fn entries(mut row: &[u8]) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    while let Some((length, rest)) = row.split_first_chunk() {
        let (item, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        items.push(item.to_vec());
        row = rest;
    }
    assert!(row.is_empty(), "whole items");
    items
}

/// Reads so much of what has arrived as there is room for.
fn land(mut landing: Landing, arrived: &mut &[u8]) -> Landing {
    let mut room = landing.room();
    let (part, rest) = arrived.split_at(arrived.len().min(room.remaining_mut()));
    room.put_slice(part);
    *arrived = rest;
    landing
}

/// What waits to be written, written.
pub(crate) fn take(outgoing: &mut rpc_core::wire::Outgoing) -> Vec<u8> {
    take_up_to(outgoing, usize::MAX)
}

/// So much of what waits to be written, written.
pub(crate) fn take_up_to(outgoing: &mut rpc_core::wire::Outgoing, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count && !outgoing.is_empty() {
        let part = outgoing.chunk().len().min(count - bytes.len());
        bytes.extend_from_slice(&outgoing.chunk()[..part]);
        outgoing.advance(part);
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "where the virtual clock starts")]
fn epoch() -> Instant {
    Instant::now()
}
