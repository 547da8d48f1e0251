//! The virtual clock of a pair: each side acts when it asked to, and whenever else a test wants.

use std::time::{Duration, Instant};

use rpc_core::connection::{CallId, ConnectionError, RequestHead};
use rpc_core::{Deadline, MethodId};

use super::harness::*;
use super::raw::Frame;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

impl Pair {
    /// Starts a call with this deadline on both sides.
    pub(crate) fn call_within(&mut self, method: MethodId, kept: u64, time: Duration) -> CallId {
        let deadline = Deadline::after(self.now, time);
        let head = RequestHead::new(method).with_deadline(Some(deadline), self.now);
        self.call_with(head, kept, &kept.to_le_bytes())
    }

    /// The client acts on what is due, and takes the data of the calls whose deadline has passed.
    pub(crate) fn client_looks(&mut self) -> Result<(), ConnectionError> {
        let mut expired = Vec::new();
        let looked = self
            .client
            .handle_timeout(self.now, |kept| expired.push(*kept));
        for kept in expired {
            let data = self.client.release(self.calls[&kept]);
            assert_eq!(data, Some(kept), "its data stayed until now");
            self.client_saw.push(ClientSaw::Expired(kept));
        }
        looked
    }

    /// The server acts on what is due.
    pub(crate) fn server_looks(&mut self) -> Result<(), ConnectionError> {
        let saw = &mut self.server_saw;
        self.server
            .handle_timeout(self.now, |id| saw.push(ServerSaw::Expired(id)))
    }

    /// When either side next wants to look.
    pub(crate) fn due(&self) -> Option<Instant> {
        let both = [self.client.poll_timeout(), self.server.poll_timeout()];
        both.into_iter().flatten().min()
    }

    /// Lets time pass: both sides look exactly when they asked to, and all bytes are carried.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), ConnectionError> {
        let end = self.now + time;
        let mut looks = 0;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.client_looks()?;
            self.server_looks()?;
            self.carry()?;
            looks += 1;
            assert!(looks < 100_000, "a timer that spins");
        }
        self.now = end;
        Ok(())
    }

    /// As [`drive`](Self::drive); either side may find fault.
    pub(crate) fn carry(&mut self) -> Result<(), ConnectionError> {
        while !self.client.outgoing().is_empty() || !self.server.outgoing().is_empty() {
            self.carry_to_server()?;
            self.carry_to_client()?;
        }
        Ok(())
    }

    /// Lets time pass for the client alone: nothing that it writes arrives, nothing comes.
    pub(crate) fn client_alone_for(&mut self, time: Duration) -> Result<(), ConnectionError> {
        let end = self.now + time;
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.client_looks()?;
        }
        self.now = end;
        Ok(())
    }

    /// Lets time pass for the server alone.
    pub(crate) fn server_alone_for(&mut self, time: Duration) -> Result<(), ConnectionError> {
        let end = self.now + time;
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.server_looks()?;
        }
        self.now = end;
        Ok(())
    }

    /// The calls above `last` end as not processed, as a go-away demands.
    pub(crate) fn heed_go_away(&mut self, last: u64) {
        let mut ended = Vec::new();
        self.client.close_above(last, |kept| ended.push(*kept));
        for kept in ended {
            assert_eq!(self.client.release(self.calls[&kept]), Some(kept));
            self.client_saw.push(ClientSaw::NotProcessed(kept));
        }
    }

    /// The client's connection ends; every open call with it.
    pub(crate) fn close_client(&mut self) {
        let mut ended = Vec::new();
        self.client
            .close(|kept, unsent| ended.push((*kept, unsent)));
        for (kept, unsent) in ended {
            assert_eq!(self.client.release(self.calls[&kept]), Some(kept));
            self.client_saw.push(match unsent {
                true => ClientSaw::NotProcessed(kept),
                false => ClientSaw::Lost(kept),
            });
        }
    }

    /// How the calls ended, by what the client kept for them, in order.
    pub(crate) fn ends(&self) -> Vec<(u64, &ClientSaw)> {
        let ends = self.client_saw.iter().filter_map(|saw| match saw {
            ClientSaw::Replied { kept, .. } | ClientSaw::Failed { kept, .. } => Some((*kept, saw)),
            ClientSaw::Ended(kept)
            | ClientSaw::Expired(kept)
            | ClientSaw::NotProcessed(kept)
            | ClientSaw::Lost(kept) => Some((*kept, saw)),
            ClientSaw::Opened
            | ClientSaw::GoAway { .. }
            | ClientSaw::Streams { .. }
            | ClientSaw::Items(..)
            | ClientSaw::Credited(_)
            | ClientSaw::Stopped(_) => None,
        });
        ends.collect()
    }
}

/// The frames in these bytes.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<16>() {
        let field = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap());
        let (body, rest) = rest.split_at(field(0) as usize);
        frames.push(Frame {
            kind: header[8],
            call: field(4),
            flags: header[9],
            extra: u16::from_le_bytes([header[10], header[11]]),
            method: field(12),
            body,
        });
        bytes = rest;
    }
    frames
}

/// The kinds of the frames in these bytes, with the low bits of their call ids.
pub(crate) fn kinds(bytes: &[u8]) -> Vec<(u8, u32)> {
    let frames = frames(bytes).into_iter();
    frames.map(|frame| (frame.kind, frame.call)).collect()
}
