//! What the documents say about files is true.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_readme_shows_the_quickstart_as_it_is() {
    let quickstart = read("examples/quickstart.rs");
    let code = quickstart.find("#[rpc::service]").unwrap();
    let shown = format!("```rust\n{}```\n", &quickstart[code..]);
    assert!(read("README.md").contains(&shown), "copy it over");
}

/// S0-18: the tables of features name files that are there.
#[test]
fn s0_18_every_file_that_a_document_names_is_there() {
    let folders = [
        "rpc-",
        "src/",
        "tests/",
        "examples/",
        "benches/",
        "docs/",
        ".ci/",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/performance.md",
    ] {
        // Every second piece stands between backticks.
        for name in read(document).split('`').skip(1).step_by(2) {
            let is_path = name.contains('/') && !name.contains([' ', '*', '<', '\n']);
            if is_path && folders.iter().any(|folder| name.starts_with(folder)) {
                assert!(root.join(name).exists(), "{document}: no {name}");
                named += 1;
            }
        }
    }
    assert!(named >= 50, "only {named} files are named");
}

/// The figures of the README are those of the last run: the first of the two placements.
#[test]
fn the_readme_has_the_figures_that_were_measured() {
    let measured = read("docs/performance.md");
    let on_one_core = measured.split("\n### ").nth(2).unwrap();
    let cells = |row: &str| -> Vec<String> {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    let figure = |workload: &str, peer: &str| {
        let heading = format!("\n#### `{workload}`:");
        let table = on_one_core.split(&heading).nth(1).unwrap();
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| {peer} |")));
        let cell = cells(row.unwrap_or_else(|| panic!("{peer} in {workload}"))).swap_remove(1);
        cell.split(' ').next().unwrap().to_owned()
    };

    let readme = read("README.md");
    let speed = readme
        .split("\n## ")
        .find(|section| section.starts_with("Speed\n"));
    let speed = speed.unwrap();
    let mut rows = speed.lines().filter(|line| line.starts_with('|'));
    let workloads = cells(rows.next().unwrap());
    let mut peers = 0;
    for row in rows
        .skip(1)
        .map(cells)
        .take_while(|row| row[0] != "feature")
    {
        for (workload, shown) in workloads.iter().zip(&row).skip(1) {
            assert_eq!(
                *shown,
                figure(workload, &row[0]),
                "{} in `{workload}`",
                row[0]
            );
        }
        peers += 1;
    }
    assert_eq!((workloads.len(), peers), (6, 10));
}

#[test]
fn an_example_fits_a_screen_and_says_how_to_run_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines_max = if name == "quickstart" { 40 } else { 80 };
        let lines = text.lines().count();
        assert!(lines <= lines_max, "{name} has {lines} lines");
        let command = format!("`cargo run --example {name}`");
        assert!(
            text.starts_with("//! ") && text.contains(&command),
            "{name}"
        );
        assert!(read("README.md").contains(name), "the README lists {name}");
    }
}
