//! A simulated network, what goes wrong in it, and when it is right again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::host::{Command, Control};
use crate::ledger::Ledger;
use crate::network::Plugs;

const TICK: Duration = Duration::from_millis(2);
/// Simulated time after which a simulation that has not come to rest never will.
const REST_MAX: Duration = Duration::from_secs(60);
/// The same for a server without callers.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// The way between the schedule and the clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// No new faults: finish, and show that all is well.
    pub(crate) quiet: Arc<AtomicBool>,
    /// Clients that have shown it.
    pub(crate) finished: Arc<AtomicUsize>,
}

/// A network with faults that come as a seed says, and end.
pub(crate) struct Faults {
    pub(crate) sim: Sim<'static>,
    pub(crate) rng: Rng,
    pub(crate) ledger: Ledger,
    pub(crate) stage: Stage,
    plugs: BTreeMap<String, Plugs>,
    /// Faults that end: when, and what to do.
    repairs: Vec<(Duration, Repair)>,
}

enum Repair {
    Bounce(String),
    Link(String, String),
    Release(String, String),
    Speed(String, String),
}

impl Faults {
    /// A network without hosts, whose messages take up to so many milliseconds.
    pub(crate) fn new(seed: u64, latency_max: Range<u64>, ledger: Ledger) -> Self {
        let mut rng = Rng::with_seed(seed);
        let latency_max = Duration::from_millis(rng.u64(latency_max));
        let sim = turmoil::Builder::new()
            .rng_seed(rng.u64(..))
            .simulation_duration(Duration::MAX)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(latency_max)
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        Self {
            sim,
            rng,
            ledger,
            stage: Stage::default(),
            plugs: BTreeMap::new(),
            repairs: Vec::new(),
        }
    }

    /// The streams of a host.
    pub(crate) fn plugs(&mut self, host: &str) -> Plugs {
        self.plugs.entry(host.to_owned()).or_default().clone()
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())].clone()
    }

    /// A time from now, in milliseconds.
    pub(crate) fn soon(&mut self, millis: Range<u64>) -> Duration {
        self.sim.elapsed() + Duration::from_millis(self.rng.u64(millis))
    }

    pub(crate) fn note(&self, what: &str) {
        self.ledger.note_at(self.sim.elapsed(), what);
    }

    fn violation(&self, what: String) {
        self.note(&what);
        self.ledger.violation(what);
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("a host failed: {error}");
        }
    }

    /// Lets things go wrong for so many milliseconds, again after so many.
    pub(crate) fn storm(
        &mut self,
        lasts: Range<u64>,
        every: Range<u64>,
        mut fault: impl FnMut(&mut Self),
    ) {
        let end = self.soon(lasts);
        let mut next = self.soon(0..every.end);
        while self.sim.elapsed() < end {
            if self.sim.elapsed() >= next {
                next = self.soon(every.clone());
                fault(self);
            }
            self.repair_what_is_due();
            self.step();
        }
    }

    pub(crate) fn crash(&mut self, host: String, until: Duration) {
        if self.sim.is_host_running(&*host) {
            let plugs = &self.plugs[&host];
            plugs.set_crashing(true);
            self.sim.crash(&*host);
            plugs.set_crashing(false);
            self.repairs.push((until, Repair::Bounce(host)));
        }
    }

    pub(crate) fn partition(&mut self, one: String, other: String, until: Duration) {
        self.sim.partition(&*one, &*other);
        self.repairs.push((until, Repair::Link(one, other)));
    }

    /// What `from` sends to `to` is lost; the other direction works.
    pub(crate) fn partition_oneway(&mut self, from: String, to: String, until: Duration) {
        self.sim.partition_oneway(&*from, &*to);
        self.repairs.push((until, Repair::Link(from, to)));
    }

    /// What they send each other arrives later.
    pub(crate) fn hold(&mut self, one: String, other: String, until: Duration) {
        self.sim.hold(&*one, &*other);
        self.repairs.push((until, Repair::Release(one, other)));
    }

    pub(crate) fn slow_down(&mut self, one: String, other: String, until: Duration) {
        let slow = Duration::from_millis(self.rng.u64(20..200));
        self.sim.set_link_latency(&*one, &*other, slow);
        self.repairs.push((until, Repair::Speed(one, other)));
    }

    fn repair_what_is_due(&mut self) {
        let now = self.sim.elapsed();
        let repairs = std::mem::take(&mut self.repairs);
        let (due, later): (Vec<_>, Vec<_>) = repairs.into_iter().partition(|(at, _)| *at <= now);
        self.repairs = later;
        due.into_iter().for_each(|(_, repair)| self.repair(repair));
    }

    fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::Bounce(host) => {
                self.note(&format!("bounce {host}"));
                self.sim.bounce(host);
            }
            Repair::Link(one, other) => {
                self.note(&format!("repair {one} and {other}"));
                self.sim.repair(one, other);
            }
            Repair::Release(one, other) => {
                self.note(&format!("release {one} and {other}"));
                self.sim.release(one, other);
            }
            Repair::Speed(one, other) => {
                let usual = Duration::from_millis(5);
                self.sim.set_link_latency(one, other, usual);
            }
        }
    }

    /// Everything works again: the calls of so many clients end, and new ones succeed.
    pub(crate) fn heal(&mut self, clients: usize) {
        self.note("heal");
        let repairs = std::mem::take(&mut self.repairs);
        repairs
            .into_iter()
            .for_each(|(_, repair)| self.repair(repair));
        self.stage.quiet.store(true, Ordering::Relaxed);
        let give_up = self.sim.elapsed() + REST_MAX;
        while self.stage.finished.load(Ordering::Relaxed) < clients {
            if self.sim.elapsed() > give_up {
                let what = "the clients do not come to rest";
                return self.violation(what.into());
            }
            self.step();
        }
    }

    /// A server without callers has nothing left.
    pub(crate) fn assert_released(&mut self, server: &str, control: &Control) {
        let give_up = self.sim.elapsed() + RELEASE_MAX;
        let mut held = None;
        while self.sim.elapsed() < give_up {
            control.send(Command::Report);
            for _ in 0..25 {
                self.step();
            }
            held = control.report();
            if held.as_deref() == Some("") {
                return self.note(&format!("{server} is at rest"));
            }
        }
        self.violation(format!("{server} still holds {held:?}"));
    }
}
