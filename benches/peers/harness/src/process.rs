//! A peer as a process, and the lines it exchanges with the runner.
//!
//! | process | says | is told |
//! |---|---|---|
//! | `serve` | `listening ADDRESS` | |
//! | | a [`Usage`] as JSON | `usage`, any number of times |
//! | `load ADDRESS LOAD` | `ready` when connected and warm | |
//! | | an [`Outcome`](crate::Outcome) as JSON | `go`, once |
//!
//! Either ends when its standard input does, so that nothing is left when the runner dies.

use std::env;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::load::{self, Load};
use crate::{Peer, Result, Usage, allocations};

/// Set, it makes the process count its allocations.
pub const COUNT_ALLOCATIONS: &str = "PEERS_COUNT_ALLOCATIONS";

/// The `main` of a peer.
pub fn run<P: Peer>() {
    if env::var_os(COUNT_ALLOCATIONS).is_some() {
        allocations::start_counting();
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match *arguments {
        ["serve"] => serve::<P>(),
        ["load", server, load] => put_load_on::<P>(server, load),
        _ => Err("either `serve`, or `load ADDRESS LOAD`".into()),
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        process::exit(1);
    }
}

/// What `#[tokio::main]` makes: a worker for each core that the process may use.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    // The runner is gone if this fails, and then nobody needs the line.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn serve<P: Peer>() -> Result<()> {
    thread::spawn(|| {
        for line in io::stdin().lock().lines().map_while(|line| line.ok()) {
            if line == "usage" {
                say(&serde_json::to_string(&Usage::now()).expect("numbers are JSON"));
            }
        }
        process::exit(0);
    });
    // On a worker and not on the main thread, where some peers would run their accept loop.
    let listening = |server: SocketAddr| say(&format!("listening {server}"));
    let runtime = runtime()?;
    runtime.block_on(runtime.spawn(P::serve(listening)))?
}

fn put_load_on<P: Peer>(server: &str, load: &str) -> Result<()> {
    let load: Load = serde_json::from_str(load)?;
    let server: SocketAddr = server.parse()?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(runtime.spawn(load::run::<P>(server, load, wait_for_go)))??;
    say(&serde_json::to_string(&outcome)?);
    // What is connected stays so until the runner has looked at the server.
    while next_line().is_some() {}
    process::exit(0);
}

fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.is_ok_and(|bytes| bytes > 0).then_some(line)
}

/// Blocks the thread: nothing is to happen until the runner says so.
fn wait_for_go() -> Result<()> {
    say("ready");
    let line = next_line().ok_or("the runner is gone")?;
    (line.trim() == "go")
        .then_some(())
        .ok_or_else(|| format!("not `go`: {line}").into())
}
