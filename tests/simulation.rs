//! Clients and a server in a simulated network that fails as a seed says.
//!
//! Each seed is a schedule of its own: crashes of the server and of clients, partitions in both or
//! one direction, messages held back, links that become slow, streams opened for nothing, writes
//! cut anywhere, shutdowns and restarts of the server; and calls of every kind, with and without
//! deadline, given up, in line for room, waiting for a server, with streams either way. Then the network heals, and all has
//! to be as if nothing had happened.
//!
//! `SIMULATION_SEEDS=10000 cargo test --test simulation` runs more seeds than the 40 of every run,
//! `SIMULATION_SEED=17 cargo test --test simulation -- --nocapture` one alone, with its trace.

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/parts.rs"]
mod parts;
#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::KeepAlive;
use turmoil::Sim;

use client::{Caller, Stage};
use ledger::{Ledger, Tally};
use network::{Plugs, Wiring};
use seeds::{Run, Seeds};
use server::{Command, Control};

/// The host that serves.
const SERVER: &str = "server";

const SEEDS: Seeds = Seeds {
    prefix: "SIMULATION",
    count: 40,
};

#[test]
fn the_first_quarter_of_the_seeds() {
    SEEDS.run_part(0, run);
}

#[test]
fn the_second_quarter_of_the_seeds() {
    SEEDS.run_part(1, run);
}

#[test]
fn the_third_quarter_of_the_seeds() {
    SEEDS.run_part(2, run);
}

#[test]
fn the_last_quarter_of_the_seeds() {
    SEEDS.run_part(3, run);
}

impl seeds::Tally for Tally {
    fn add(&mut self, other: Self) {
        self.add_all(other);
    }

    fn assert_eventful(&self) {
        assert!(self.replies > self.calls / 10, "{self:?}");
        let rare = [
            self.unavailable,
            self.not_processed,
            self.deadline_exceeded,
            self.given_up,
            self.died,
            self.executed_again,
            self.streamed,
            self.torn,
        ];
        assert!(rare.iter().all(|count| *count > 0), "{self:?}");
    }
}

/// Runs one seed to its end.
fn run(seed: u64) -> Run<Tally> {
    fastrand::seed(seed);
    let ledger = Ledger::default();
    World::new(seed, ledger.clone()).run();
    Run {
        tally: ledger.audit(),
        trace: ledger.trace(),
        violations: ledger.violations(),
    }
}

/// A network, its hosts, and what goes wrong with them.
struct World {
    sim: Sim<'static>,
    rng: Rng,
    clients: Vec<String>,
    hosts: BTreeMap<String, Plugs>,
    control: Control,
    stage: Stage,
    ledger: Ledger,
    /// Faults that end: when, and what to do.
    repairs: Vec<(Duration, Repair)>,
}

enum Repair {
    Bounce(String),
    Link(String),
    Release(String),
    Speed(String),
}

impl World {
    const TICK: Duration = Duration::from_millis(2);
    /// Simulated time after which a simulation that has not come to rest never will.
    const REST_MAX: Duration = Duration::from_secs(60);

    fn new(seed: u64, ledger: Ledger) -> Self {
        let mut rng = Rng::with_seed(seed);
        let latency_max = Duration::from_millis(rng.u64(2..40));
        let mut sim = turmoil::Builder::new()
            .rng_seed(rng.u64(..))
            .simulation_duration(Duration::MAX)
            .tick_duration(Self::TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(latency_max)
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        let wiring = Wiring {
            piece_max: *pick(&mut rng, &[7, 60, 100_000]),
            duplicates: rng.u32(0..30),
        };
        let keep_alive = KeepAlive::new(Duration::from_millis(200), Duration::from_millis(150));
        let keep_alive = if rng.bool() {
            keep_alive.when_idle()
        } else {
            keep_alive
        };
        let calls_max = *pick(&mut rng, &[1, 2, 5, 1024]);
        let (control, stage) = (Control::default(), Stage::default());
        let settings = server::Settings {
            wiring,
            calls_per_connection_max: calls_max,
            calls_max: *pick(&mut rng, &[4, 10_000, 10_000]),
            grace: Duration::from_millis(rng.u64(1..200)),
            keep_alive,
        };
        let mut hosts = BTreeMap::<String, Plugs>::new();
        sim.host(SERVER, {
            let (plugs, control) = (
                hosts.entry(SERVER.to_owned()).or_default().clone(),
                control.clone(),
            );
            let ledger = ledger.clone();
            move || server::serve(settings, plugs.clone(), control.clone(), ledger.clone())
        });
        let mut clients = Vec::new();
        let count = rng.u32(1..=3);
        let client = client::Settings {
            wiring,
            keep_alive,
            clients: count as usize,
            crowd: calls_max.min(4 / count),
            pace: rng.u64(2..40),
        };
        for number in 0..count {
            let name = format!("client-{number}");
            let settings = client.clone();
            let plugs = hosts.entry(name.clone()).or_default().clone();
            let (lives, seed) = (AtomicU64::new(0), rng.u64(..));
            sim.host(name.as_str(), {
                let (name, ledger, stage) = (name.clone(), ledger.clone(), stage.clone());
                move || {
                    let life = lives.fetch_add(1, Ordering::Relaxed);
                    let caller = Caller {
                        name: format!("{name}.{life}"),
                        settings: settings.clone(),
                        plugs: plugs.clone(),
                        stage: stage.clone(),
                        ledger: ledger.clone(),
                        rng: Rng::with_seed(seed ^ life),
                    };
                    caller.run()
                }
            });
            clients.push(name);
        }
        Self {
            sim,
            rng,
            clients,
            hosts,
            control,
            stage,
            ledger,
            repairs: Vec::new(),
        }
    }

    fn run(mut self) {
        let storm = Duration::from_millis(self.rng.u64(300..1500));
        let mut next = Duration::ZERO;
        while self.sim.elapsed() < storm {
            if self.sim.elapsed() >= next {
                next = self.sim.elapsed() + Duration::from_millis(self.rng.u64(5..200));
                self.fault();
            }
            self.repair_what_is_due();
            self.step();
        }
        self.heal();
        self.come_to_rest();
        self.report();
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("a host failed: {error}");
        }
    }

