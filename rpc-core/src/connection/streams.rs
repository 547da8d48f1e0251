//! Items of streams: how many bytes may be on their way, and who asked for more.
//!
//! Why is there no credit for the connection as a whole? Both sides see the same items and the same
//! credit of each stream, and so derive how full the connection is. A stream of which little is on
//! its way is never held up by the others: a consumer that stands still stops its own stream alone.
//! See `[stream.window]`.

mod entries;
mod tuning;
mod window;

use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

pub(super) use self::entries::check_row;
use self::entries::{checked, entry_lengths};
use self::window::{Credit, Flow, Window};
use super::{CallId, ConnectionError, cut_text};
use crate::wire::{Batch, CHUNK_BYTES, Flags, Header, Kind, Outgoing};
use crate::{Code, Status, StreamLimits};

/// The streams of one connection in both directions, by the calls they belong to.
#[derive(Debug)]
pub(super) struct StreamTable {
    /// What this side may send.
    sending: Half,
    /// What the peer may send.
    receiving: Half,
    /// The longest row that the peer takes in pieces.
    row_bytes_max: usize,
}

/// What the peer is to be told of a stream of which no more is taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// That no more is wanted.
    Unsent,
    /// It has said all of it. These bytes were not consumed, and count no more.
    Unconsumed(u32),
}

/// All streams in one direction.
#[derive(Debug)]
struct Half {
    window: Window,
    flows: HashMap<u32, Flow>,
    /// Those of the flows on which nothing more is sent; what was sent still counts.
    over: usize,
}

impl Half {
    fn new(limits: StreamLimits) -> Self {
        Self {
            window: Window::new(limits),
            flows: HashMap::new(),
            over: 0,
        }
    }

    fn open(&mut self, call: u32) {
        // A client that uses an id again before its call is over loses the stream of that.
        self.close(call);
        self.flows.insert(call, Flow::default());
    }

    /// Nothing of the stream counts any more.
    fn close(&mut self, call: u32) -> Option<Flow> {
        let flow = self.flows.remove(&call)?;
        self.window.forget(&flow);
        self.over -= usize::from(flow.is_over());
        Some(flow)
    }

    /// Nothing more is sent on the stream; true if that was still possible.
    fn end(&mut self, call: u32) -> bool {
        let open = self.flows.get_mut(&call).filter(|flow| !flow.is_over());
        let was_open = open.map(Flow::end).is_some();
        self.over += usize::from(was_open);
        was_open
    }

    fn is_open(&self, call: u32) -> bool {
        let flow = self.flows.get(&call);
        flow.is_some_and(|flow| !flow.is_over())
    }

    fn open_streams(&self) -> usize {
        self.flows.len() - self.over
    }

    fn clear(&mut self) {
        self.flows.clear();
        self.over = 0;
    }
}

/// The longest row of items that is sent in pieces: an item, and what may go in front of it, which is
/// less than a frame.
pub(super) const fn item_batch_bytes_max(message_bytes_max: u32) -> usize {
    message_bytes_max as usize + 2 * CHUNK_BYTES
}

/// Appends the end of the stream behind a request: `[stream.end]`.
pub(super) fn put_end(outgoing: &mut Outgoing, call: CallId, end: Result<(), &Status>) {
    let header = Header::new(Kind::End, call.wire());
    let Err(status) = end else {
        return outgoing.control(header, &[]);
    };
    let code = u16::from(status.code().number());
    let header = Header {
        extra: code,
        ..header
    };
    outgoing.control(header, cut_text(status.message()).as_bytes());
}

/// Appends a credit: `[stream.credit]`.
pub(super) fn put_credit(outgoing: &mut Outgoing, call: CallId, bytes: u32) {
    let header = Header::new(Kind::Credit, call.wire());
    outgoing.control(header, &bytes.to_le_bytes());
}

/// Appends a credit with which the window grows: `[stream.growth]`.
fn put_growth(outgoing: &mut Outgoing, call: CallId, credit: Credit) {
    let header = Header::new(Kind::Credit, call.wire());
    let (bytes, growth) = (credit.bytes.to_le_bytes(), credit.growth.to_le_bytes());
    outgoing.control(header, &[bytes, growth].concat());
}

/// Reads what these two wrote.
fn read_credit(body: &[u8]) -> Result<Credit, ConnectionError> {
    let number = |raw: &[u8; 4]| u32::from_le_bytes(*raw);
    match body.as_chunks() {
        ([bytes], []) => Ok(Credit {
            bytes: number(bytes),
            growth: 0,
        }),
        ([bytes, growth], []) => Ok(Credit {
            bytes: number(bytes),
            growth: number(growth),
        }),
        _ => Err(ConnectionError::Violation(
            "a credit that has not four or eight bytes",
        )),
    }
}

/// Reads what [`put_end`] wrote.
pub(super) fn read_end(header: Header, body: &[u8]) -> Result<(), Status> {
    if header.extra == 0 {
        return Ok(());
    }
    let code = Code::from_number(header.extra.min(u16::from(u8::MAX)) as u8);
    Err(Status::new(
        code,
        String::from_utf8_lossy(body).into_owned(),
    ))
}

