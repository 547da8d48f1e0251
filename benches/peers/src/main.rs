//! Measures this project side by side with its peers: `--help` says how, `README.md` what and why.

mod arguments;
mod awake;
mod build;
mod goals;
mod hello;
mod machine;
mod metric;
mod neighbours;
mod noise;
mod peers;
mod placement;
mod plan;
mod process;
mod realtime;
mod report;
mod results;
mod run;
mod syscalls;
mod workloads;

use std::process::ExitCode;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The machine was too noisy to say anything.
const INCONCLUSIVE: u8 = 2;

fn main() -> ExitCode {
    let plan = match arguments::parse(std::env::args().skip(1)) {
        Ok(Some(plan)) => plan,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match plan.carry_out() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INCONCLUSIVE),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
