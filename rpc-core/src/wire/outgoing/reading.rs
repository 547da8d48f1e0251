//! What is said of the pieces that were read: `[frame.ahead]`.

use std::time::Instant;

use super::{HEADER_BYTES, Header, Kind, Outgoing};

/// What this side has read of the pieces of the other.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The other side wants to know.
    is_asked: bool,
    /// Bytes of which the other side was not told.
    unreported: u32,
}

/// What is said, in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    start: usize,
    bytes: u32,
}

impl Report {
    const BYTES: usize = HEADER_BYTES + 4;
}

/// The least that is worth a report, once there is nothing more to be read.
pub(super) const REPORT_BYTES: u32 = 8 * 1024;
/// What is reported although there is more to be read.
const LONG_REPORT_BYTES: u32 = 256 * 1024;

impl Outgoing {
    /// No report is added to more than this: a peer that does not read hears none.
    const UNREPORTED_ABOVE: usize = 64 * 1024;

    /// The other side has said whether it reports what it reads, and wants to be told.
    pub(crate) const fn begin_reports(&mut self, reports: bool) {
        self.reading.is_asked = reports;
        if !reports {
            self.ahead.expect_nothing();
        }
    }

    /// A piece of the other side, or a part of one, was read.
    pub(crate) fn note_read(&mut self, bytes: usize) {
        if !self.reading.is_asked {
            return;
        }
        // More than that is read only for a peer that takes no report.
        self.reading.unreported = self.reading.unreported.saturating_add(bytes as u32);
        if self.reading.unreported >= LONG_REPORT_BYTES {
            self.report_reading();
        }
    }

    /// Says what was read, if that is worth it: to be told when there is nothing more to be read. Gives
    /// whether there is something to be written now.
    #[inline]
    pub fn report_reading(&mut self) -> bool {
        let reports = self.has_to_report();
        if reports {
            self.report(self.reading.unreported);
        }
        reports
    }

    /// True if [`report_reading`](Self::report_reading) would append something.
    #[inline]
    #[must_use]
    pub fn has_to_report(&self) -> bool {
        self.reading.unreported >= REPORT_BYTES && self.buffered() < Self::UNREPORTED_ABOVE
    }

    #[cold]
    fn report(&mut self, bytes: u32) {
        self.reading.unreported = 0;
        let end = self.buffer.len();
        let open = self
            .rare
            .open
            .report
            .filter(|last| last.start >= self.written && last.start + Report::BYTES == end);
        let report = match open {
            Some(last) => Report {
                bytes: last.bytes.saturating_add(bytes),
                ..last
            },
            None => Report { start: end, bytes },
        };
        self.buffer.truncate(report.start);
        self.control(Header::new(Kind::Credit, 0), &report.bytes.to_le_bytes());
        self.open().report = Some(report);
    }

    /// The other side has read so many bytes of the pieces of this one; true if it says so in less
    /// than reasonable portions, nothing if it cannot be.
    pub(crate) fn pieces_read(&mut self, bytes: u32, now: Instant) -> Option<bool> {
        let known = self.ahead.read(bytes as usize, now);
        known.then_some(bytes < REPORT_BYTES)
    }
}
