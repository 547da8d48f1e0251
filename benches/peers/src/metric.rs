//! What can be told of one measurement, and how it is written.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Calls, or items of streams, per second.
    Rate,
    /// Payload that arrived at the server, per second; as much comes back.
    Bandwidth,
    P50,
    P99,
    P999,
    ClientCpu,
    ServerCpu,
    ClientAllocations,
    ServerAllocations,
    ClientSyscalls,
    ServerSyscalls,
    ClientInstructions,
    ServerInstructions,
    /// Per connection.
    ServerMemory,
    ClientMemory,
    /// From clean to a program.
    BuildSeconds,
    BuildCpuSeconds,
    /// Packages that are built.
    Packages,
}

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::Bandwidth => "MB/s",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P999 => "p99.9 µs",
            Self::ClientCpu => "CPU µs, client",
            Self::ServerCpu => "CPU µs, server",
            Self::ClientAllocations => "allocations, client",
            Self::ServerAllocations => "allocations, server",
            Self::ClientSyscalls => "system calls, client",
            Self::ServerSyscalls => "system calls, server",
            Self::ClientInstructions => "instructions, client",
            Self::ServerInstructions => "instructions, server",
            Self::ServerMemory => "KiB, server",
            Self::ClientMemory => "KiB, client",
            Self::BuildSeconds => "seconds",
            Self::BuildCpuSeconds => "CPU seconds",
            Self::Packages => "packages",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::Bandwidth)
    }

    /// The same on a noisy machine as on a quiet one.
    pub(crate) fn is_counted(self) -> bool {
        !matches!(
            self,
            Self::Rate
                | Self::Bandwidth
                | Self::P50
                | Self::P99
                | Self::P999
                | Self::ClientCpu
                | Self::ServerCpu
                | Self::BuildSeconds
                | Self::BuildCpuSeconds
        )
    }

    /// The number alone, as the title's unit has it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Rate | Self::ClientInstructions | Self::ServerInstructions | Self::Packages => {
                thousands(value)
            }
            Self::ServerMemory | Self::ClientMemory => format!("{:.1}", value / 1024.0),
            _ if value >= 1000.0 => thousands(value),
            _ if value >= 100.0 => format!("{value:.0}"),
            _ if value >= 10.0 => format!("{value:.1}"),
            _ if value >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        }
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn numbers_are_as_exact_as_they_are_worth() {
        assert_eq!(Metric::Rate.show(3_270_123.4), "3,270,123");
        assert_eq!(Metric::Rate.show(12.0), "12");
        assert_eq!(Metric::P50.show(6.443), "6.44");
        assert_eq!(Metric::P999.show(12_345.6), "12,346");
        assert_eq!(Metric::ServerMemory.show(1638.4), "1.6");
    }
}
