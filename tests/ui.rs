//! What `#[service]` accepts and what it refuses, as rustc shows it.

use std::fs;
use std::path::Path;

/// S1-5: nothing is skipped in silence. S0-19: a name stands on the wire once.
#[test]
fn s1_5_s0_19_every_refusal_is_a_clear_error() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/refused/*.rs");
}

#[test]
fn s1_5_an_error_is_short_and_points_at_the_users_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/refused");
    let mut errors = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "stderr")
        {
            continue;
        }
        let case = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for error in text.split("\n\n").filter(|error| !error.trim().is_empty()) {
            let lines = error.trim().lines().count();
            assert!(lines < 15, "{case}: an error of {lines} lines:\n{error}");
            assert!(
                error.contains(&format!("--> tests/ui/refused/{case}.rs:")),
                "{case}: an error that points elsewhere:\n{error}"
            );
            assert!(
                !error.contains("in this attribute macro expansion"),
                "{case}: an error in generated code:\n{error}"
            );
            errors += 1;
        }
    }
    assert!(errors >= 70, "only {errors} errors: are the files there?");
}
