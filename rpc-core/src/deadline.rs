//! When a call has to be over, and how the time that is left travels.
//!
//! Why not send the moment itself? Clocks of two machines differ; remaining time does not.

use std::time::{Duration, Instant};

/// The moment by which a call has to be over, on this process's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// The longest time a call may be given: 24 hours. Longer timeouts are cut to it.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// The deadline of work that starts `now` and may take `timeout`; never overflows.
    #[inline]
    #[must_use]
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self(now + timeout.min(Self::TIMEOUT_MAX))
    }

    /// A deadline at this moment.
    #[inline]
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The moment.
    #[inline]
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time left; zero when it has passed.
    #[inline]
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// True when no time is left.
    #[inline]
    #[must_use]
    pub fn has_passed(self, now: Instant) -> bool {
        self.0 <= now
    }
}

/// Remaining time in 16 bits: 12 bits of value, 4 bits of binary exponent, in milliseconds.
///
/// Exact up to 4095 ms; beyond, rounded down by less than 0.05 %. Zero means "no deadline", so a
/// deadline with less than a millisecond left travels as one millisecond. The largest value,
/// 4095 × 2^15 ms (37 hours), lies above [`Deadline::TIMEOUT_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireTimeout(u16);

impl WireTimeout {
    /// The field of a frame that carries no deadline.
    pub const NONE: Self = Self(0);

    /// Packs the time that is left.
    #[inline]
    #[must_use]
    pub fn pack(timeout: Duration) -> Self {
        let capped = timeout.min(Deadline::TIMEOUT_MAX);
        let ms = capped.as_secs() * 1000 + u64::from(capped.subsec_millis());
        let ms = ms.max(1); // at most 86,400,000
        let bits = u64::BITS - ms.leading_zeros();
        let exponent = bits.saturating_sub(12);
        Self((exponent << 12) as u16 | (ms >> exponent) as u16)
    }

    /// The timeout, `None` for "no deadline".
    #[inline]
    #[must_use]
    pub fn unpack(self) -> Option<Duration> {
        let value = u64::from(self.0 & 0x0fff);
        let exponent = self.0 >> 12;
        let timeout = Duration::from_millis(value << exponent);
        (value > 0).then(|| timeout.min(Deadline::TIMEOUT_MAX))
    }

    /// The 16 bits as they travel.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From the 16 bits of a frame; every pattern has a meaning.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// Packs the timeouts of calls one after the other.
///
/// Most have that of the one before, and to compare it takes a fifth of what it takes to pack it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packer {
    last: (Duration, WireTimeout),
}

impl Packer {
    pub(crate) fn new() -> Self {
        let last = Duration::ZERO;
        Self {
            last: (last, WireTimeout::pack(last)),
        }
    }

    /// As [`WireTimeout::pack`].
    #[inline]
    pub(crate) fn pack(&mut self, timeout: Duration) -> WireTimeout {
        if timeout != self.last.0 {
            self.pack_other(timeout);
        }
        self.last.1
    }

    #[inline(never)]
    fn pack_other(&mut self, timeout: Duration) {
        self.last = (timeout, WireTimeout::pack(timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(timeout: Duration) -> Duration {
        WireTimeout::pack(timeout).unpack().unwrap()
    }

    #[test]
    fn short_timeouts_are_exact_to_the_millisecond() {
        for ms in 1..=4095 {
            let timeout = Duration::from_millis(ms);
            assert_eq!(there_and_back(timeout), timeout);
        }
    }

    #[test]
    fn long_timeouts_lose_less_than_one_part_in_two_thousand() {
        for ms in (4096..86_400_000).step_by(9973) {
            let timeout = Duration::from_millis(ms);
            let back = there_and_back(timeout);
            assert!(
                back <= timeout && timeout - back < timeout / 2000,
                "{timeout:?} {back:?}"
            );
        }
    }

    #[test]
    fn timeouts_that_follow_each_other_are_packed_as_each_would_be_alone() {
        let mut packer = Packer::new();
        for ms in [0, 10, 10, 0, 20, u64::MAX, u64::MAX, 10] {
            let timeout = Duration::from_millis(ms);
            assert_eq!(packer.pack(timeout), WireTimeout::pack(timeout));
        }
    }

    #[test]
    fn t15_extremes_saturate() {
        assert_eq!(there_and_back(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(
            there_and_back(Duration::from_nanos(1)),
            Duration::from_millis(1)
        );
        let day = there_and_back(Duration::MAX);
        assert!(day <= Deadline::TIMEOUT_MAX && day > Deadline::TIMEOUT_MAX * 1999 / 2000);
        for bits in 0..=u16::MAX {
            let timeout = WireTimeout::from_bits(bits).unpack();
            assert!(timeout.is_none_or(|t| t <= Deadline::TIMEOUT_MAX));
        }
    }
}
