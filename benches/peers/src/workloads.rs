//! What is measured.

use peers_harness::{Load, Operation, Work};

use crate::metric::Metric;
use crate::peers::{BARE, OURS, OURS_OFF, OURS_ON, OURS_POOL, Peer};
use crate::placement::Placement;

/// A payload of this many bytes, where its size is not the question.
const SMALL: usize = 32;

/// Calls of an open loop in one measurement: a dozen of them are slower than p99.9.
const TAIL_CALLS_MIN: f64 = 12e3;

#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    /// What is told of it; the first is what peers are compared by.
    pub(crate) metrics: &'static [Metric],
    /// Allocations, instructions and system calls are counted, which takes time of its own.
    pub(crate) counted: bool,
    /// Who is measured, if not everybody.
    only: &'static [&'static str],
    /// Variants of this project that are measured besides everybody.
    also: &'static [&'static str],
    /// Where it is measured, if it matters.
    placements: &'static [Placement],
}

/// What a peer has to do.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Its client calls its server.
    Calls(Load),
    /// Its hello world is built, from clean.
    Build,
}

impl Workload {
    /// Variants of this project are measured only where they are named.
    pub(crate) fn is_for(&self, peer: Peer) -> bool {
        match self.kind {
            Kind::Build => peer.hello.is_some(),
            Kind::Calls(_) if self.only.is_empty() => {
                !peer.is_variant() || self.also.contains(&peer.name)
            }
            Kind::Calls(_) => self.only.contains(&peer.name),
        }
    }

    /// Before all others of the machine, on the core that both processes share: a tail is told of it. On
    /// two cores, the class decides who runs where.
    pub(crate) fn comes_first(&self, placement: Placement) -> bool {
        self.metrics.contains(&Metric::P999) && placement == Placement::OneCore
    }

    /// How long one measurement takes, where others take this long.
    pub(crate) fn window_ms(&self, others_ms: u64) -> u64 {
        match &self.kind {
            Kind::Calls(Load {
                rate: Some(rate), ..
            }) => others_ms.max((1e3 * TAIL_CALLS_MIN / rate) as u64),
            _ => others_ms,
        }
    }

    pub(crate) fn is_at(&self, placement: Placement) -> bool {
        self.placements.is_empty() || self.placements.contains(&placement)
    }
}

const RATE: &[Metric] = &[
    Metric::Rate,
    Metric::P50,
    Metric::P99,
    Metric::ClientCpu,
    Metric::ServerCpu,
];
const BULK: &[Metric] = &[Metric::Bandwidth, Metric::P50, Metric::P99];
const ONE: &[Metric] = &[Metric::P50, Metric::P99, Metric::Rate];
const TAIL: &[Metric] = &[
    Metric::P99,
    Metric::P50,
    Metric::P999,
    Metric::ClientCpu,
    Metric::ServerCpu,
];
const BUILD: &[Metric] = &[
    Metric::BuildSeconds,
    Metric::BuildCpuSeconds,
    Metric::Packages,
];
const MEMORY: &[Metric] = &[Metric::ServerMemory, Metric::ClientMemory];
const COST: &[Metric] = &[
    Metric::ServerInstructions,
    Metric::ClientInstructions,
    Metric::ServerAllocations,
    Metric::ClientAllocations,
    Metric::ServerSyscalls,
    Metric::ClientSyscalls,
];

