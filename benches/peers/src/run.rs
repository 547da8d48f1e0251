//! One measurement: a server, a client, and what both say.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use peers_harness::{COUNT_ALLOCATIONS, Load, Outcome, Usage};
use serde::Serialize;

use crate::awake::Awake;
use crate::build::Built;
use crate::metric::Metric;
use crate::neighbours::{Neighbours, SLOWDOWN_MAX};
use crate::noise::{self, OTHERS_MAX};
use crate::placement::Placement;
use crate::process::Process;
use crate::syscalls::{self, Counted};
use crate::workloads::{Kind, Workload};
use crate::{Result, hello, realtime};

/// For what takes no time of its own, on a machine that is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one measurement gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) metrics: BTreeMap<Metric, f64>,
    /// CPU time that neither client nor server used, as a share of the two cores.
    pub(crate) others: f64,
    /// How much longer work took before or after it than it does on cores without neighbours.
    pub(crate) slowdown: f64,
}

impl Sample {
    /// What it suffered, as a share of what is borne.
    pub(crate) fn disturbance(&self) -> f64 {
        let slowdown = (self.slowdown - 1.0) / (SLOWDOWN_MAX - 1.0);
        slowdown.max(self.others / OTHERS_MAX)
    }
}

/// The circumstances of a run that are the same for every peer and workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) cores: [usize; 2],
    pub(crate) window_ms: u64,
    /// perf can count.
    pub(crate) perf: bool,
    /// Processes may be put into the real-time class, and threads into the idle one.
    pub(crate) realtime: bool,
    pub(crate) neighbours: &'a Neighbours,
}

pub(crate) fn measure(
    built: &Built,
    workload: &Workload,
    placement: Placement,
    terms: Terms<'_>,
) -> Result<Sample> {
    match &workload.kind {
        Kind::Calls(load) => measure_calls(built, workload, load, placement, terms),
        Kind::Build => {
            let package = built.peer.hello.ok_or("it has no hello world")?;
            hello::measure(package, terms.cores)
        }
    }
}

fn measure_calls(
    built: &Built,
    workload: &Workload,
    load: &Load,
    placement: Placement,
    terms: Terms<'_>,
) -> Result<Sample> {
    let (client_cores, server_cores) = placement.cores(terms.cores);
    let mut cores = [&client_cores[..], &server_cores[..]].concat();
    cores.sort_unstable();
    cores.dedup();
    let slowdown = terms.neighbours.outwait(&cores)?;
    let comes_first = terms.realtime && workload.comes_first(placement);
    let awake = match comes_first {
        true => Some(Awake::keep(client_cores[0])?),
        false => None,
    };
    let first = comes_first && built.peer.bears_realtime();
    let mut serve = command(built, workload, first, &["serve"]);
    let mut server = Process::start(&mut serve, &server_cores)?;
    let listening = server.line(PATIENCE)?;
    let address = listening
        .strip_prefix("listening ")
        .ok_or("it does not say where it listens")?;

    let window_ms = workload.window_ms(terms.window_ms);
    let warm_up_ms = window_ms / 5;
    let bytes = load.bytes;
    let load = serde_json::to_string(&Load {
        window_ms,
        warm_up_ms,
        ..load.clone()
    })?;
    let mut call = command(built, workload, first, &["load", address, &load]);
    let mut client = Process::start(&mut call, &client_cores)?;
    let patience = PATIENCE + Duration::from_millis(window_ms);
    if client.line(patience)? != "ready" {
        return Err("it does not say when it is ready".into());
    }

    let counting = match workload.counted && terms.perf {
        true => Some(syscalls::count([client.id(), server.id()])?),
        false => None,
    };
    // What a core does for want of anything else is not the work of others.
    let busy_seconds =
        || noise::busy_seconds() - awake.as_ref().and_then(Awake::seconds).unwrap_or(0.0);
    let before = usage(&mut server)?;
    let (began, busy) = (Instant::now(), busy_seconds());
    client.say("go")?;
    let outcome: Outcome = serde_json::from_str(&client.line(patience)?)?;
    let (seconds, busy) = (began.elapsed().as_secs_f64(), busy_seconds() - busy);
    let used = usage(&mut server)?.since(before);
    let [client_counts, server_counts] = match counting {
        Some([one, other]) => [Some(one.finish()?), Some(other.finish()?)],
        None => [None, None],
    };
    // A runtime with a collector is still at work behind the last call.
    drop((client, server));
    let slowdown = slowdown.max(terms.neighbours.slowdown(cores)?);
    if let Some(failure) = outcome.failure {
        return Err(format!("{} calls failed: {failure}", outcome.failed).into());
    }
    let known = (used.cpu_us + outcome.usage.cpu_us) / 1e6;
    let others = ((busy - known) / (seconds * terms.cores.len() as f64)).max(0.0);
    let mut metrics = of_client(&outcome, bytes);
    metrics.extend(of_server(used, outcome.calls));
    metrics.extend(of_counts(client_counts, outcome.calls, CLIENT_COUNTS));
    metrics.extend(of_counts(server_counts, outcome.calls, SERVER_COUNTS));
    metrics.retain(|metric, _| workload.metrics.contains(metric));
    Ok(Sample {
        metrics,
        others,
        slowdown,
    })
}

