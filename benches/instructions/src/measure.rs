//! Runs both ends, one of them under callgrind.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};

use crate::Result;
use crate::breakdown::{self, Parts};
use crate::ends::Call;

/// Rounds of the two runs that are subtracted.
const ROUNDS: [u32; 2] = [100, 300];
/// The same where a round is one call.
const ROUNDS_ALONE: [u32; 2] = [1_000, 5_000];

/// Which end is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Server,
    Client,
}

/// Instructions of one call at this end.
pub(crate) fn count(end: End, in_flight: u32, call: Call) -> Result<u64> {
    let rounds = rounds(in_flight);
    let [few, many] = rounds.map(|rounds| run(end, in_flight, rounds, call));
    let calls = u64::from((rounds[1] - rounds[0]) * in_flight);
    let spent = many?.checked_sub(few?).ok_or("more calls took less")?;
    Ok(spent / calls)
}

/// How many calls, and the instructions of all of them at this end, part by part.
pub(crate) fn difference(end: End, in_flight: u32, call: Call) -> Result<(u64, Parts)> {
    let rounds = rounds(in_flight);
    let [few, many] = rounds.map(|rounds| {
        run(end, in_flight, rounds, call)?;
        breakdown::of_profile(&profile(&env::current_exe()?))
    });
    let (few, mut many) = (few?, many?);
    for (part, count) in &mut many {
        *count = count.saturating_sub(few.get(part).copied().unwrap_or(0));
    }
    let calls = u64::from((rounds[1] - rounds[0]) * in_flight);
    Ok((calls, many))
}

fn rounds(in_flight: u32) -> [u32; 2] {
    if in_flight == 1 { ROUNDS_ALONE } else { ROUNDS }
}

/// The instructions of one end.
fn run(end: End, in_flight: u32, rounds: u32, call: Call) -> Result<u64> {
    let socket = env::temp_dir().join(format!("rpc-instructions-{}.sock", id()));
    let _ = std::fs::remove_file(&socket);
    let target = format!("unix://{}", socket.display());

    let mut server = command(end == End::Server)?;
    let server = server.args(["serve", &target, call.name()]);
    let server = server.stdin(Stdio::piped());
    let mut server = server.stdout(Stdio::piped()).spawn()?;
    let mut listening = String::new();
    let stdout = server.stdout.take().ok_or("the server has no output")?;
    BufReader::new(stdout).read_line(&mut listening)?;

    let (in_flight, rounds) = (in_flight.to_string(), rounds.to_string());
    let mut client = command(end == End::Client)?;
    let client = client
        .args(["call", &target, &in_flight, &rounds, call.name()])
        .spawn()?;

    let client = finish(client)?;
    drop(server.stdin.take());
    let server = finish(server)?;
    let _ = std::fs::remove_file(&socket);
    collected(match end {
        End::Server => &server,
        End::Client => &client,
    })
}

/// This program, counted or not.
fn command(counted: bool) -> Result<Command> {
    let program = env::current_exe()?;
    if !counted {
        let mut command = Command::new(program);
        command.stderr(Stdio::piped());
        return Ok(command);
    }
    let mut command = Command::new("valgrind");
    command
        .args([
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
            &format!("--callgrind-out-file={}", profile(&program).display()),
        ])
        .arg(program)
        .stderr(Stdio::piped());
    Ok(command)
}

/// Where callgrind leaves the profile of the last run, for whoever wants to know more.
fn profile(program: &Path) -> PathBuf {
    program.with_extension("callgrind")
}

/// What a child said, if it ended well.
fn finish(mut child: Child) -> Result<String> {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{status}: {said}").into());
    }
    Ok(said)
}

/// The figure behind `Collected :` in what callgrind says.
fn collected(said: &str) -> Result<u64> {
    let figure = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, figure) = figure.ok_or_else(|| format!("callgrind did not count: {said}"))?;
    Ok(figure.trim().parse()?)
}
