//! What is to be done, and doing it: every workload at every placement, the peers in turn.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::build::{self, Built};
use crate::machine::Machine;
use crate::neighbours::Neighbours;
use crate::noise::{self, Calibration};
use crate::peers::Peer;
use crate::placement::Placement;
use crate::results::{Row, Table};
use crate::run::{self, Sample, Terms};
use crate::workloads::{Kind, Workload};
use crate::{Result, goals, realtime, report, syscalls};

/// A calibration that is not quiet is tried again, in the hope that it was a passing cloud.
const CALIBRATIONS_MAX: usize = 5;
/// So is a measurement during which others used the machine: the one with the least of that counts,
/// whatever its figures.
const SAMPLES_MAX: usize = 4;
/// So is a workload that was disturbed all the same.
const TABLES_MAX: usize = 2;
/// A build takes long and varies little.
const BUILDS_MAX: usize = 3;
/// Of the workloads, this share may be in doubt, each marked so, before nothing is concluded.
const DOUBTFUL_MAX: f64 = 0.1;
/// What a measurement takes besides its window and its warm-up: two processes, their connections.
const STARTING: Duration = Duration::from_millis(150);
/// What a build takes, for those of today.
const BUILDING: Duration = Duration::from_secs(25);

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) draft: bool,
    pub(crate) rounds: usize,
    pub(crate) window_ms: u64,
    pub(crate) peers: Vec<Peer>,
    /// Then one that cannot be built is an error, and not a remark.
    pub(crate) asked_for_peers: bool,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) placements: Vec<Placement>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

impl Plan {
    /// Tells whether something can be concluded.
    pub(crate) fn carry_out(&self) -> Result<bool> {
        let peers = self.build()?;
        let machine = Machine::look(&peers)?;
        for line in self.circumstances(&machine) {
            println!("{line}");
        }
        let neighbours = Neighbours::new(machine.used_cores)?;
        let terms = Terms {
            cores: machine.used_cores,
            window_ms: self.window_ms,
            perf: syscalls::is_available(),
            realtime: realtime::is_available(),
            neighbours: &neighbours,
        };
        if !terms.perf {
            println!("perf cannot count here: no system calls, no instructions");
        }
        let minutes = self.estimate(&peers).as_secs() / 60 + 1;
        println!("about {minutes} minutes, if nothing has to be measured again");
        let mut tables = Vec::new();
        for &placement in &self.placements {
            for workload in self.workloads_at(placement) {
                if !peers.iter().any(|built| workload.is_for(built.peer)) {
                    continue;
                }
                let table = self.measure_in_peace(&peers, workload, placement, terms)?;
                print!("{}", report::text::table(&table));
                tables.push(table);
            }
        }
        for (index, verdict) in goals::verdicts(&tables).iter().enumerate() {
            println!("{}  {verdict}", if index == 0 { "\nGoals:\n" } else { "" });
        }
        self.report(&machine, &tables)
    }

    fn workloads_at(&self, placement: Placement) -> impl Iterator<Item = &Workload> {
        self.workloads
            .iter()
            .filter(move |workload| workload.is_at(placement))
    }

    fn estimate(&self, peers: &[Built]) -> Duration {
        let places = self.placements.iter();
        let all = places.flat_map(|&placement| self.workloads_at(placement));
        let each = all.map(|workload| {
            let peers = peers.iter().filter(|built| workload.is_for(built.peer));
            let window = Duration::from_millis(workload.window_ms(self.window_ms));
            let one = match workload.kind {
                Kind::Calls(_) => window + window / 5 + STARTING,
                Kind::Build => BUILDING,
            };
            one * (peers.count() * self.rounds_of(workload)) as u32
        });
        each.sum()
    }

    fn rounds_of(&self, workload: &Workload) -> usize {
        match workload.kind {
            Kind::Calls(_) => self.rounds,
            Kind::Build => self.rounds.min(BUILDS_MAX),
        }
    }

    fn build(&self) -> Result<Vec<Built>> {
        let mut peers = Vec::new();
        for &peer in &self.peers {
            if !self.workloads.iter().any(|workload| workload.is_for(peer)) {
                continue;
            }
            println!("building {}", peer.name);
            match build::build(peer) {
                Ok(built) => peers.push(built),
                Err(error) if self.asked_for_peers => {
                    return Err(format!("{}: {error}", peer.name).into());
                }
                Err(error) => println!("without {}: {error}", peer.name),
            }
        }
        Ok(peers)
    }

