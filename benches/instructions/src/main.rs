//! How many instructions a call takes, at either end, against a budget.
//!
//! `cargo run --release --manifest-path benches/instructions/Cargo.toml` takes half a minute and
//! needs valgrind. It fails if a figure is over its budget, which is a little above what was
//! measured when it was last changed; a change that saves much lowers the budget with it.
//!
//! Why instructions and not time? They are the same however busy the machine is, so that a few per
//! cent more are seen. Each end is a process with one thread, and one of the two runs under
//! callgrind. The calls go in lockstep: all requests of a round are in one read, and so are all
//! answers. Two runs of different length are subtracted, so that what is left belongs to the calls.
//! What the kernel does is not counted, nor is asking for the time, which valgrind makes a system
//! call. A machine that is busy may tear a round apart, which adds to it and never takes from it: a
//! figure over its budget is counted twice more, and the least of the three is told.

mod ends;
mod measure;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use measure::End;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Budget {
    end: End,
    in_flight: u32,
    /// Instructions for each call.
    max: u64,
}

/// How often a figure may be counted.
const ATTEMPTS: u32 = 3;

const BUDGETS: [Budget; 4] = [
    Budget::new(End::Server, 64, 2_080),
    Budget::new(End::Client, 64, 3_070),
    Budget::new(End::Server, 1, 6_000),
    Budget::new(End::Client, 1, 7_000),
];

impl Budget {
    const fn new(end: End, in_flight: u32, max: u64) -> Self {
        Self {
            end,
            in_flight,
            max,
        }
    }
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => check(),
        ["serve", target] => ends::serve(target).map(|()| ExitCode::SUCCESS),
        ["call", target, in_flight, rounds] => {
            let calls = ends::call(target, in_flight.parse()?, rounds.parse()?);
            calls.map(|()| ExitCode::SUCCESS)
        }
        _ => Err("usage: instructions".into()),
    }
}

fn check() -> Result<ExitCode> {
    let mut over = false;
    println!("instructions for each call of 32 bytes that is answered at once:");
    for Budget {
        end,
        in_flight,
        max,
    } in BUDGETS
    {
        let mut instructions = measure::count(end, in_flight)?;
        for _ in 1..ATTEMPTS {
            if instructions > max {
                instructions = instructions.min(measure::count(end, in_flight)?);
            }
        }
        let verdict = if instructions > max { "TOO MANY" } else { "ok" };
        println!("{end:?}, {in_flight:>2} in flight: {instructions:>5} of {max:>5}  {verdict}");
        over |= instructions > max;
    }
    Ok(if over {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
