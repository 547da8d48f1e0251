//! What the benchmarks of the parts share.
//!
//! `cargo bench --manifest-path benches/parts/Cargo.toml` times all parts, in a minute, and tells
//! what changed since the last time; `-- decode` times those that have it in their names, and
//! `-- --test` runs each once. There is a file for each part: bytes to frames and back (`frames`),
//! values to bytes and back (`codec`), what the two state machines add (`connection`), and from a
//! request to its handler (`dispatch`). A regression that the count of instructions or the
//! comparison with the peers shows is found here at its place.

pub mod pair;
#[path = "../../peers/harness/src/record.rs"]
pub mod record;

use std::time::Duration;

use criterion::Criterion;

/// Small payloads have so many bytes, as in the comparison with the peers.
pub const SMALL: usize = 32;
/// Calls that are made, or frames that are there, at once.
pub const BATCH: usize = 64;

/// The settings of all benchmarks.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}
