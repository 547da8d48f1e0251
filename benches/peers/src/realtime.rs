//! Nobody else's turn: where a tail is measured, both processes run before all others of the machine.
//!
//! Why? A daemon or a thread of the kernel that takes the shared core for two milliseconds of a second
//! is among the slowest 0.2 % of all calls, whoever makes them: p99.9 told of the machine, and p99 now
//! and then. Processes of the real-time class are not made to wait for them. Niceness does not do: they
//! may finish what they do in the kernel.

use std::path::Path;
use std::process::{Command, Stdio};

/// Behind whatever else of that class there is. Client and server take turns when one of them waits, as
/// they do on a core that they have for themselves.
const CLASS: [&str; 2] = ["--fifo", "1"];

/// Whether chrt is there and may put processes into the class.
pub(crate) fn is_available() -> bool {
    let mut chrt = command(Path::new("true"));
    chrt.stdout(Stdio::null()).stderr(Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}

/// Starts a program in that class; the process is the program's own.
pub(crate) fn command(program: &Path) -> Command {
    let mut chrt = Command::new("chrt");
    chrt.args(CLASS).arg(program);
    chrt
}
