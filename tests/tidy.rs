//! Rules about the source that no compiler holds. Each finding says what is wrong, where, and what
//! to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What a module of the runtime may import, beside itself and `rpc-core`: lower never imports
/// higher, and client and server never import each other.
const IMPORTS: [(&str, &[&str]); 21] = [
    ("boxed", &[]),
    ("clock", &[]),
    ("contain", &["log"]),
    ("error", &[]),
    ("invoke", &["stream", "boxed"]),
    ("log", &[]),
    ("watch", &[]),
    ("transport", &["error", "boxed"]),
    (
        "connection",
        &["transport", "stream", "clock", "contain", "log"],
    ),
    (
        "discovery",
        &[
            "resilience",
            "transport",
            "error",
            "clock",
            "contain",
            "boxed",
            "log",
        ],
    ),
    ("balance", &[]),
    ("resilience", &[]),
    ("context", &["transport", "clock"]),
    ("many", &["context"]),
    ("stream", &["context", "contain", "log"]),
    (
        "middleware",
        &["context", "transport", "error", "clock", "contain", "log"],
    ),
    (
        "dispatch",
        &[
            "middleware",
            "context",
            "stream",
            "invoke",
            "error",
            "clock",
            "contain",
            "boxed",
            "__private",
            "log",
        ],
    ),
    (
        "client",
        &[
            "connection",
            "discovery",
            "balance",
            "resilience",
            "middleware",
            "context",
            "stream",
            "invoke",
            "transport",
            "error",
            "clock",
            "boxed",
            "contain",
            "watch",
            "log",
        ],
    ),
    (
        "server",
        &[
            "connection",
            "dispatch",
            "discovery",
            "registry",
            "middleware",
            "context",
            "stream",
            "transport",
            "error",
            "clock",
            "boxed",
            "contain",
            "__private",
            "log",
        ],
    ),
    (
        "connect",
        &[
            "client",
            "registry",
            "discovery",
            "transport",
            "error",
            "boxed",
        ],
    ),
    (
        "registry",
        &[
            "discovery",
            "context",
            "stream",
            "resilience",
            "error",
            "clock",
            "boxed",
            "contain",
            "watch",
            "log",
        ],
    ),
];

const LINES_MAX: usize = 450;
const EXAMPLE_LINES_MAX: usize = 80;
const QUICKSTART_LINES_MAX: usize = 40;

/// A file of this repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The lines of code and their numbers: no comments, no unit tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        let lines = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        lines
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
            .filter(|(_, line)| !line.trim().is_empty())
    }

    /// What tests are written in: the whole of a file under `tests`, the end of one under `src`.
    fn tests(&self) -> &str {
        if self.path.starts_with("tests/") || self.path.contains("/tests/") {
            return &self.text;
        }
        let start = self.text.find("#[cfg(test)]");
        start.map_or("", |start| &self.text[start..])
    }

    fn finding(&self, line: usize, what: impl fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, sorted.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(source(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no Rust files in {folder}");
    found
}

fn source(path: &Path) -> Source {
    let relative: PathBuf = path.strip_prefix(root()).unwrap().to_owned();
    Source {
        path: relative.to_str().unwrap().replace('\\', "/"),
        text: fs::read_to_string(path).unwrap(),
    }
}

fn all_crates() -> Vec<Source> {
    let folders = ["src", "rpc-core/src", "rpc-runtime/src", "rpc-macros/src"];
    folders.into_iter().flat_map(sources).collect()
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first name of each path behind a `crate::`, also in braces.
fn names_behind_crate(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        // `#krate::` and `$crate::` are not paths of this crate.
        if code[..at].ends_with(|c: char| is_word(c) || c == '#') {
            continue;
        }
        let rest = &code[at + found.len()..];
        let mut depth = 0_usize;
        let mut expected = true;
        for (start, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 1 => expected = true,
                c if is_word(c) && expected => {
                    let name = &rest[start..];
                    names.push(&name[..name.find(|c| !is_word(c)).unwrap_or(name.len())]);
                    expected = false;
                }
                _ => {}
            }
            if depth == 0 && !expected {
                break;
            }
        }
    }
    names
}

/// The module that each name re-exported by `lib.rs` comes from.
fn reexports(lib: &str) -> BTreeMap<&str, &str> {
    let mut modules = BTreeMap::new();
    for statement in lib.split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else {
            continue;
        };
        let Some((module, names)) = path.split_once("::") else {
            continue;
        };
        for name in names.split(|c| !is_word(c)).filter(|name| !name.is_empty()) {
            modules.insert(name, module);
        }
    }
    modules
}

