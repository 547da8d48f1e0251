//! How long the hello world of a user takes to build.
//!
//! From clean, with optimisation, as `cargo build --release` does it: nothing is taken from another
//! build, and nothing is downloaded while the clock runs. The program has to say hello afterwards,
//! through a client, a server and TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Result;
use crate::build::{cargo, finish, target};
use crate::metric::Metric;
use crate::noise;
use crate::placement::on_cores;
use crate::run::Sample;

/// What each of them prints.
const HELLO: &str = "Hello, Ann!";

pub(crate) fn measure(package: &str, cores: [usize; 2]) -> Result<Sample> {
    finish(cargo().args(["fetch", "--quiet", "--locked"]))?;
    let folder = target()?.join("hello");
    clear(&folder)?;
    let (busy, used, begin) = (noise::busy_seconds(), children_seconds()?, Instant::now());
    on_cores(&cores, || finish(&mut build(package, &folder)))??;
    let seconds = begin.elapsed().as_secs_f64();
    let (busy, used) = (noise::busy_seconds() - busy, children_seconds()? - used);
    greet(&folder.join("release").join(package))?;
    clear(&folder)?;
    let metrics = BTreeMap::from([
        (Metric::BuildSeconds, seconds),
        (Metric::BuildCpuSeconds, used),
        (Metric::Packages, packages(package)? as f64),
    ]);
    let others = ((busy - used) / (seconds * cores.len() as f64)).max(0.0);
    Ok(Sample {
        metrics,
        others,
        slowdown: 1.0,
    })
}

fn build(package: &str, folder: &Path) -> Command {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--release", "--locked", "--offline"]);
    cargo.args(["--package", package]);
    cargo.arg("--target-dir").arg(folder);
    // Neither a cache of other builds, nor fewer jobs than there are cores.
    cargo.env_remove("RUSTC_WRAPPER");
    cargo.env_remove("CARGO_BUILD_JOBS");
    cargo
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn greet(program: &Path) -> Result<()> {
    let output = Command::new(program).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let well = output.status.success() && said.trim() == HELLO;
    well.then_some(())
        .ok_or_else(|| format!("it does not say {HELLO:?} but {said:?}").into())
}

/// What is built for it, itself left out.
fn packages(package: &str) -> Result<usize> {
    let edges = ["--edges", "normal,build", "--prefix", "none", "--offline"];
    let output = cargo()
        .args(["tree", "--locked", "--package", package])
        .args(edges)
        .output()?;
    let tree = String::from_utf8(output.stdout)?;
    // A name and a version; more about it may follow.
    let all = tree.lines().map(|line| {
        let mut words = line.split_whitespace();
        (words.next(), words.next())
    });
    let all: BTreeSet<_> = all.filter(|(name, _)| name.is_some()).collect();
    all.len()
        .checked_sub(1)
        .ok_or_else(|| "cargo knows no such package".into())
}

/// CPU time of the children that have ended, and theirs.
fn children_seconds() -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name may have anything in it but ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').ok_or("stat without a name")?;
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS_PER_SECOND)
}
