//! What it ran on.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::Result;
use crate::build::{Built, folder};
use crate::peers::Program;
use crate::placement;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) go: Option<String>,
    /// The commit of this project, with `+` if files are changed.
    pub(crate) commit: String,
    /// Name of a peer, and its versions.
    pub(crate) versions: Vec<(String, String)>,
    /// Those that everything is measured on.
    pub(crate) used_cores: [usize; 2],
}

impl Machine {
    pub(crate) fn look(peers: &[Built]) -> Result<Self> {
        let cores = placement::cores()?;
        let [first, second, ..] = *cores else {
            return Err("a machine with two cores at least is needed".into());
        };
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let changed =
            said("git", &["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
        let commit = said("git", &["rev-parse", "--short", "HEAD"]);
        Ok(Self {
            processor: model.unwrap_or_else(|| "unknown processor".to_owned()),
            cores: cores.len(),
            kernel: said("uname", &["-sr"]).unwrap_or_default(),
            rustc: said("rustc", &["--version"]).unwrap_or_default(),
            go: said("go", &["version"]),
            commit: commit.unwrap_or_default() + if changed { "+" } else { "" },
            versions: peers
                .iter()
                .map(|built| (built.peer.name.to_owned(), versions(built)))
                .collect(),
            used_cores: [first, second],
        })
    }

    pub(crate) fn describe(&self) -> Vec<String> {
        let [first, second] = self.used_cores;
        let mut lines = vec![
            format!(
                "{}, {} cores (measured on {first} and {second})",
                self.processor, self.cores
            ),
            format!(
                "{}, {}, this project at {}",
                self.kernel, self.rustc, self.commit
            ),
        ];
        lines.extend(self.go.clone());
        let versions = self
            .versions
            .iter()
            .filter(|(_, versions)| !versions.is_empty());
        let versions: Vec<_> = versions
            .map(|(name, all)| format!("{name} ({all})"))
            .collect();
        lines.push(versions.join(", "));
        lines
    }
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// As the lock file of either language has them.
fn versions(built: &Built) -> String {
    let (file, version): (_, fn(&str, &str) -> Option<String>) = match built.peer.program {
        Program::Rust { .. } => ("Cargo.lock", cargo_version),
        Program::Go { .. } => ("go/go.mod", go_version),
    };
    let text = fs::read_to_string(folder().join(file)).unwrap_or_default();
    let packages = built.peer.packages.iter().filter_map(|package| {
        let version = version(&text, package)?;
        Some(format!("{package} {version}"))
    });
    packages.collect::<Vec<_>>().join(", ")
}

fn cargo_version(lock: &str, package: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(rest.split('"').next()?.to_owned())
}

fn go_version(module: &str, package: &str) -> Option<String> {
    let (_, rest) = module.split_once(&format!("\t{package} "))?;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{cargo_version, go_version};

    #[test]
    fn versions_are_found_in_both_kinds_of_files() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"2.0.0\"\n\
                    [[package]]\nname = \"a\"\nversion = \"1.2.3\"\n";
        assert_eq!(cargo_version(lock, "a").as_deref(), Some("1.2.3"));
        let module = "require (\n\tx.org/a/b v2.0.0\n\tx.org/a v1.2.3 // indirect\n)\n";
        assert_eq!(go_version(module, "x.org/a").as_deref(), Some("v1.2.3"));
    }
}
