//! A process of a peer, spoken to by lines. It ends with its handle.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::placement::on_cores;

/// Lines that are waiting to be read; a peer says two or three.
const LINES_MAX: usize = 16;

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command, cores: &[usize]) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = on_cores(cores, || command.spawn())??;
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (say, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            input,
            lines,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// The next line; an error if none comes in time, with what the process complained about.
    pub(crate) fn line(&mut self, within: Duration) -> Result<String> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err("it says nothing".into()),
            Err(RecvTimeoutError::Disconnected) => Err(self.last_words().into()),
        }
    }

    fn last_words(&mut self) -> String {
        // Its end closes the pipe, after which reading ends.
        let _ = self.child.kill();
        let read = |stderr: ChildStderr| std::io::read_to_string(stderr).unwrap_or_default();
        let words = self.child.stderr.take().map(read).unwrap_or_default();
        match words.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => line.to_owned(),
            None => "it ended without a word".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
