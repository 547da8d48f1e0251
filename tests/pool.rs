//! Several connections to one server: how many, who gets which, who waits.

#[path = "pool/balanced.rs"]
mod balanced;
mod common;
#[path = "pool/harbour.rs"]
mod harbour;
#[path = "pool/losing.rs"]
mod losing;
#[path = "pool/sharing.rs"]
mod sharing;
#[path = "pool/simulation.rs"]
mod simulation;

use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