/// What came of an attempt to send items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// All of them were appended.
    All,
    /// The rest has to wait for the peer to take some: its credit is an event.
    AwaitsCredit,
    /// The rest has to wait until more of what was appended before is written.
    AwaitsWriter,
    /// The stream is over: nobody wants its items.
    Over,
}

impl StreamTable {
    /// Without streams, and without permission to send before the peer has said how much it takes.
    pub(super) fn new(receiving: StreamLimits) -> Self {
        Self {
            sending: Half::new(StreamLimits::new(0, 0)),
            receiving: Half::new(receiving),
            row_bytes_max: 0,
        }
    }

    /// The peer has said how much it takes.
    pub(super) fn set_peer_limits(&mut self, limits: StreamLimits, message_bytes_max: u32) {
        self.sending.window = Window::new(limits);
        self.row_bytes_max = item_batch_bytes_max(message_bytes_max);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sending.flows.is_empty() && self.receiving.flows.is_empty()
    }

    /// How many streams there are, in both directions, without those that have ended.
    pub(super) fn open_streams(&self) -> usize {
        self.sending.open_streams() + self.receiving.open_streams()
    }

    /// This side will send items.
    pub(super) fn open_sending(&mut self, call: u32) {
        self.sending.open(call);
    }

    /// The peer will send items.
    pub(super) fn open_receiving(&mut self, call: u32) {
        self.receiving.open(call);
    }

    pub(super) fn is_sending(&self, call: u32) -> bool {
        self.sending.is_open(call)
    }

    pub(super) fn is_receiving(&self, call: u32) -> bool {
        self.receiving.is_open(call)
    }

    /// No more items will be sent, and the peer counts none of them any more.
    pub(super) fn close_sending(&mut self, call: u32) {
        self.sending.close(call);
    }

    /// No more items will be sent; true if that was still possible. Those on their way count until
    /// the peer has taken them, or the call is over as far as both sides know.
    pub(super) fn end_sending(&mut self, call: u32) -> bool {
        self.sending.end(call)
    }

    /// No more items are taken.
    pub(super) fn close_receiving(&mut self, call: u32) -> Option<Rest> {
        let flow = self.receiving.close(call)?;
        if !flow.is_over() {
            return Some(Rest::Unsent);
        }
        let credit = u32::try_from(flow.on_the_way()).unwrap_or(u32::MAX);
        let is_worth_it = u64::from(credit) >= self.receiving.window.portion();
        is_worth_it.then_some(Rest::Unconsumed(credit))
    }

    /// No more items will come. Those that came count until they are consumed.
    pub(super) fn end_receiving(&mut self, call: u32) {
        self.receiving.end(call);
    }

    /// The call is over.
    #[inline]
    pub(super) fn close(&mut self, call: u32) {
        if !self.is_empty() {
            self.sending.close(call);
            self.receiving.close(call);
        }
    }

    /// The calls none of whose streams has moved since this was asked before.
    pub(super) fn take_still(&mut self) -> Vec<u32> {
        let mut asked = BinaryHeap::new();
        for half in [&mut self.sending, &mut self.receiving] {
            let flows = half.flows.iter_mut();
            for (call, flow) in flows.filter(|(_, flow)| !flow.is_over()) {
                asked.push((*call, flow.was_still()));
            }
        }
        // Of the two of a call, one that has moved is in front.
        let mut asked = asked.into_sorted_vec();
        asked.dedup_by_key(|(call, _)| *call);
        let still = asked.into_iter().filter(|(_, still)| *still);
        still.map(|(call, _)| call).collect()
    }

    pub(super) fn clear(&mut self) {
        self.sending.clear();
        self.receiving.clear();
    }

    /// Items have arrived; none of them may be longer than `item_bytes_max`.
    pub(super) fn received(
        &mut self,
        header: Header,
        entries: &[u8],
        item_bytes_max: usize,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let waited = header.flags.contains(Flags::WAITED);
        let Half { window, flows, .. } = &mut self.receiving;
        let Some(flow) = flows.get_mut(&header.call) else {
            return Err(ConnectionError::Violation("items of no stream"));
        };
        if entries.is_empty() {
            return Err(ConnectionError::Violation("a frame of no items"));
        }
        let row = entries.len() as u64;
        if window.admits_row(flow, row) {
            check_row(entries, item_bytes_max)?;
            window.arrive(flow, row, waited, now);
            return Ok(());
        }
        for length in entry_lengths(entries) {
            let length = checked(length, item_bytes_max)?;
            if !window.admits(flow, length.whole()) {
                return Err(ConnectionError::Violation("items beyond the window"));
            }
            window.arrive(flow, length.whole(), waited, now);
        }
        Ok(())
    }

    /// The beginning of a row in pieces has arrived. It counts as a whole from now on, as it does at
    /// the peer: what overtakes its pieces must not be taken to have come before it.
    pub(super) fn receiving_row(
        &mut self,
        header: Header,
        bytes: usize,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Half { window, flows, .. } = &mut self.receiving;
        let Some(flow) = flows.get_mut(&header.call) else {
            return Err(ConnectionError::Violation("items of no stream"));
        };
        if !window.admits(flow, bytes as u64) {
            return Err(ConnectionError::Violation("items beyond the window"));
        }
        let waited = header.flags.contains(Flags::WAITED);
        window.arrive(flow, bytes as u64, waited, now);
        Ok(())
    }

