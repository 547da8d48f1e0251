//! How many instructions a call takes, at either end, against a budget.
//!
//! `cargo run --release --manifest-path benches/instructions/Cargo.toml` takes a minute and needs
//! valgrind. It fails if a figure is over its budget, which is a little above what was measured when
//! it was last changed; a change that saves much lowers the budget with it. With `-- where` it tells
//! which part of the code the instructions of a call are in.
//!
//! Why instructions and not time? They are the same however busy the machine is, so that a few per
//! cent more are seen. Each end is a process with one thread, and one of the two runs under
//! callgrind. The calls go in lockstep: all requests of a round are in one read, and so are all
//! answers. Two runs of different length are subtracted, so that what is left belongs to the calls.
//! What the kernel does is not counted. The clock goes as slowly as the program (`clock.rs`); who asks
//! it, which one call alone does five times, is counted with 40 instructions. A machine that is busy may
//! tear a round apart, which adds to it and never takes from it: a figure over its budget is counted
//! twice more, and the least of the three is told.

mod breakdown;
mod clock;
mod ends;
mod measure;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use ends::Call;
use measure::End;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Budget {
    call: Call,
    end: End,
    in_flight: u32,
    /// Instructions for each call.
    max: u64,
}

/// How often a figure may be counted.
const ATTEMPTS: u32 = 3;

/// Three to five in a hundred above what was counted. One call at a time is counted with however many
/// waits it took, which is not the same each time: the figure of the client may be 1,000 higher than the
/// last, that of the server 500.
const BUDGETS: [Budget; 4] = [
    Budget::new(End::Server, 64, 950),
    Budget::new(End::Client, 64, 1_720),
    Budget::new(End::Server, 1, 5_400),
    Budget::new(End::Client, 1, 6_400),
];

/// Of calls whose handler waits once, of the structured message, which the handler copies, and of calls
/// that an interceptor sees at either end.
const OTHER_BUDGETS: [Budget; 6] = [
    Budget::new(End::Server, 64, 5_450).of(Call::Later),
    Budget::new(End::Client, 64, 1_420).of(Call::Later),
    Budget::new(End::Server, 64, 14_400).of(Call::Copy),
    Budget::new(End::Client, 64, 11_250).of(Call::Copy),
    Budget::new(End::Server, 64, 1_360).of(Call::Seen),
    Budget::new(End::Client, 64, 2_380).of(Call::Seen),
];

impl Budget {
    const fn of(self, call: Call) -> Self {
        Self { call, ..self }
    }

    const fn new(end: End, in_flight: u32, max: u64) -> Self {
        Self {
            call: Call::Echo,
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
        ["where"] => breakdown::print().map(|()| ExitCode::SUCCESS),
        ["serve", target, call] => {
            let served = ends::serve(target, Call::from_name(call)?);
            served.map(|()| ExitCode::SUCCESS)
        }
        ["call", target, in_flight, rounds, call] => {
            let call = Call::from_name(call)?;
            let calls = ends::call(target, in_flight.parse()?, rounds.parse()?, call);
            calls.map(|()| ExitCode::SUCCESS)
        }
        _ => Err("usage: instructions [where]".into()),
    }
}

fn check() -> Result<ExitCode> {
    let mut over = false;
    println!("instructions for each call:");
    for Budget {
        call,
        end,
        in_flight,
        max,
    } in BUDGETS.into_iter().chain(OTHER_BUDGETS)
    {
        let mut instructions = measure::count(end, in_flight, call)?;
        for _ in 1..ATTEMPTS {
            if instructions > max {
                instructions = instructions.min(measure::count(end, in_flight, call)?);
            }
        }
        let verdict = if instructions > max { "TOO MANY" } else { "ok" };
        let name = call.name();
        println!(
            "{name:<5}  {end:?}, {in_flight:>2} in flight: {instructions:>6} of {max:>6}  {verdict}"
        );
        over |= instructions > max;
    }
    Ok(if over {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