fn import_findings(source: &Source, reexports: &BTreeMap<&str, &str>) -> Vec<String> {
    let inside = source.path.strip_prefix("rpc-runtime/src/").unwrap();
    let module = inside.split(['/', '.']).next().unwrap();
    if matches!(module, "lib" | "__private") {
        return Vec::new();
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        let what = format!("module `{module}` has no import rule; add it to IMPORTS");
        return vec![source.finding(1, what)];
    };
    // An import may go over several lines.
    let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
    let names = names_behind_crate(&code).into_iter();
    let modules = names.map(|name| reexports.get(name).copied().unwrap_or(name));
    modules
        .filter(|target| *target != module && !allowed.contains(target))
        .map(|target| {
            let line = source.code().find(|(_, line)| line.contains(target));
            let what = format!(
                "`{module}` must not import `{target}`, only {allowed:?}; move what is shared down, \
                 or hand it in as an argument"
            );
            source.finding(line.map_or(1, |(number, _)| number), what)
        })
        .collect()
}

#[test]
fn lower_modules_never_import_higher_ones() {
    let lib = source(&root().join("rpc-runtime/src/lib.rs"));
    let reexports = reexports(&lib.text);
    let sources = sources("rpc-runtime/src");
    let findings = sources.iter().flat_map(|s| import_findings(s, &reexports));
    assert_none(&findings.collect::<Vec<_>>());
}

fn clock_findings(source: &Source) -> Vec<String> {
    if source.path == "rpc-runtime/src/clock.rs" {
        return Vec::new();
    }
    let asks = |line: &str| line.contains("Instant::now") || line.contains("SystemTime::now");
    let what =
        "asks what time it is; take `now` as an argument, or ask `crate::clock` in the runtime";
    let lines = source.code().filter(|(_, line)| asks(line));
    lines.map(|(line, _)| source.finding(line, what)).collect()
}

#[test]
fn only_the_clock_module_asks_what_time_it_is() {
    assert_none(
        &all_crates()
            .iter()
            .flat_map(clock_findings)
            .collect::<Vec<_>>(),
    );
}

fn expansion_findings(source: &Source) -> Vec<String> {
    let foreign = |line: &str| {
        let outside = line
            .match_indices("#krate")
            .any(|(at, name)| !line[at + name.len()..].starts_with("::__private"));
        let crates = ["::rpc::", "rpc_core", "rpc_runtime", "::tokio", "::serde::"];
        outside || crates.iter().any(|name| line.contains(name))
    };
    let what = "generated code names more than `__private`; re-export there what it needs";
    let lines = source.code().filter(|(_, line)| foreign(line));
    lines.map(|(line, _)| source.finding(line, what)).collect()
}

#[test]
fn generated_code_names_only_private() {
    let sources = sources("rpc-macros/src").into_iter();
    let expand: Vec<_> = sources
        .filter(|source| source.path.starts_with("rpc-macros/src/expand"))
        .collect();
    assert!(expand.len() > 3, "the code that writes code has moved");
    assert_none(
        &expand
            .iter()
            .flat_map(expansion_findings)
            .collect::<Vec<_>>(),
    );
}

/// Requirement ids, `[part.name]`, in a text.
fn ids(text: &str) -> BTreeSet<&str> {
    let inside = text.split('[').skip(1).filter_map(|rest| {
        let (id, _) = rest.split_once(']')?;
        Some(id)
    });
    let parts = |id: &str| {
        let (part, name) = id.split_once('.')?;
        let lower = |c: char| c.is_ascii_lowercase() || c == '-';
        let both = [part, name]
            .iter()
            .all(|t| !t.is_empty() && t.chars().all(lower));
        both.then_some(())
    };
    inside.filter(|id| parts(id).is_some()).collect()
}

/// The ids that the protocol defines: at the start of an item.
fn defined_ids(protocol: &str) -> BTreeSet<&str> {
    let items = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("- `["));
    items.filter_map(|item| item.split(']').next()).collect()
}

fn protocol_findings(protocol: &str, sources: &[Source]) -> Vec<String> {
    let defined = defined_ids(protocol);
    let tested: BTreeSet<_> = sources.iter().flat_map(|s| ids(s.tests())).collect();
    let untested = defined.difference(&tested).map(|id| {
        format!("docs/protocol.md: no test cites `[{id}]`; write one, with the id in a comment")
    });
    let unknown = sources.iter().flat_map(|source| {
        let comments = source.text.lines().enumerate().flat_map(|(index, line)| {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            ids(comment).into_iter().map(move |id| (index + 1, id))
        });
        comments
            .filter(|(_, id)| !defined.contains(id))
            .map(|(line, id)| {
                let what = format!("`[{id}]` is not in docs/protocol.md; correct it, or define it");
                source.finding(line, what)
            })
            .collect::<Vec<_>>()
    });
    untested.chain(unknown).collect()
}

