//! How often something may happen: a token bucket.

use std::time::{Duration, Instant};

/// Holds up to `burst` tokens and gains `per_second` of them; time is told, never asked.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    /// Tokens in thousandths: 0 <= milli_tokens <= 1000 * burst
    milli_tokens: u64,
    per_second: u32,
    burst: u32,
    refilled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            milli_tokens: u64::from(burst) * 1000,
            per_second,
            burst,
            refilled: now,
        }
    }

    /// Takes a token, if there is one at this time.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.milli_tokens.checked_sub(1000);
        self.milli_tokens = taken.unwrap_or(self.milli_tokens);
        taken.is_some()
    }

    /// When the next token is there.
    pub(super) fn next_at(&self) -> Instant {
        let missing = 1000_u64.saturating_sub(self.milli_tokens);
        let millis = missing.div_ceil(u64::from(self.per_second.max(1)));
        self.refilled + Duration::from_millis(millis)
    }

    fn refill(&mut self, now: Instant) {
        // A token a second is a thousandth of a token a millisecond; the rest of a millisecond
        // stays for the next time.
        let elapsed = now.saturating_duration_since(self.refilled).as_millis();
        let gained = elapsed.saturating_mul(u128::from(self.per_second));
        let full = u128::from(self.burst) * 1000;
        self.milli_tokens = full.min(u128::from(self.milli_tokens).saturating_add(gained)) as u64;
        let whole = u64::try_from(elapsed).unwrap_or(0);
        self.refilled += Duration::from_millis(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn a_burst_then_the_rate() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(100, 200, now);
        let mut take_all = |now| {
            std::iter::repeat_with(|| bucket.take(now))
                .take_while(|t| *t)
                .count()
        };
        assert_eq!(take_all(now), 200);
        now += Duration::from_millis(25);
        assert_eq!(take_all(now), 2);
        now += Duration::from_millis(5);
        assert_eq!(take_all(now), 1, "half a token was kept");
        now += Duration::from_secs(3600);
        assert_eq!(take_all(now), 200);
        assert_eq!(bucket.next_at(), now + Duration::from_millis(10));
    }
}
