//! What a process has used so far.

use std::fs;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::allocations;

/// Counters since the process began, and what it holds now.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all threads, user and system.
    pub cpu_us: f64,
    /// Allocations, if they are counted.
    pub allocations: Option<u64>,
    /// Anonymous memory that is resident: heap and stacks.
    pub memory_bytes: u64,
}

impl Usage {
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu_us: cpu.tv_sec as f64 * 1e6 + cpu.tv_nsec as f64 / 1e3,
            allocations: allocations::count(),
            memory_bytes: anonymous_memory(),
        }
    }

    /// What was used since `before`; memory may have shrunk, and then it is 0.
    pub fn since(self, before: Self) -> Self {
        let both = self.allocations.zip(before.allocations);
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            allocations: both.map(|(now, then)| now - then),
            memory_bytes: self.memory_bytes.saturating_sub(before.memory_bytes),
        }
    }
}

/// 0 where the system does not tell.
fn anonymous_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