#[test]
fn every_rule_of_the_protocol_has_a_test() {
    let protocol = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let mut sources = all_crates();
    sources.extend(
        ["tests", "rpc-core/tests"]
            .into_iter()
            .flat_map(self::sources),
    );
    // This file shows how an id looks.
    sources.retain(|source| source.path != "tests/tidy.rs");
    assert!(
        defined_ids(&protocol).len() > 20,
        "the form of the items has changed"
    );
    assert_none(&protocol_findings(&protocol, &sources));
}

fn length_findings(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines are more than {LINES_MAX}; one idea a file: split it");
    vec![source.finding(lines, what)]
}

/// The packages of the benchmark against peers, which are no part of the workspace.
fn peers() -> Vec<Source> {
    let mut folders = vec!["benches/peers/src".to_owned()];
    for entry in fs::read_dir(root().join("benches/peers")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = format!("benches/peers/{name}/src");
        if root().join(&folder).is_dir() {
            folders.push(folder);
        }
    }
    assert!(folders.len() > 3, "the peers have moved");
    folders.iter().flat_map(|folder| sources(folder)).collect()
}

#[test]
fn files_are_short() {
    assert_none(
        &all_crates()
            .iter()
            .chain(&peers())
            .flat_map(length_findings)
            .collect::<Vec<_>>(),
    );
}

fn example_findings(source: &Source) -> Vec<String> {
    let max = match &*source.path {
        "examples/quickstart.rs" => QUICKSTART_LINES_MAX,
        _ => EXAMPLE_LINES_MAX,
    };
    let lines = source.text.lines().count();
    let what = format!("{lines} lines are more than {max}; an example fits a screen: show less");
    (lines > max)
        .then(|| source.finding(lines, what))
        .into_iter()
        .collect()
}

#[test]
fn examples_fit_a_screen() {
    assert_none(
        &sources("examples")
            .iter()
            .flat_map(example_findings)
            .collect::<Vec<_>>(),
    );
}

fn facade_findings(source: &Source) -> Vec<String> {
    let logic = [
        "fn",
        "struct",
        "enum",
        "trait",
        "impl",
        "static",
        "const",
        "macro_rules",
    ];
    // Features have names too.
    let holds = |line: &str| {
        !line.starts_with("#[cfg(feature")
            && line
                .split(|c| !is_word(c))
                .any(|word| logic.contains(&word))
    };
    let what = "the facade holds docs and re-exports only; move this to the crate it belongs to";
    let lines = source.code().filter(|(_, line)| holds(line));
    lines.map(|(line, _)| source.finding(line, what)).collect()
}

#[test]
fn the_facade_holds_no_logic() {
    assert_none(
        &sources("src")
            .iter()
            .flat_map(facade_findings)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_rules_find_what_they_forbid() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let reexports = reexports("mod a;\npub use server::{Server, ServerBuilder};\n");
    let imports = |text| import_findings(&source("rpc-runtime/src/client/a.rs", text), &reexports);
    for text in [
        "use crate::server::Server;",
        "use crate::{error::{Error, Kind}, server};",
        "use crate::{\n    error::Error,\n    dispatch::Router,\n};",
        "fn a() { crate::Server::builder() }",
    ] {
        assert_eq!(imports(text).len(), 1, "{text}: {:?}", imports(text));
    }
    for text in [
        "use crate::{error::{Error, Kind}, clock};",
        "// crate::server",
        "#[cfg(test)]\nuse crate::server;",
    ] {
        assert_none(&imports(text));
    }
    assert_eq!(
        import_findings(&source("rpc-runtime/src/new.rs", ""), &reexports).len(),
        1
    );
    let asks = "let a = Instant::now();\n// Instant::now()\nlet b = std::time::SystemTime::now();";
    assert_eq!(clock_findings(&source("rpc-core/src/a.rs", asks)).len(), 2);
    let writes = "quote!(#krate::__private::A)\nquote!(#krate::A)\nquote!(::rpc::A)";
    assert_eq!(
        expansion_findings(&source("rpc-macros/src/expand.rs", writes)).len(),
        2
    );
    let cites = source("tests/a.rs", "// [a.one] [a.three]");
    assert_eq!(
        protocol_findings("- `[a.one]` x\n- `[a.two]` y", &[cites]).len(),
        2
    );
    let long = "\n".repeat(LINES_MAX + 1);
    assert_eq!(length_findings(&source("src/a.rs", &long)).len(), 1);
    assert_eq!(
        example_findings(&source("examples/quickstart.rs", &"\n".repeat(41))).len(),
        1
    );
    assert_eq!(
        facade_findings(&source("src/lib.rs", "pub use a::b;\npub fn c() {}")).len(),
        1
    );
}