pub(crate) fn all() -> Vec<Workload> {
    let closed = |name, what, connections, in_flight| Workload {
        name,
        what,
        kind: Kind::Calls(load(connections, in_flight)),
        metrics: RATE,
        counted: false,
        only: &[],
        also: &[],
        placements: &[],
    };
    let bulk = |name, what, bytes, in_flight| Workload {
        kind: Kind::Calls(Load {
            bytes,
            ..load(1, in_flight)
        }),
        metrics: BULK,
        also: &[OURS_POOL],
        ..closed(name, what, 1, in_flight)
    };
    let items = |name, what, count, bytes| Workload {
        kind: Kind::Calls(Load {
            bytes,
            operation: Operation::Items(count),
            ..load(1, 1)
        }),
        metrics: &[Metric::Rate, Metric::ClientCpu, Metric::ServerCpu],
        ..closed(name, what, 1, 1)
    };
    let working = |name, what, in_flight, work| Workload {
        kind: Kind::Calls(Load {
            operation: Operation::Work(work),
            ..load(1, in_flight)
        }),
        ..closed(name, what, 1, in_flight)
    };
    let open = |name, what, rate, one_percent| Workload {
        kind: Kind::Calls(Load {
            rate: Some(rate),
            one_percent,
            ..load(1, 0)
        }),
        metrics: TAIL,
        ..closed(name, what, 1, 0)
    };
    let counted = |name, what, in_flight| Workload {
        metrics: COST,
        counted: true,
        ..closed(name, what, 1, in_flight)
    };
    vec![
        Workload {
            metrics: ONE,
            ..closed("1", "one call at a time, 32 bytes there and back", 1, 1)
        },
        closed("64", "64 calls in flight on one connection", 1, 64),
        closed("1024", "1,024 calls in flight on one connection", 1, 1024),
        closed(
            "4096",
            "4,096 calls in flight on one connection, or in line for it",
            1,
            4096,
        ),
        closed("8x32", "8 connections, 32 calls in flight on each", 8, 32),
        closed(
            "64x16",
            "64 connections, 16 calls in flight on each",
            64,
            16,
        ),
        Workload {
            kind: Kind::Calls(Load {
                operation: Operation::Record,
                ..load(1, 64)
            }),
            ..closed(
                "record",
                "a structured message there and back, 64 in flight",
                1,
                64,
            )
        },
        bulk("1KiB", "1 KiB there and back, 64 in flight", 1 << 10, 64),
        bulk("16KiB", "16 KiB there and back, 16 in flight", 16 << 10, 16),
        bulk("64KiB", "64 KiB there and back, 16 in flight", 64 << 10, 16),
        bulk("1MiB", "1 MiB there and back, 4 in flight", 1 << 20, 4),
        working(
            "pending",
            "handlers that are pending once, 64 in flight",
            64,
            Work::Yield,
        ),
        working(
            "sleep",
            "handlers that sleep 1 ms, 1,024 in flight",
            1024,
            Work::Sleep(1000),
        ),
        open(
            "open12k",
            "12,000 calls a second, begun whether others have ended or not",
            12e3,
            None,
        ),
        open("open25k", "25,000 calls a second", 25e3, None),
        open(
            "slow",
            "12,000 calls a second, 1 % of them 20 ms long: latency of the others",
            12e3,
            Some(Work::Sleep(20_000)),
        ),
        open(
            "busy",
            "12,000 calls a second, 1 % of them compute for 1 ms: latency of the others",
            12e3,
            Some(Work::Spin(1000)),
        ),
        items(
            "stream",
            "items of 32 bytes a second, in streams of 10,000 from the server",
            10_000,
            SMALL,
        ),
        items(
            "stream16KiB",
            "items of 16 KiB a second, in streams of 100 from the server",
            100,
            16 * 1024,
        ),
        items(
            "stream64KiB",
            "items of 64 KiB a second, in streams of 64 from the server",
            64,
            64 * 1024,
        ),
        Workload {
            kind: Kind::Calls(Load {
                operation: Operation::Nothing,
                ..load(5000, 0)
            }),
            metrics: MEMORY,
            placements: &[Placement::OneCore],
            ..closed(
                "idle",
                "5,000 connections that do nothing: memory of each",
                5000,
                0,
            )
        },
        counted("cost1", "what a call costs, one at a time", 1),
        counted("cost64", "what a call costs, 64 in flight", 64),
        Workload {
            only: &[BARE, OURS, OURS_OFF, OURS_ON],
            ..closed(
                "switches",
                "64 calls in flight: what this project does for each call, on and off",
                1,
                64,
            )
        },
        Workload {
            kind: Kind::Build,
            metrics: BUILD,
            placements: &[Placement::TwoCores],
            ..closed(
                "build",
                "a hello world of a user, built from clean with optimisation",
                0,
                0,
            )
        },
    ]
}

fn load(connections: usize, in_flight: usize) -> Load {
    Load {
        operation: Operation::Echo,
        bytes: SMALL,
        connections,
        in_flight,
        rate: None,
        one_percent: None,
        warm_up_ms: 0,
        window_ms: 0,
    }
}
