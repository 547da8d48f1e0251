//! How often something happened lately: a counter that forgets.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Counts over the last [`SLICES`] slices of time, the current one included.
#[derive(Debug)]
pub(super) struct Window {
    slice_nanos: u64,
    /// Number of the slice in the high half, count in the low half; a slot is taken over by the
    /// first to count in a later slice. A count is below zero if what is taken back was counted in
    /// an earlier slice.
    slots: [AtomicU64; SLICES],
}

/// Into how many slices a window is cut: what leaves it at once is a tenth.
const SLICES: usize = 10;

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            slice_nanos: nanos(length / SLICES as u32).max(1),
            slots: [const { AtomicU64::new(0) }; SLICES],
        }
    }

    #[inline]
    pub(super) fn add(&self, now: Duration, count: i32) {
        let tick = self.tick(now);
        let slot = &self.slots[tick as usize % SLICES];
        let add = |old| {
            let counted = if tick_of(old) == tick {
                count_of(old)
            } else {
                0
            };
            let counted = counted.saturating_add(count).cast_unsigned();
            Some(u64::from(tick) << 32 | u64::from(counted))
        };
        // Succeeds: the closure always gives a value.
        let _ = slot.fetch_update(Relaxed, Relaxed, add);
    }

    #[inline]
    pub(super) fn sum(&self, now: Duration) -> u64 {
        let tick = self.tick(now);
        let slots = self.slots.iter().map(|slot| slot.load(Relaxed));
        // A slot of another thread may be one ahead.
        let recent =
            slots.filter(|slot| tick.wrapping_sub(tick_of(*slot)).wrapping_add(1) <= SLICES as u32);
        let sum: i64 = recent.map(|slot| i64::from(count_of(slot))).sum();
        sum.max(0).cast_unsigned()
    }

    /// The number of the current slice, modulo 2^32.
    fn tick(&self, now: Duration) -> u32 {
        (nanos(now) / self.slice_nanos) as u32
    }
}

/// 584 years at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const fn tick_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

const fn count_of(slot: u64) -> i32 {
    (slot as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten_a_slice_at_a_time() {
        let window = Window::new(Duration::from_secs(10));
        let second = Duration::from_secs;
        for at in 100..110 {
            window.add(second(at), 5);
        }
        let sums = (109..=120).map(|at| window.sum(second(at)));
        assert_eq!(
            sums.collect::<Vec<_>>(),
            [50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0, 0]
        );
        window.add(second(200), 1);
        window.add(second(200), i32::MAX);
        assert_eq!(window.sum(second(200)), 0x7fff_ffff, "full, not wrapped");
        window.add(second(205), -7);
        assert_eq!(window.sum(second(205)), 0x7fff_ffff - 7);
        assert_eq!(window.sum(second(212)), 0, "no less than nothing");
    }
}
