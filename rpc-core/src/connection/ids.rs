//! The 64 bits of a call id from the 32 that travel.

use super::{CallId, ConnectionError};

/// The ids a peer has used: they rise, each by less than 2^31.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RisingIds {
    last: u64,
}

impl RisingIds {
    /// The whole id of the next request.
    #[inline]
    pub(super) fn next(&mut self, wire: u32) -> Result<CallId, ConnectionError> {
        let rise = wire.wrapping_sub(self.last as u32);
        if wire == 0 || rise == 0 || rise >= 1 << 31 {
            return Err(ConnectionError::Violation("a call id that does not rise"));
        }
        // A peer that jumps as far as it may gets here after 2^33 requests.
        let Some(id) = self.last.checked_add(u64::from(rise)) else {
            return Err(ConnectionError::Violation("call ids are used up"));
        };
        self.last = id;
        Ok(CallId(id))
    }

    /// The whole id of a request that came before; `None` if none can have had it.
    pub(super) fn recent(&self, wire: u32) -> Option<CallId> {
        let behind = (self.last as u32).wrapping_sub(wire);
        self.last.checked_sub(u64::from(behind)).map(CallId)
    }

    /// The last id accepted; 0 before the first.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_19_ids_rise_through_the_wrap_of_their_low_bits() {
        // [call.id]
        let mut ids = RisingIds::default();
        let mut id = |wire: u32| ids.next(wire).map(CallId::number);
        assert_eq!(id(5), Ok(5));
        assert_eq!(id(0x7000_0000), Ok(0x7000_0000));
        assert_eq!(id(0xe000_0000), Ok(0xe000_0000));
        assert_eq!(id(3), Ok(0x1_0000_0003));
        assert_eq!(id(4), Ok(0x1_0000_0004));
    }

    #[test]
    fn t16_ids_end_and_do_not_overflow() {
        // [call.id]
        let mut ids = RisingIds {
            last: u64::MAX - 10,
        };
        assert!(ids.next(u32::MAX - 1).is_ok());
        assert!(ids.next(1).is_err());
        assert_eq!(ids.last(), u64::MAX - 1);
    }

    #[test]
    fn t6_ids_that_do_not_rise_are_refused() {
        // [call.id]: zero, a repeated id, an earlier id.
        for bad in [0, 10, 9, 1] {
            let mut ids = RisingIds::default();
            ids.next(10).unwrap();
            assert!(ids.next(bad).is_err(), "{bad}");
        }
    }
}
