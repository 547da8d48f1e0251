//! A core that does not fall asleep while the next call is awaited.
//!
//! Why? In an open loop the shared core has nothing to do for half of the time. How long it takes to wake
//! up from that is nobody's doing, and in a virtual machine anything from no time to 50 µs, in each window
//! anew: medians of the same peer were between 57 and 105 µs, and are between 47 and 50 without. Machines
//! that are measured are told not to let their cores sleep; this one does it by itself, with a thread
//! that spins in the class from which everybody else takes the core at once.

use std::fs;
use std::hint::spin_loop;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use rustix::thread::{Pid, gettid};

use crate::Result;
use crate::placement::on_cores;

/// Keeps a core from sleeping until it is dropped.
pub(crate) struct Awake {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    id: Pid,
}

impl Awake {
    pub(crate) fn keep(core: usize) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let spin = {
            let over = over.clone();
            move || {
                let pinned = on_cores(&[core], || {
                    // Nobody waits for it any more if this fails.
                    let _ = tell.send(gettid());
                    while !over.load(Relaxed) {
                        spin_loop();
                    }
                });
                drop(pinned);
            }
        };
        let thread = Some(thread::spawn(spin));
        let awake = Self {
            over,
            thread,
            id: told.recv().map_err(|_| "no thread may be on that core")?,
        };
        awake.stand_back()?;
        match awake.seconds() {
            Some(_) => Ok(awake),
            None => Err("the system does not tell what a thread uses".into()),
        }
    }

    /// Leaves the core to whoever wants it.
    fn stand_back(&self) -> Result<()> {
        let id = self.id.as_raw_nonzero().to_string();
        let mut chrt = Command::new("chrt");
        chrt.args(["--idle", "--pid", "0", &id]);
        let done = chrt.stdin(Stdio::null()).output()?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr);
            return Err(format!("chrt --idle: {}", why.trim()).into());
        }
        Ok(())
    }

    /// The CPU time that it has used, in seconds; `None` where the system does not tell.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let path = format!("/proc/self/task/{}/schedstat", self.id.as_raw_nonzero());
        let stat = fs::read_to_string(path).ok()?;
        let nanos: f64 = stat.split_whitespace().next()?.parse().ok()?;
        Some(nanos / 1e9)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
