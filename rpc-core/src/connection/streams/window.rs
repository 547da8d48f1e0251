//! How many bytes of items may be on their way in one direction: `[stream.window]`.

use std::time::Instant;

use super::tuning::{Traffic, Tuning, Waited};
use crate::StreamLimits;
use crate::wire::ROW_BYTES_MAX;

/// The items of one stream that are on their way or not consumed.
#[derive(Debug, Default)]
pub(super) struct Flow {
    on_the_way: u64,
    /// Bytes consumed of which the sender was not told: owed <= `on_the_way`
    owed: u64,
    /// By how much its window has grown. So many bytes on the way are no matter of the other streams.
    growth: u64,
    /// At the sender: its own window was full.
    waits: bool,
    /// At the receiver.
    tuning: Tuning,
    /// Nothing is sent any more.
    over: bool,
    /// Nothing has happened since it was last asked.
    still: bool,
}

impl Flow {
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// True if nothing has happened since this was asked before.
    pub(super) const fn was_still(&mut self) -> bool {
        std::mem::replace(&mut self.still, true)
    }

    pub(super) const fn end(&mut self) {
        self.over = true;
    }

    pub(super) const fn on_the_way(&self) -> u64 {
        self.on_the_way
    }

    /// What counts for all streams together.
    const fn shared(&self) -> u64 {
        self.on_the_way.saturating_sub(self.growth)
    }

    /// Its own window is full: nothing can be sent before there is credit.
    pub(super) const fn wait(&mut self) {
        self.waits = true;
    }

    /// True if the sender had to wait since this was asked before.
    pub(super) const fn take_waited(&mut self) -> bool {
        std::mem::replace(&mut self.waits, false)
    }
}

/// What all streams of one direction share.
#[derive(Debug)]
pub(super) struct Window {
    limits: StreamLimits,
    /// The sum of what is on the way, without what grown windows have room for.
    on_the_way: u64,
    /// By how much the windows of streams have grown together.
    growth: u64,
    /// The sum of all that has arrived.
    arrived: u64,
    /// At the receiver: round trips in a row in which both sides waited, of whatever streams.
    tight: u8,
}

/// What a consumer gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credit {
    /// Bytes that it has taken.
    pub(super) bytes: u32,
    /// By how many the window of the stream grows.
    pub(super) growth: u32,
}

impl Window {
    /// What a consumer may keep to itself, and what a stream may always have on its way.
    const PORTION_BYTES: u32 = 16 * 1024;
    /// Trips in a row after which both sides are taken to wait for each other.
    const TIGHT_TRIPS: u8 = 2;

