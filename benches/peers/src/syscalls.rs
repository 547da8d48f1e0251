//! Counts system calls and instructions of a process, by `perf`.
//!
//! Why not strace? It stops the process at each of them, and a slower process writes more at once.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

const SYSCALLS: &str = "raw_syscalls:sys_enter";
const INSTRUCTIONS: &str = "instructions";
/// Time that perf needs to attach to a process; it does not tell when it has.
const ATTACHED_AFTER: Duration = Duration::from_millis(300);

pub(crate) struct Counting(Child);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) syscalls: Option<f64>,
    pub(crate) instructions: Option<f64>,
}

/// Whether perf is there and may count.
pub(crate) fn is_available() -> bool {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-e", SYSCALLS, "--", "true"]);
    perf.stdout(Stdio::null()).stderr(Stdio::null());
    perf.status().is_ok_and(|status| status.success())
}

/// Begins to count in both processes.
pub(crate) fn count(processes: [u32; 2]) -> Result<[Counting; 2]> {
    let start = |id: u32| -> Result<Counting> {
        let mut perf = Command::new("perf");
        let events = format!("{SYSCALLS},{INSTRUCTIONS}");
        perf.args(["stat", "-x", ";", "-e", &events, "-p", &id.to_string()]);
        Ok(Counting(
            perf.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?,
        ))
    };
    let [one, other] = processes;
    let both = [start(one)?, start(other)?];
    thread::sleep(ATTACHED_AFTER);
    Ok(both)
}

impl Counting {
    pub(crate) fn finish(self) -> Result<Counted> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let output = self.0.wait_with_output()?;
        let lines = String::from_utf8_lossy(&output.stderr);
        let counts = counts(&lines);
        Ok(Counted {
            syscalls: counts.get(SYSCALLS).copied(),
            instructions: counts.get(INSTRUCTIONS).copied(),
        })
    }
}

/// From lines such as `1234;;instructions;5678;100.00;;`.
fn counts(lines: &str) -> BTreeMap<&str, f64> {
    let mut counts = BTreeMap::new();
    for line in lines.lines() {
        let mut fields = line.split(';');
        let (Some(value), _, Some(event)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if let Ok(value) = value.trim().parse() {
            counts.insert(event, value);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_perf_could_not_count_is_left_out() {
        let lines =
            "1234;;raw_syscalls:sys_enter;99;100.00;;\n<not supported>;;instructions;0;;;\n";
        let counts = super::counts(lines);
        assert_eq!(counts.get("raw_syscalls:sys_enter"), Some(&1234.0));
        assert_eq!(counts.len(), 1);
    }
}