fn command(built: &Built, workload: &Workload, first: bool, arguments: &[&str]) -> Command {
    let mut command = match first {
        true => realtime::command(&built.executable),
        false => Command::new(&built.executable),
    };
    command.args(&built.arguments).args(arguments);
    if workload.counted {
        command.env(COUNT_ALLOCATIONS, "1");
    }
    command
}

fn usage(server: &mut Process) -> Result<Usage> {
    server.say("usage")?;
    Ok(serde_json::from_str(&server.line(PATIENCE)?)?)
}

fn of_client(outcome: &Outcome, bytes: usize) -> BTreeMap<Metric, f64> {
    let calls = outcome.calls.max(1) as f64;
    let mut metrics = BTreeMap::from([
        (Metric::ClientCpu, outcome.usage.cpu_us / calls),
        (
            Metric::ClientMemory,
            outcome.usage.memory_bytes as f64 / calls,
        ),
    ]);
    if outcome.seconds > 0.0 {
        let rate = outcome.calls as f64 / outcome.seconds;
        metrics.insert(Metric::Rate, rate);
        metrics.insert(Metric::Bandwidth, rate * bytes as f64 / 1e6);
    }
    if outcome.max_us > 0.0 {
        metrics.insert(Metric::P50, outcome.p50_us);
        metrics.insert(Metric::P99, outcome.p99_us);
        metrics.insert(Metric::P999, outcome.p999_us);
    }
    if let Some(allocations) = outcome.usage.allocations {
        metrics.insert(Metric::ClientAllocations, allocations as f64 / calls);
    }
    metrics
}

fn of_server(used: Usage, calls: u64) -> BTreeMap<Metric, f64> {
    let calls = calls.max(1) as f64;
    let mut metrics = BTreeMap::from([
        (Metric::ServerCpu, used.cpu_us / calls),
        (Metric::ServerMemory, used.memory_bytes as f64 / calls),
    ]);
    if let Some(allocations) = used.allocations {
        metrics.insert(Metric::ServerAllocations, allocations as f64 / calls);
    }
    metrics
}

const CLIENT_COUNTS: [Metric; 2] = [Metric::ClientSyscalls, Metric::ClientInstructions];
const SERVER_COUNTS: [Metric; 2] = [Metric::ServerSyscalls, Metric::ServerInstructions];

fn of_counts(
    counted: Option<Counted>,
    calls: u64,
    [syscalls, instructions]: [Metric; 2],
) -> impl Iterator<Item = (Metric, f64)> {
    let each = move |count: f64| count / calls.max(1) as f64;
    let one = counted.and_then(|counted| counted.syscalls);
    let other = counted.and_then(|counted| counted.instructions);
    let one = one.map(|count| (syscalls, each(count)));
    one.into_iter()
        .chain(other.map(|count| (instructions, each(count))))
}
