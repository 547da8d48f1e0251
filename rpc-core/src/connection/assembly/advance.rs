//! Memory that a message is given because of its announced length, before it is here: what has arrived
//! is not moved then as more comes.
//!
//! Nothing is written to it, so it costs addresses until something arrives. All connections together
//! are given no more than that, whatever they announce; whoever is given none has memory that grows.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;

/// What all messages that have not arrived may be given together, in bytes.
const ADVANCED_BYTES_MAX: usize = 64 * 1024 * 1024;

static ADVANCED: AtomicUsize = AtomicUsize::new(0);

/// What one message was given; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Advance(usize);

impl Advance {
    /// So much memory, unless others have been given too much.
    pub(super) fn grant(bytes: usize) -> Option<(BytesMut, Self)> {
        let fits = |advanced: usize| {
            let advanced = advanced.checked_add(bytes)?;
            (advanced <= ADVANCED_BYTES_MAX).then_some(advanced)
        };
        ADVANCED.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some((BytesMut::with_capacity(bytes), Self(bytes)))
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        ADVANCED.fetch_sub(self.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t1_what_is_given_in_advance_has_a_limit() {
        // [frame.memory]
        let part = ADVANCED_BYTES_MAX / 16;
        let granted: Vec<_> = (0..100).map_while(|_| Advance::grant(part)).collect();
        // Other tests of this process may hold some.
        assert!((1..=16).contains(&granted.len()), "{}", granted.len());
        assert!(Advance::grant(ADVANCED_BYTES_MAX - part + 1).is_none());
        assert!(Advance::grant(usize::MAX).is_none());
        drop(granted);
        assert!(Advance::grant(part).is_some());
    }
}
