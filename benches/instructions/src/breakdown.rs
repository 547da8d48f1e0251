//! Where the instructions of a call go, part by part.
//!
//! `cargo run --release --manifest-path benches/instructions/Cargo.toml -- where` prints it for
//! either end. A line that was inlined counts for the file it stands in; lines of the standard
//! library count for the function they were inlined into, as nobody asks what `Option` costs.

use std::collections::BTreeMap;
use std::fs;

use crate::Result;
use crate::ends::Call;
use crate::measure::{End, difference};

/// The first whose text is in the name of the file, or of the function if there is no file.
const PARTS: &[(&str, &str)] = &[
    (
        "rpc-core/src/wire",
        "frames: header, decoder, outgoing buffer",
    ),
    ("rpc-core/src/codec", "codec, with limits"),
    (
        "rpc-core/src",
        "state machine: ids, slots, limits, deadlines, liveness",
    ),
    (
        "rpc-runtime/src/connection",
        "driver: reads, writes, who writes when",
    ),
    (
        "rpc-runtime/src/transport",
        "driver: reads, writes, who writes when",
    ),
    ("rpc-runtime/src/dispatch/stats", "counters"),
    (
        "rpc-runtime/src/dispatch",
        "dispatch: method, admission, decoding, handler, answer",
    ),
    ("rpc-runtime/src/server", "server's half of a connection"),
    (
        "rpc-runtime/src/client",
        "client: options, attempt, slot of the answer",
    ),
    (
        "rpc-runtime/src/__private",
        "client: options, attempt, slot of the answer",
    ),
    (
        "rpc-runtime/src/context",
        "context: deadline, trace, metadata at hand",
    ),
    ("rpc-runtime/src/contain", "containment of panics"),
    ("rpc-runtime/src", "the rest of rpc-runtime"),
    (
        "instructions/src",
        "what the macro wrote, the handler, the callers",
    ),
    ("/tokio-", "Tokio"),
    ("/mio-", "Tokio"),
    ("/bincode-", "bincode, serde, bytes"),
    ("/serde", "bincode, serde, bytes"),
    ("/bytes-", "bincode, serde, bytes"),
    ("/library/", STANDARD),
    ("malloc", "allocator"),
    ("free", "allocator"),
    ("realloc", "allocator"),
    ("calloc", "allocator"),
    ("mem", "copying, filling and comparing memory"),
];
const STANDARD: &str = "the standard library";
const REST: &str = "the rest: C library, entry to the kernel";

/// Instructions by part.
pub(crate) type Parts = BTreeMap<&'static str, u64>;

/// Both ends with 64 calls in flight, most first.
pub(crate) fn print() -> Result<()> {
    for end in [End::Server, End::Client] {
        let (calls, parts) = difference(end, 64, Call::Echo)?;
        let all: u64 = parts.values().sum();
        let each = |count: u64| count as f64 / calls as f64;
        println!(
            "{end:?}, 64 in flight: {:.0} instructions a call",
            each(all)
        );
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (part, count) in parts {
            let share = 100.0 * count as f64 / all as f64;
            println!("{:>6.0}  {share:>4.1} %  {part}", each(count));
        }
    }
    Ok(())
}

/// Adds up a profile of callgrind, written without compression.
pub(crate) fn of_profile(path: &std::path::Path) -> Result<Parts> {
    Ok(add_up(&fs::read_to_string(path)?))
}

fn add_up(profile: &str) -> Parts {
    let mut parts = Parts::new();
    // Of the function, and of the line.
    let (mut home, mut here) = (REST, REST);
    let mut file = "";
    let mut is_call = false;
    for line in profile.lines() {
        if let Some(path) = line.strip_prefix("fl=") {
            file = path;
        } else if let Some(name) = line.strip_prefix("fn=") {
            home = part(file).or_else(|| part(name)).unwrap_or(REST);
            here = home;
        } else if let Some(path) = line.strip_prefix("fi=").or(line.strip_prefix("fe=")) {
            here = part(path).filter(|&part| part != STANDARD).unwrap_or(home);
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            // What a call cost is told again where the called function is.
            if !std::mem::take(&mut is_call) {
                let cost = line
                    .split(' ')
                    .nth(1)
                    .and_then(|cost| cost.parse::<u64>().ok());
                *parts.entry(here).or_default() += cost.unwrap_or(0);
            }
        }
    }
    parts
}

fn part(name: &str) -> Option<&'static str> {
    let found = PARTS.iter().find(|(text, _)| name.contains(text));
    found.map(|(_, part)| *part)
}

#[cfg(test)]
mod tests {
    use super::{STANDARD, add_up};

    #[test]
    fn lines_count_where_they_stand_and_calls_where_they_went() {
        let profile = "fl=/a/rpc-core/src/wire/header.rs\nfn=parse\n10 7\n\
                       fi=/rustc/1/library/core/option.rs\n20 5\n\
                       fi=/a/rpc-core/src/codec.rs\n30 3\n\
                       cfn=malloc\ncalls=2 0\n30 1000\n\
                       fl=/rustc/1/library/std/mutex.rs\nfn=lock\n1 2\n\
                       fl=???\nfn=_int_malloc\n0 11\n";
        let parts = add_up(profile);
        let of = |text: &str| {
            let found = parts.iter().find(|(part, _)| part.starts_with(text));
            found.map(|(_, count)| *count)
        };
        assert_eq!(of("frames"), Some(12));
        assert_eq!((of("codec"), of(STANDARD)), (Some(3), Some(2)));
        assert_eq!(of("allocator"), Some(11));
        assert_eq!(parts.values().sum::<u64>(), 28);
    }
}
