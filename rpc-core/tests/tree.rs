//! The core is sans-io because nothing that could do I/O is in its tree.

use std::process::Command;

/// Async runtimes, and what they do I/O with.
const BANNED: [&str; 10] = [
    "tokio",
    "async-std",
    "smol",
    "async-io",
    "async-executor",
    "futures-executor",
    "mio",
    "socket2",
    "polling",
    "getrandom",
];

#[test]
fn the_normal_tree_has_no_runtime_and_no_sockets() {
    let listed = Command::new(env!("CARGO"))
        .args(["tree", "-p", "rpc-core", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success(), "{errors}");
    let tree = String::from_utf8(listed.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(
        crates.contains(&"rpc-core") && crates.contains(&"bytes"),
        "{tree}"
    );
    for name in &crates {
        assert!(
            !BANNED.contains(name) && !name.starts_with("tokio-"),
            "{name} in {tree}"
        );
    }
}
