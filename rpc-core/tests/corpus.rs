//! Every file of the fuzz corpus through its target, without a fuzzer; `fuzz/README.md` says more.
//!
//! The ignored test writes the seeds anew, from the conversations in [`seeds`].

#[path = "corpus/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own elsewhere")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("decoder", targets::decoder),
    ("server", targets::server),
    ("client", targets::client),
    ("bincode", targets::bincode),
    ("json", targets::json),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// The files of a target, in order of their names.
fn files(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(target)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn t16_every_file_of_the_corpus_passes() {
    for (name, target) in TARGETS {
        let files = files(name);
        assert!(files.len() >= 10, "{name}: {}", files.len());
        for path in files {
            println!("{name}: {:?}", path.file_name());
            target(&fs::read(&path).unwrap());
        }
    }
}

#[test]
#[ignore = "writes files: run it when a conversation has changed"]
fn write_the_seeds() {
    seeds::write(&corpus());
}

/// A short fuzz without a fuzzer: the seeds, damaged.
#[test]
fn t16_damaged_seeds_pass() {
    let mut state = 1_u64;
    let mut number = move |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % end.max(1)
    };
    for (name, target) in TARGETS {
        for path in files(name) {
            let seed = fs::read(&path).unwrap();
            for _ in 0..200 {
                let mut data = seed.clone();
                for _ in 0..1 + number(4) {
                    let at = number(data.len());
                    match number(4) {
                        0 => data.truncate(at),
                        1 => data.insert(at.min(data.len()), number(256) as u8),
                        _ => {
                            if let Some(byte) = data.get_mut(at) {
                                *byte = number(256) as u8;
                            }
                        }
                    }
                }
                target(&data);
            }
        }
    }
}
