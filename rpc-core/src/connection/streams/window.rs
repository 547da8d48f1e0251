//! How many bytes of items may be on their way in one direction: `[stream.window]`.

use crate::StreamLimits;

/// The items of one stream that are on their way or not consumed.
#[derive(Debug, Default)]
pub(super) struct Flow {
    on_the_way: u64,
    /// Bytes consumed of which the sender was not told: owed <= `on_the_way`
    owed: u64,
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
}

/// What all streams of one direction share.
#[derive(Debug)]
pub(super) struct Window {
    limits: StreamLimits,
    /// The sum of what is on the way.
    on_the_way: u64,
}

impl Window {
    /// What a consumer may keep to itself, and what a stream may always have on its way.
    const PORTION_BYTES: u32 = 16 * 1024;

    pub(super) const fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            on_the_way: 0,
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

    /// What a consumer takes before it says so, while there is more to take: a quarter of the window
    /// arrives meanwhile, and the sender is not stopped.
    pub(super) fn report_bytes(&self) -> u64 {
        self.portion().max(u64::from(self.limits.stream_bytes / 4))
    }

    /// True if an item of so many bytes may be sent.
    #[inline]
    pub(super) fn admits(&self, flow: &Flow, bytes: u64) -> bool {
        flow.on_the_way < self.portion() || self.admits_row(flow, bytes)
    }

    /// True if items of so many bytes may be sent, however they are made up.
    #[inline]
    pub(super) fn admits_row(&self, flow: &Flow, bytes: u64) -> bool {
        flow.on_the_way + bytes <= u64::from(self.limits.stream_bytes)
            && self.on_the_way + bytes <= u64::from(self.limits.connection_bytes)
    }

    #[inline]
    pub(super) const fn fill(&mut self, flow: &mut Flow, bytes: u64) {
        flow.on_the_way += bytes;
        flow.still = false;
        self.on_the_way += bytes;
    }

    #[inline]
    pub(super) const fn drain(&mut self, flow: &mut Flow, bytes: u64) {
        flow.on_the_way -= bytes;
        flow.still = false;
        self.on_the_way -= bytes;
    }

    /// Items were consumed; the credit to give, if it is worth a frame.
    #[inline]
    pub(super) fn owe(&mut self, flow: &mut Flow, bytes: u64) -> Option<u32> {
        flow.owed = (flow.owed + bytes).min(flow.on_the_way);
        if flow.owed < self.portion() {
            return None;
        }
        let credit = u32::try_from(flow.owed).unwrap_or(u32::MAX);
        flow.owed -= u64::from(credit);
        self.drain(flow, u64::from(credit));
        Some(credit)
    }

    /// The stream is over.
    pub(super) const fn forget(&mut self, flow: &Flow) {
        self.on_the_way -= flow.on_the_way;
    }
}
