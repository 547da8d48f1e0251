//! Builds the peers, each by itself: one that does not build stops no other.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::peers::{Peer, Program};

/// How a built peer is started.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) peer: Peer,
    pub(crate) executable: PathBuf,
    /// Before `serve` or `load`.
    pub(crate) arguments: Vec<String>,
}

pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds it with optimisation, beside this program.
pub(crate) fn build(peer: Peer) -> Result<Built> {
    let target = target()?;
    let release = target.join("release");
    match peer.program {
        Program::Rust { package, binary } => {
            let mut cargo = cargo();
            cargo.args(["build", "--quiet", "--release"]);
            cargo.args(["--package", package, "--bin", binary]);
            finish(cargo.arg("--target-dir").arg(&target))?;
            Ok(Built {
                peer,
                executable: release.join(binary),
                arguments: Vec::new(),
            })
        }
        Program::Go { package } => {
            let executable = release.join(format!("peer-{package}"));
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(&executable);
            go.arg(format!("./{package}"));
            finish(go.current_dir(folder().join("go")))?;
            Ok(Built {
                peer,
                executable,
                arguments: vec![peer.name.to_owned()],
            })
        }
    }
}

/// In the folder of the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(folder());
    cargo
}

/// The folder that has `release/peers` in it, wherever the caller wanted it.
pub(crate) fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target
        .ok_or("this program is in no target folder")?
        .to_owned())
}

pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| "it does not build".into())
}
