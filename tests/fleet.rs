//! Channels to many servers: one string gives a client that finds, chooses and survives.

#[path = "fleet/calls.rs"]
mod calls;
#[path = "fleet/chain.rs"]
mod chain;
mod common;
#[path = "fleet/crew.rs"]
mod crew;
#[path = "fleet/directory.rs"]
mod directory;
#[path = "fleet/extremes.rs"]
mod extremes;
#[path = "fleet/finding.rs"]
mod finding;
#[path = "fleet/gate.rs"]
mod gate;
#[path = "fleet/hashing.rs"]
mod hashing;
#[path = "fleet/herd.rs"]
mod herd;
#[path = "fleet/holes.rs"]
mod holes;
#[path = "fleet/many.rs"]
mod many;
#[path = "fleet/processes.rs"]
mod processes;
#[path = "fleet/restarts.rs"]
mod restarts;
#[path = "fleet/roads.rs"]
mod roads;
#[path = "fleet/streams.rs"]
mod streams;

use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
