//! Randomness for one pick, out of the 64 bits it was given.

/// A generator for the few numbers that one pick needs: SplitMix64 (Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to `n - 1`; 0 if `n` is 0.
    #[inline]
    pub const fn below(&mut self, n: usize) -> usize {
        // The high half of a product: nearly even, and cheaper than a remainder (Lemire, 2019).
        ((self.roll() as u128 * n as u128) >> 64) as usize
    }

    /// A number from 0 to `n - 1` that is not `other`. There must be two: `other < n`, `n >= 2`.
    #[inline]
    pub(super) const fn below_except(&mut self, n: usize, other: usize) -> usize {
        let drawn = self.below(n - 1);
        if drawn < other { drawn } else { drawn + 1 }
    }

    /// A number from 0.0 to just below 1.0.
    #[inline]
    pub const fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Spreads a number over all 64 bits; different numbers stay different.
#[inline]
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