    /// The peer has taken items; true if it says so in less than reasonable portions.
    pub(super) fn credited(&mut self, call: u32, body: &[u8]) -> Result<bool, ConnectionError> {
        let credit = read_credit(body)?;
        let bytes = u64::from(credit.bytes);
        let Half { window, flows, .. } = &mut self.sending;
        let Some(flow) = flows.get_mut(&call) else {
            return Ok(bytes == 0 || bytes < window.portion());
        };
        if bytes == 0 || bytes > flow.on_the_way() {
            return Err(ConnectionError::Violation("a credit for nothing"));
        }
        if !window.credit(flow, credit) {
            return Err(ConnectionError::Violation("a window beyond 4 GiB"));
        }
        Ok(bytes < window.portion())
    }
}

/// The streams of a connection, and where what they say goes.
#[derive(Debug)]
pub struct Streams<'a> {
    pub(super) table: &'a mut StreamTable,
    pub(super) outgoing: &'a mut Outgoing,
}

impl Streams<'_> {
    /// Bytes that may wait to be written before items have to wait.
    const OUTGOING_BYTES_MAX: usize = 120 * 1024;

    /// True if items can still be sent.
    #[must_use]
    pub fn is_sending(&self, call: CallId) -> bool {
        self.table.is_sending(call.wire())
    }

    /// True while items are appended without waiting for the writer.
    #[must_use]
    pub fn writer_keeps_up(&self) -> bool {
        self.outgoing.buffered() < Self::OUTGOING_BYTES_MAX
    }

    /// Sends as many items of a batch as the peer and the writer can take now, and removes them from
    /// it. Nothing else may be sent on the stream before the rest.
    pub fn send(&mut self, call: CallId, batch: &mut Batch) -> Sent {
        let Half { window, flows, .. } = &mut self.table.sending;
        let Some(flow) = flows.get_mut(&call.wire()) else {
            return Sent::Over;
        };
        if flow.is_over() {
            return Sent::Over;
        }
        let row_bytes_max = window.row_bytes(flow).min(self.table.row_bytes_max);
        while !batch.is_empty() {
            if self.outgoing.buffered() >= Self::OUTGOING_BYTES_MAX
                || !self.outgoing.takes_items(call.wire(), batch.len())
            {
                return Sent::AwaitsWriter;
            }
            let whole = batch.len();
            if whole <= CHUNK_BYTES && window.admits_row(flow, whole as u64) {
                window.fill(flow, whole as u64);
                let flags = Flags::NONE.with_if(Flags::WAITED, flow.take_waited());
                self.outgoing
                    .items(call.wire(), flags, batch, row_bytes_max);
                return Sent::All;
            }
            let mut admitted = 0;
            // A row grows until it fills a frame. A long item may end it, which then goes in pieces.
            for size in batch.sizes() {
                if admitted >= CHUNK_BYTES || !window.admits(flow, size as u64) {
                    break;
                }
                window.fill(flow, size as u64);
                admitted += size;
            }
            if admitted == 0 {
                let next = batch.sizes().next().unwrap_or(0);
                if !window.is_wide_enough(flow, next as u64) {
                    flow.wait();
                }
                return Sent::AwaitsCredit;
            }
            let flags = Flags::NONE.with_if(Flags::WAITED, flow.take_waited());
            if admitted == whole {
                self.outgoing
                    .items(call.wire(), flags, batch, row_bytes_max);
            } else {
                let mut first = batch.split_to(admitted);
                self.outgoing
                    .items(call.wire(), flags, &mut first, row_bytes_max);
            }
        }
        Sent::All
    }

    /// True if more items of a stream can be appended that are like the last ones.
    #[must_use]
    pub fn takes_alike(&self, call: CallId) -> bool {
        self.outgoing.takes_alike(call.wire())
    }

    /// True once the end of the stream can be said: a large item may still be on its way out.
    #[must_use]
    pub fn can_end(&self, call: CallId) -> bool {
        !self.outgoing.is_sending(call.wire())
    }

    /// Notes that the consumer has taken items of so many bytes, lengths included, and tells the peer
    /// when that is worth a frame. Gives how many more bytes the consumer may take until it is to say
    /// so; sooner, if there is nothing left to take.
    pub fn consumed(&mut self, call: CallId, bytes: usize, now: Instant) -> usize {
        let Half { window, flows, .. } = &mut self.table.receiving;
        let is_alone = flows.len() == 1;
        let Some(flow) = flows.get_mut(&call.wire()) else {
            return window.portion() as usize;
        };
        match window.owe(flow, bytes as u64, is_alone, now) {
            Some(Credit { bytes, growth: 0 }) => put_credit(self.outgoing, call, bytes),
            Some(credit) => put_growth(self.outgoing, call, credit),
            None => {}
        }
        window.report_bytes(flow) as usize
    }
}
