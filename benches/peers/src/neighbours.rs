//! Who else has a part of the cores, where no count of this system tells?
//!
//! In a virtual machine, the other half of a core may be somebody else's. While it works there, what is
//! executed here takes a third more time, for some seconds; nothing is interrupted, and no CPU time is used.
//! So each core does the same small work before and after a measurement, which is compared with the quickest
//! that it ever did it.

use std::cell::Cell;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::placement::on_cores;

/// From this on, a core is slowed down. Without neighbours it takes 1.0 to 1.2 times as long, as it is not
/// always as fast; with one at work 1.4 to 1.6 times.
pub(crate) const SLOWDOWN_MAX: f64 = 1.3;
/// The work: so many bytes are written and read so many times. It is the kernel's mostly, as that of the
/// peers is; a loop that adds does not notice neighbours.
const BYTES: usize = 2048;
const TIMES: usize = 500;
/// The quickest of so many counts: a tick may be in one.
const COUNTS: usize = 4;
/// To know the quickest before anything is measured.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// How quick the cores were.
#[derive(Debug)]
pub(crate) struct Neighbours {
    cores: [(usize, Cell<f64>); 2],
}

impl Neighbours {
    pub(crate) fn new(cores: [usize; 2]) -> Result<Self> {
        let cores = cores.map(|core| (core, Cell::new(f64::INFINITY)));
        let neighbours = Self { cores };
        let begin = Instant::now();
        while begin.elapsed() < FIRST_LOOK {
            neighbours.slowdown(neighbours.cores.each_ref().map(|(core, _)| *core))?;
        }
        Ok(neighbours)
    }

    /// How much longer work takes now than it did at its quickest, on the worse of these cores.
    pub(crate) fn slowdown(&self, cores: impl IntoIterator<Item = usize>) -> Result<f64> {
        let mut worst = 1.0_f64;
        for core in cores {
            let took = on_cores(&[core], work)??;
            let known = self.cores.iter().find(|(known, _)| *known == core);
            let (_, quickest) = known.ok_or("a core that was not looked at")?;
            quickest.set(quickest.get().min(took));
            worst = worst.max(took / quickest.get());
        }
        Ok(worst)
    }

    /// Waits until they do nothing, for a while; gives what [`slowdown`](Self::slowdown) says.
    pub(crate) fn outwait(&self, cores: &[usize]) -> Result<f64> {
        let begin = Instant::now();
        loop {
            let slowdown = self.slowdown(cores.iter().copied())?;
            if slowdown <= SLOWDOWN_MAX || begin.elapsed() >= PATIENCE {
                return Ok(slowdown);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// How long the work takes, in seconds.
fn work() -> Result<f64> {
    let (mut reader, mut writer) = pipe()?;
    let mut quickest = f64::INFINITY;
    for _ in 0..COUNTS {
        let begin = Instant::now();
        for _ in 0..TIMES {
            pass(&mut reader, &mut writer)?;
        }
        quickest = quickest.min(begin.elapsed().as_secs_f64());
    }
    Ok(quickest)
}

fn pass(reader: &mut PipeReader, writer: &mut PipeWriter) -> Result<()> {
    let mut bytes = [1; BYTES];
    writer.write_all(&bytes)?;
    Ok(reader.read_exact(&mut bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement;

    #[test]
    fn the_quickest_is_what_others_are_compared_with() {
        let core = placement::cores().unwrap()[0];
        let neighbours = Neighbours {
            cores: [(core, Cell::new(1e-9)), (usize::MAX, Cell::new(1.0))],
        };
        assert!(neighbours.slowdown([core]).unwrap() > 1000.0);
        neighbours.cores[0].1.set(1e9);
        assert_eq!(neighbours.slowdown([core]).unwrap(), 1.0);
        assert!(neighbours.cores[0].1.get() < 1.0);
        let elsewhere = Neighbours {
            cores: [usize::MAX; 2].map(|core| (core, Cell::new(1.0))),
        };
        assert!(elsewhere.slowdown([core]).is_err());
    }
}
