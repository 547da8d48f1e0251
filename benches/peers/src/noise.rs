//! Is the machine quiet enough to conclude anything?
//!
//! Three signs, each of which alone can say no: a loop that only reads the clock is interrupted for
//! longer than it should be (the calibration, before and after each workload); others used CPU time
//! while a peer was measured; the rounds of the yardstick disagree where they should not.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Result;
use crate::placement::on_cores;

/// A gap in the loop is an interruption if it is longer: a tick of the kernel is shorter.
const INTERRUPTION: Duration = Duration::from_micros(50);
/// Share of the time that may be lost to interruptions.
const LOST_MAX: f64 = 0.01;
/// Share of the two cores' time that others may use, in the median of the measurements.
pub(crate) const OTHERS_MAX: f64 = 0.05;
/// Largest less smallest of the yardstick's rounds, as a share of their median.
pub(crate) const SPREAD_MAX: f64 = 0.30;

/// What a calibration saw on the worse of the cores.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Calibration {
    /// Share of the time.
    pub(crate) lost: f64,
    pub(crate) longest_us: f64,
}

impl Calibration {
    pub(crate) fn is_quiet(self) -> bool {
        self.lost <= LOST_MAX
    }
}

pub(crate) fn calibrate(cores: [usize; 2], time: Duration) -> Result<Calibration> {
    let mut worst = Calibration {
        lost: 0.0,
        longest_us: 0.0,
    };
    for core in cores {
        let seen = on_cores(&[core], || watch(time))?;
        worst.lost = worst.lost.max(seen.lost);
        worst.longest_us = worst.longest_us.max(seen.longest_us);
    }
    Ok(worst)
}

/// Reads the clock over and over, and adds up the gaps.
fn watch(time: Duration) -> Calibration {
    let begin = Instant::now();
    let (mut last, mut lost, mut longest) = (begin, Duration::ZERO, Duration::ZERO);
    while last - begin < time {
        let now = Instant::now();
        let gap = now - last;
        if gap > INTERRUPTION {
            lost += gap;
            longest = longest.max(gap);
        }
        last = now;
    }
    Calibration {
        lost: lost.as_secs_f64() / (last - begin).as_secs_f64(),
        longest_us: longest.as_secs_f64() * 1e6,
    }
}

/// CPU time of the whole machine since it began, in seconds; 0 where the system does not tell.
pub(crate) fn busy_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are within user.
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&field| ticks.get(field));
    busy.sum::<f64>() / TICKS_PER_SECOND
}
