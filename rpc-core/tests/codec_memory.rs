//! What hostile bodies cost in memory and time.
//!
//! Why a process for each case? The high-water mark belongs to the process, and what one case frees
//! the allocator may keep for the next.
#![cfg(target_os = "linux")]

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::{Duration, Instant};

use rpc_core::codec::{Codec, DecodeLimits};
use serde::de::DeserializeOwned;

const PEAK_MAX: usize = 40 << 20;
/// What a length may cost that no bytes follow.
const BOMB_PEAK_MAX: usize = 1 << 20;
const BODY_MAX: usize = 4 << 20;
/// The aim is 10 ms; an unoptimized build takes ten times longer, a busy machine a few times.
const TIME_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });

type Large = Option<[[u64; 25]; 4]>;

macro_rules! cases {
    ($($name:ident: $type:ty = $body:expr, $peak:expr;)*) => {
        #[test]
        fn t2_hostile_bodies_stay_below_40_mib_and_fail_fast() {
            for case in [$(stringify!($name)),*] {
                let this = std::env::current_exe().unwrap();
                let arguments = ["--ignored", "--exact", "--nocapture", case];
                let output = Command::new(this).args(arguments).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(text.contains("1 passed"), "{case}: {text}\n{output:?}");
                print!("{}", text.lines().find(|line| line.contains("KiB")).unwrap_or(case));
                println!(" {case}");
            }
        }
        $(
            #[test]
            #[ignore = "run by the test above, in a process of its own"]
            fn $name() {
                refused::<$type>(&$body, $peak);
            }
        )*
    };
}

cases! {
    bomb_string: String = bomb(), BOMB_PEAK_MAX;
    bomb_bytes: Vec<u8> = bomb(), BOMB_PEAK_MAX;
    bomb_numbers: Vec<u64> = bomb(), BOMB_PEAK_MAX;
    bomb_units: Vec<()> = bomb(), BOMB_PEAK_MAX;
    bomb_large: Vec<Large> = bomb(), BOMB_PEAK_MAX;
    bomb_map: HashMap<u64, Large> = bomb(), BOMB_PEAK_MAX;
    bomb_set: HashSet<String> = bomb(), BOMB_PEAK_MAX;
    units: Vec<()> = filled(BODY_MAX, 0), PEAK_MAX;
    large: Vec<Large> = filled(BODY_MAX - 8, 0), PEAK_MAX;
    same_large: HashSet<Large> = filled(BODY_MAX - 8, 0), PEAK_MAX;
    empty_strings: Vec<String> = filled(BODY_MAX - 8, 0), PEAK_MAX;
    short_strings: Vec<String> = filled(BODY_MAX / 2 - 8, 1), PEAK_MAX;
    short_vectors: Vec<Vec<u8>> = filled(BODY_MAX / 2 - 8, 1), PEAK_MAX;
    large_entries: HashMap<u64, Large> = distinct_keys(), PEAK_MAX;
}

/// A length of 1 Mi, and nothing.
fn bomb() -> Vec<u8> {
    let mut body = Vec::new();
    Codec::Bincode.encode(&(1_u64 << 20), &mut body).unwrap();
    body
}

/// A length, and 4 MiB of the same byte.
fn filled(length: usize, byte: u8) -> Vec<u8> {
    let mut body = Vec::new();
    Codec::Bincode.encode(&length, &mut body).unwrap();
    body.resize(BODY_MAX, byte);
    body
}

/// Entries of a few bytes, each with another key and a value of one byte that is large in memory.
fn distinct_keys() -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY_MAX);
    let count = 200_000_u64;
    Codec::Bincode.encode(&count, &mut body).unwrap();
    for key in 0..count {
        let entry = (key, None::<u8>);
        Codec::Bincode.encode(&entry, &mut body).unwrap();
    }
    body
}

/// Decodes `body` in vain, within the time and the memory.
#[expect(clippy::disallowed_methods, reason = "the time is what is measured")]
fn refused<T: DeserializeOwned + 'static>(body: &[u8], peak_max: usize) {
    let before = status("VmRSS:");
    let start = Instant::now();
    let result = Codec::Bincode.decode::<T>(body, &DecodeLimits::default());
    let took = start.elapsed();
    let peak = status("VmHWM:").saturating_sub(before);
    println!("{took:>10.1?} {:>6} KiB", peak >> 10);
    assert!(result.is_err());
    assert!(took <= TIME_MAX);
    assert!(peak <= peak_max);
}

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}
