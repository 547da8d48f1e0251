//! Servers and clients that are processes of their own: they can be killed, stopped and measured.
//!
//! A child is this test binary again, told to run one ignored test, its role. It ends by itself when
//! its standard input ends, hence at the latest with its parent.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;

/// Where a child listens or connects to.
const TARGET: &str = "RPC_TEST_TARGET";
/// A file that a child writes to.
const FILE: &str = "RPC_TEST_FILE";

/// A child, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// What a child is started with.
#[derive(Clone, Default)]
pub(crate) struct Role<'a> {
    /// The ignored test that it runs.
    pub(crate) test: &'a str,
    pub(crate) target: &'a str,
    pub(crate) file: &'a str,
    /// How many file descriptors it may have; as many as this process if it is 0.
    pub(crate) descriptors_max: usize,
}

impl Process {
    pub(crate) fn start(role: &Role<'_>) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = if role.descriptors_max == 0 {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            let limit = role.descriptors_max;
            let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
            shell.arg("-c").arg(script).arg(program);
            shell
        };
        let mut child = command
            .args(["--exact", role.test, "--ignored", "--nocapture"])
            .args(["--test-threads", "1"])
            .env(TARGET, role.target)
            .env(FILE, role.file)
            // Or its memory depends on which of its threads did what: each has an arena of its own, and
            // what one gave back does not serve another.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// What follows a word in the next line that has it. Blocks.
    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self.lines.read_line(&mut line).unwrap();
            assert_ne!(count, 0, "the child ended before it said {word:?}");
            // The harness prints the name of the test on the same line.
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its standard input, which it takes for a request to end, and waits until it has. Blocks.
    pub(crate) fn retire(&mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the child did not end well: {status}");
    }

    /// SIGSTOP: it runs no further.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Its memory, in KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let field = line.unwrap().split_whitespace().nth(1).unwrap();
        field.parse().unwrap()
    }

    /// The time it has computed for so far.
    pub(crate) fn computed(&self) -> Duration {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        // After the name, which may contain anything but ends with a parenthesis.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
        // Linux counts in hundredths of a second here on every architecture.
        Duration::from_millis(10 * (ticks() + ticks()))
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: what [`Role`] says. `None` if nobody started this test as one.
pub(crate) fn role() -> Option<(String, String)> {
    let target = std::env::var(TARGET).ok()?;
    Some((target, std::env::var(FILE).unwrap_or_default()))
}

/// In a child: ready when the parent has gone.
pub(crate) fn parent_gone() -> impl Future<Output = ()> {
    let (sender, gone) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    async move {
        let _ = gone.await;
    }
}

/// In a child: serves until the parent has gone.
pub(crate) async fn serve(builder: rpc::ServerBuilder, target: &str) {
    let server = builder.bind(target).await.unwrap();
    println!("listening {}", server.uri());
    parent_gone().await;
}

/// How many file descriptors this process may have.
pub(crate) fn descriptors_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap();
    soft.parse().unwrap_or(usize::MAX)
}