    pub(super) const fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            on_the_way: 0,
            growth: 0,
            arrived: 0,
            tight: 0,
        }
    }

    /// The least credit that is worth a frame. A stream of which all is consumed has less than this
    /// on its way, as far as its sender knows. Nothing before the limits are known.
    #[inline]
    pub(super) fn portion(&self) -> u64 {
        u64::from(
            self.limits
                .stream_bytes
                .div_ceil(2)
                .min(Self::PORTION_BYTES),
        )
    }

    /// What a consumer takes before it says so, while there is more to take: the other half of the
    /// window is on its way meanwhile, and the sender is not stopped.
    pub(super) fn report_bytes(&self, flow: &Flow) -> u64 {
        self.portion().max(self.width(flow) / 2)
    }

    /// True unless the window of the stream itself is in the way of so many bytes.
    #[inline]
    pub(super) fn is_wide_enough(&self, flow: &Flow, bytes: u64) -> bool {
        flow.on_the_way + bytes <= self.width(flow)
    }

    /// The window of a stream.
    #[inline]
    fn width(&self, flow: &Flow) -> u64 {
        u64::from(self.limits.stream_bytes) + flow.growth
    }

    /// How long a row of several long items may become. A third of the window, so that one can be written
    /// and another be read while the consumer has a third.
    pub(super) fn row_bytes(&self, flow: &Flow) -> usize {
        ((self.width(flow) / 3) as usize).min(ROW_BYTES_MAX)
    }

    /// True if an item of so many bytes may be sent.
    #[inline]
    pub(super) fn admits(&self, flow: &Flow, bytes: u64) -> bool {
        flow.on_the_way < self.portion() || self.admits_row(flow, bytes)
    }

    /// True if items of so many bytes may be sent, however they are made up.
    #[inline]
    pub(super) fn admits_row(&self, flow: &Flow, bytes: u64) -> bool {
        let on_the_way = flow.on_the_way + bytes;
        let shared = on_the_way.saturating_sub(flow.growth) - flow.shared();
        self.is_wide_enough(flow, bytes)
            && self.on_the_way + shared <= u64::from(self.limits.connection_bytes)
    }

    #[inline]
    pub(super) const fn fill(&mut self, flow: &mut Flow, bytes: u64) {
        self.on_the_way -= flow.shared();
        flow.on_the_way += bytes;
        flow.still = false;
        self.on_the_way += flow.shared();
    }

    #[inline]
    pub(super) const fn drain(&mut self, flow: &mut Flow, bytes: u64) {
        self.on_the_way -= flow.shared();
        flow.on_the_way -= bytes;
        flow.still = false;
        self.on_the_way += flow.shared();
    }

    /// The window of a stream is wider from now on.
    pub(super) const fn grow(&mut self, flow: &mut Flow, bytes: u64) {
        self.on_the_way -= flow.shared();
        flow.growth += bytes;
        self.growth += bytes;
        self.on_the_way += flow.shared();
    }

    /// Items have arrived, whose sender may have `waited` for credit.
    pub(super) fn arrive(&mut self, flow: &mut Flow, bytes: u64, waited: bool, now: Instant) {
        let all_consumed = flow.owed == flow.on_the_way;
        self.arrived += bytes;
        let traffic = self.traffic(now);
        match flow.tuning.arrived(bytes, waited, all_consumed, traffic) {
            Some(Waited::Both) => self.tight = self.tight.saturating_add(1),
            Some(Waited::One) => self.tight = 0,
            None => {}
        }
        self.fill(flow, bytes);
    }

    /// Items were consumed; the credit to give, if it is worth a frame. `is_alone` if no other
    /// stream has this direction.
    pub(super) fn owe(
        &mut self,
        flow: &mut Flow,
        bytes: u64,
        is_alone: bool,
        now: Instant,
    ) -> Option<Credit> {
        flow.owed = (flow.owed + bytes).min(flow.on_the_way);
        if flow.owed < self.portion() {
            return None;
        }
        let growth = self.take_growth(flow, is_alone);
        let without = self.width(flow).saturating_sub(flow.on_the_way);
        flow.tuning.credited(without, self.traffic(now));
        let bytes = u32::try_from(flow.owed).unwrap_or(u32::MAX);
        flow.owed -= u64::from(bytes);
        self.drain(flow, u64::from(bytes));
        self.grow(flow, u64::from(growth));
        Some(Credit { bytes, growth })
    }

    fn traffic(&self, now: Instant) -> Traffic {
        Traffic {
            now,
            arrived: self.arrived,
            room: u64::from(self.limits.connection_bytes) + self.growth,
        }
    }

    /// By how much the window of a stream is to grow now, as long as there is memory: it doubles where the
    /// way is long, and once where both sides wait for each other and no other stream has that direction.
    fn take_growth(&self, flow: &mut Flow, is_alone: bool) -> u32 {
        if flow.tuning.wants_more() {
            flow.tuning.grown();
        } else if !is_alone || self.tight < Self::TIGHT_TRIPS || flow.growth > 0 {
            return 0;
        }
        let width = self.width(flow);
        let left = u64::from(self.limits.growth_bytes).saturating_sub(self.growth);
        let widest = u64::from(u32::MAX).saturating_sub(width);
        u32::try_from(width.min(left).min(widest)).unwrap_or(0)
    }

    /// The sender is told of credit, which is not more than is on its way. False if no window may be
    /// so wide.
    pub(super) fn credit(&mut self, flow: &mut Flow, credit: Credit) -> bool {
        self.drain(flow, u64::from(credit.bytes));
        self.grow(flow, u64::from(credit.growth));
        u32::try_from(self.width(flow)).is_ok()
    }

    /// The stream is over.
    pub(super) const fn forget(&mut self, flow: &Flow) {
        self.on_the_way -= flow.shared();
        self.growth -= flow.growth;
    }
}