    fn note(&self, what: &str) {
        let at = self.sim.elapsed().as_millis();
        self.ledger.note(&format!("{at}: {what}"));
    }

    /// One more thing goes wrong.
    fn fault(&mut self) {
        let client = pick(&mut self.rng, &self.clients).clone();
        let until = self.sim.elapsed() + Duration::from_millis(self.rng.u64(2..400));
        let pause = Duration::from_millis(self.rng.u64(0..150));
        let kind = self.rng.u32(0..10);
        self.note(&format!("fault {kind} with {client} until {until:?}"));
        match kind {
            0 => self.crash(SERVER.to_owned(), until),
            1 => self.crash(client, until),
            2 => {
                self.sim.partition(client.as_str(), SERVER);
                self.repairs.push((until, Repair::Link(client)));
            }
            3 => {
                self.sim.partition_oneway(client.as_str(), SERVER);
                self.repairs.push((until, Repair::Link(client)));
            }
            4 => {
                self.sim.partition_oneway(SERVER, client.as_str());
                self.repairs.push((until, Repair::Link(client)));
            }
            5 => {
                self.sim.hold(client.as_str(), SERVER);
                self.repairs.push((until, Repair::Release(client)));
            }
            6 => {
                let slow = Duration::from_millis(self.rng.u64(20..200));
                self.sim.set_link_latency(client.as_str(), SERVER, slow);
                self.repairs.push((until, Repair::Speed(client)));
            }
            7 | 8 => self.control.send(Command::Shutdown { pause }),
            _ => self.control.send(Command::Drop { pause }),
        }
    }

    fn crash(&mut self, host: String, until: Duration) {
        if self.sim.is_host_running(host.as_str()) {
            let plugs = &self.hosts[&host];
            plugs.set_crashing(true);
            self.sim.crash(host.as_str());
            plugs.set_crashing(false);
            self.repairs.push((until, Repair::Bounce(host)));
        }
    }

    fn repair_what_is_due(&mut self) {
        let now = self.sim.elapsed();
        let (due, later) = std::mem::take(&mut self.repairs)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.repairs = later;
        let due: Vec<_> = due;
        due.into_iter().for_each(|(_, repair)| self.repair(repair));
    }

    fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::Bounce(host) => {
                self.note(&format!("bounce {host}"));
                self.sim.bounce(host);
            }
            Repair::Link(client) => {
                self.note(&format!("repair {client}"));
                self.sim.repair(client, SERVER);
            }
            Repair::Release(client) => {
                self.note(&format!("release {client}"));
                self.sim.release(client, SERVER);
            }
            Repair::Speed(client) => {
                let link = Duration::from_millis(5);
                self.sim.set_link_latency(client, SERVER, link);
            }
        }
    }

    /// Everything works again.
    fn heal(&mut self) {
        self.note("heal");
        let repairs = std::mem::take(&mut self.repairs);
        repairs
            .into_iter()
            .for_each(|(_, repair)| self.repair(repair));
        for client in self.clients.clone() {
            self.sim.release(client, SERVER);
        }
        self.stage.quiet.store(true, Ordering::Relaxed);
    }

    /// The calls end, new ones succeed.
    fn come_to_rest(&mut self) {
        let give_up = self.sim.elapsed() + Self::REST_MAX;
        while self.stage.finished.load(Ordering::Relaxed) < self.clients.len() {
            if self.sim.elapsed() > give_up {
                return self
                    .ledger
                    .violation("the clients do not come to rest".into());
            }
            self.step();
        }
    }

    /// The server has nothing left.
    fn report(&mut self) {
        let give_up = self.sim.elapsed() + Duration::from_secs(3);
        let mut held = None;
        while self.sim.elapsed() < give_up {
            self.control.send(Command::Report);
            for _ in 0..25 {
                self.step();
            }
            held = self.control.report();
            if held.as_deref() == Some("") {
                return self.note("at rest");
            }
        }
        self.ledger
            .violation(format!("the server still holds {held:?}"));
    }
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(0..of.len())]
}
