//! What a client does when something fails. Each policy is told the time and the randomness.

pub(crate) mod backoff;
