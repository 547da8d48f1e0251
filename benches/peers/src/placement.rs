//! Which cores the two processes may use.
//!
//! Why more than one placement? On one shared core, what counts is the work per call. On two, a
//! wake-up from core to core costs more than a call, and what counts is how rarely one is needed.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    OneCore,
    TwoCores,
    Split,
}

impl Placement {
    pub(crate) const ALL: [Self; 3] = [Self::OneCore, Self::TwoCores, Self::Split];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneCore => "one-core",
            Self::TwoCores => "two-cores",
            Self::Split => "split",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::OneCore => "client and server share one core",
            Self::TwoCores => "client and server share two cores, and may use both",
            Self::Split => "a core for the client, another for the server",
        }
    }

    /// The cores of the client and of the server.
    pub(crate) fn cores(self, [first, second]: [usize; 2]) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::OneCore => (vec![first], vec![first]),
            Self::TwoCores => (vec![first, second], vec![first, second]),
            Self::Split => (vec![first], vec![second]),
        }
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Does `act` on these cores; a process that it starts stays there.
pub(crate) fn on_cores<T>(cores: &[usize], act: impl FnOnce() -> T) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set)?;
    let outcome = act();
    sched_setaffinity(None, &before)?;
    Ok(outcome)
}
