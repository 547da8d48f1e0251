//! Random frames, pieces, turns and cuts against a model of the stream.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::wire::LONG_CHUNK_BYTES_MAX;

/// How long rows of several items may become: two long ones, and short ones behind.
const ROW_BYTES_MAX: usize = 150 * 1024;

/// What a test has appended for one call, and what may have come of it.
#[derive(Default)]
struct Known {
    /// The bodies of all frames and messages, in order.
    sent: Vec<Vec<u8>>,
    /// The same as far as the peer has it.
    seen: Vec<Vec<u8>>,
    /// Bytes of the last message that are still to come.
    missing: usize,
    cut: bool,
}

struct Model {
    out: Outgoing,
    turn: Option<Outgoing>,
    written: Vec<u8>,
    calls: HashMap<u32, Known>,
    serial: u8,
}

impl Model {
    fn step(&mut self, action: u8, size: u16) {
        let call = 1 + u32::from(size) % 4;
        let size = usize::from(size);
        self.serial = self.serial.wrapping_add(1);
        match action % 8 {
            0 => self.message(call, size % 100),
            1 => self.message(call, CHUNK_BYTES - 10 + 3 * size),
            2 => self.items(call, size % 3000),
            3 => self.items(call, CHUNK_BYTES - 10 + size),
            4 if size.is_multiple_of(3) => {
                self.out.cut(call);
                self.calls.entry(call).or_default().cut = true;
            }
            5 => {
                if let Some(turn) = self.turn.take() {
                    self.out.prepend(turn);
                } else {
                    self.turn = Some(self.out.take());
                }
            }
            _ => self.write(size),
        }
        let waiting = self.out.large.iter().map(Large::len).sum::<usize>();
        assert_eq!(self.out.len(), waiting + self.out.buffered());
    }

    /// A call says nothing more once it is cut.
    fn speaks(&mut self, call: u32, may: bool, body: Vec<u8>) -> bool {
        let known = self.calls.entry(call).or_default();
        let speaks = !known.cut && may;
        if speaks {
            known.sent.push(body);
        }
        speaks
    }

    fn message(&mut self, call: u32, length: usize) {
        let body = vec![self.serial; length];
        // Nor while its large body is on its way.
        if self.speaks(call, !self.out.is_sending(call), body.clone()) {
            let header = Header::new(Kind::Request, call);
            let sent = self
                .out
                .frame::<(), ()>(header, &Metadata::new(), usize::MAX, |out| {
                    out.extend_from_slice(&body);
                    Ok(())
                });
            sent.unwrap();
        }
    }

    fn items(&mut self, call: u32, length: usize) {
        let mut batch = Batch::new();
        let serial = self.serial;
        let pushed = batch.push::<(), ()>(usize::MAX, |out| {
            out.resize(out.len() + length, serial);
            Ok(())
        });
        pushed.unwrap();
        let mut row = (length as u32).to_le_bytes().to_vec();
        row.resize(row.len() + length, serial);
        // Only a row of items takes more of them, as long as nothing of it is on its way.
        let may = self.out.takes_items(call, batch.len());
        if self.speaks(call, may, row) {
            self.out.items(call, Flags::NONE, &mut batch, ROW_BYTES_MAX);
        }
    }

    fn write(&mut self, count: usize) {
        let out = self.turn.as_mut().unwrap_or(&mut self.out);
        let part = count.min(out.chunk().len());
        self.written.extend_from_slice(&out.chunk()[..part]);
        out.advance(part);
    }

    fn finish(mut self) {
        if let Some(turn) = self.turn.take() {
            self.out.prepend(turn);
        }
        while !self.out.is_empty() {
            self.write(usize::MAX);
        }
        let written = std::mem::take(&mut self.written);
        let mut rest = &written[..];
        while let Some((raw, behind)) = rest.split_first_chunk() {
            let header = Header::parse(raw);
            let (body, behind) = behind.split_at(header.length as usize);
            rest = behind;
            self.see(header, body);
        }
        assert!(rest.is_empty());
        for (call, known) in &self.calls {
            let sent: Vec<u8> = known.sent.concat();
            let seen: Vec<u8> = known.seen.concat();
            assert!(sent.starts_with(&seen), "{call}: out of order");
            assert!(
                known.cut || (sent == seen && known.missing == 0),
                "{call}: lost"
            );
            assert!(!self.out.holds(*call) && !self.out.is_sending(*call));
        }
    }

    fn see(&mut self, header: Header, body: &[u8]) {
        let known = self.calls.get_mut(&header.call).unwrap();
        if header.kind == Kind::Chunk {
            assert!(!body.is_empty() && body.len() <= LONG_CHUNK_BYTES_MAX);
            known.missing = known.missing.checked_sub(body.len()).expect("announced");
            known.seen.push(body.to_vec());
            return;
        }
        assert_eq!(known.missing, 0, "a frame within the pieces of another");
        if header.flags.contains(Flags::MORE) {
            known.missing = u32::from_le_bytes(body.try_into().unwrap()) as usize;
        } else {
            known.seen.push(body.to_vec());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]
    #[test]
    fn every_call_is_heard_in_order_up_to_where_it_was_cut(
        steps in prop::collection::vec(any::<(u8, u16)>(), 0..40),
    ) {
        let (out, turn, written) = (Outgoing::default(), None, Vec::new());
        let mut model = Model { out, turn, written, calls: HashMap::new(), serial: 0 };
        for (action, size) in steps {
            model.step(action, size);
        }
        model.finish();
    }
}