    /// What the figures are to be read with.
    fn circumstances(&self, machine: &Machine) -> Vec<String> {
        let mut lines = machine.describe();
        lines.push(format!(
            "{} rounds of {} ms, open loops longer",
            self.rounds, self.window_ms
        ));
        lines.push(match realtime::is_available() {
            true => {
                "on one core, which is kept awake, open loops in Rust run in the real-time class"
                    .to_owned()
            }
            false => "open loops wait for whatever else runs: no real-time class here".to_owned(),
        });
        lines
    }

    /// Anew if it was disturbed, a few times.
    fn measure_in_peace(
        &self,
        peers: &[Built],
        workload: &Workload,
        placement: Placement,
        terms: Terms<'_>,
    ) -> Result<Table> {
        let mut table = self.measure(peers, workload, placement, terms)?;
        for _ in 1..TABLES_MAX {
            let doubts = table.doubts();
            if doubts.is_empty() || self.quick {
                break;
            }
            println!("\n{} again: {}", workload.name, doubts.join("; "));
            table = self.measure(peers, workload, placement, terms)?;
        }
        Ok(table)
    }

    fn measure(
        &self,
        peers: &[Built],
        workload: &Workload,
        placement: Placement,
        terms: Terms<'_>,
    ) -> Result<Table> {
        let before = self.calibrate(terms)?;
        let peers = peers.iter().filter(|built| workload.is_for(built.peer));
        let mut rows: Vec<_> = peers
            .clone()
            .map(|built| Row {
                peer: built.peer.name,
                samples: Vec::new(),
                failure: None,
            })
            .collect();
        for _ in 0..self.rounds_of(workload) {
            for (built, row) in peers.clone().zip(&mut rows) {
                if row.failure.is_some() {
                    continue;
                }
                match self.sample(built, workload, placement, terms) {
                    Ok(sample) => row.samples.push(sample),
                    Err(error) => row.failure = Some(error.to_string()),
                }
            }
        }
        let after = self.calibrate(terms)?;
        Ok(Table::new(placement, workload, [before, after], rows))
    }

    /// Anew if others used the machine meanwhile, a few times.
    fn sample(
        &self,
        built: &Built,
        workload: &Workload,
        placement: Placement,
        terms: Terms<'_>,
    ) -> Result<Sample> {
        let mut quietest = run::measure(built, workload, placement, terms)?;
        for _ in 1..SAMPLES_MAX {
            let is_timed = !workload.counted && matches!(workload.kind, Kind::Calls(_));
            if self.quick || !is_timed || quietest.disturbance() <= 1.0 {
                break;
            }
            let again = run::measure(built, workload, placement, terms)?;
            if again.disturbance() < quietest.disturbance() {
                quietest = again;
            }
        }
        Ok(quietest)
    }

    fn calibrate(&self, terms: Terms<'_>) -> Result<Calibration> {
        let time = Duration::from_millis(if self.quick { 50 } else { 250 });
        let mut seen = noise::calibrate(terms.cores, time)?;
        for _ in 1..CALIBRATIONS_MAX {
            if seen.is_quiet() || self.quick {
                break;
            }
            seen = noise::calibrate(terms.cores, time)?;
        }
        Ok(seen)
    }

    fn report(&self, machine: &Machine, tables: &[Table]) -> Result<bool> {
        let doubtful = tables
            .iter()
            .filter(|table| !table.doubts().is_empty())
            .count();
        let lines = self.circumstances(machine);
        let mut remarks = Vec::new();
        let of = tables.len();
        if doubtful as f64 > DOUBTFUL_MAX * of as f64 {
            remarks.push(format!(
                "the machine was too noisy in {doubtful} of {of} workloads"
            ));
        }
        if self.quick || self.rounds < 3 {
            remarks.push("the run was a quick one".to_owned());
        }
        if let Some(file) = &self.json {
            fs::write(file, report::json(machine, &lines, &remarks, tables)?)?;
        }
        let conclusive = remarks.is_empty();
        if !conclusive {
            println!(
                "\nNothing is to be concluded from this: {}.",
                remarks.join("; ")
            );
        }
        if conclusive || self.draft {
            if let Some(file) = &self.markdown {
                let svg = self.svg.as_deref();
                report::markdown::write(file, svg, &lines, &remarks, tables)?;
            }
            if let Some(file) = &self.svg {
                fs::write(file, report::svg::plot(&lines[0], &remarks, tables))?;
            }
        }
        Ok(conclusive)
    }
}
