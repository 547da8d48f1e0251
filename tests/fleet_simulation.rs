//! A registry, three servers and their clients in a simulated network that fails as a seed says.
//!
//! Each seed is a schedule of its own: crashes of any host, partitions in both or one direction
//! between clients, servers and the registry, messages held back, links that become slow, drains,
//! and restarts of the registry without its memory. Discovery, registration, balancing and retries
//! are the real ones. Whatever happens, each call ends once, in a way that is allowed, and what is not
//! idempotent runs once at the most. Then the network heals: every client knows the three servers
//! and no others, and all calls succeed.
//!
//! `FLEET_SEEDS=10000 cargo test --test fleet_simulation` runs more seeds than the 20 of every run,
//! `FLEET_SEED=17 cargo test --test fleet_simulation -- --nocapture` one alone, with its trace.

#[path = "fleet_simulation/client.rs"]
mod client;
#[path = "fleet_simulation/hosts.rs"]
mod hosts;
#[path = "fleet_simulation/ledger.rs"]
mod ledger;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::KeepAlive;
use turmoil::Sim;

use client::{Caller, Stage};
use hosts::{Command, Control, Place, REGISTRY, Settings};
use ledger::{Ledger, Tally};
use network::{Plugs, Wiring};
use seeds::{Run, Seeds};

const SEEDS: Seeds = Seeds {
    prefix: "FLEET",
    count: 20,
};

const SERVERS: usize = 3;

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
    settings: Settings,
    clients: Vec<String>,
    servers: Vec<String>,
    plugs: BTreeMap<String, Plugs>,
    /// Of the hosts that serve.
    controls: BTreeMap<String, Control>,
    stage: Stage,
    ledger: Ledger,
    /// Faults that end: when, and what to do.
    repairs: Vec<(Duration, Repair)>,
}

enum Repair {
    Bounce(String),
    Link(String, String),
    Release(String, String),
    Speed(String, String),
}

impl World {
    const TICK: Duration = Duration::from_millis(2);
    /// Simulated time after which a simulation that has not come to rest never will.
    const REST_MAX: Duration = Duration::from_secs(60);

    fn new(seed: u64, ledger: Ledger) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sim = turmoil::Builder::new()
            .rng_seed(rng.u64(..))
            .simulation_duration(Duration::MAX)
            .tick_duration(Self::TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(rng.u64(2..20)))
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        let wiring = Wiring {
            piece_max: *pick(&mut rng, &[60, 100_000]),
            duplicates: rng.u32(0..10),
        };
        let keep_alive = KeepAlive::new(Duration::from_millis(200), Duration::from_millis(150));
        let mut world = Self {
            sim,
            settings: Settings {
                wiring,
                keep_alive,
                grace: Duration::from_millis(rng.u64(1..300)),
            },
            rng,
            clients: Vec::new(),
            servers: Vec::new(),
            plugs: BTreeMap::new(),
            controls: BTreeMap::new(),
            stage: Stage::default(),
            ledger,
            repairs: Vec::new(),
        };
        world.add_hosts();
        world
    }

    fn add_hosts(&mut self) {
        let (place, control) = self.place(REGISTRY.to_owned());
        self.sim.host(REGISTRY, move || {
            hosts::serve(place.clone(), control.clone(), hosts::registry)
        });
        for number in 0..SERVERS {
            let (place, control) = self.place(format!("server-{number}"));
            self.servers.push(place.name.clone());
            self.sim.host(place.name.clone(), move || {
                let own = place.clone();
                hosts::serve(place.clone(), control.clone(), move || hosts::server(&own))
            });
        }
        let fleet: Vec<_> = self
            .servers
            .iter()
            .map(|host| network::target(host))
            .collect();
        for number in 0..self.rng.u32(1..=2) {
            let (place, _) = self.place(format!("client-{number}"));
            self.clients.push(place.name.clone());
            let (stage, fleet) = (self.stage.clone(), fleet.clone());
            let (lives, seed) = (AtomicU64::new(0), self.rng.u64(..));
            self.sim.host(place.name.clone(), move || {
                let life = lives.fetch_add(1, Ordering::Relaxed);
                let caller = Caller {
                    place: place.clone(),
                    stage: stage.clone(),
                    fleet: fleet.clone(),
                    rng: Rng::with_seed(seed ^ life),
                };
                caller.run()
            });
        }
    }

    fn place(&mut self, name: String) -> (Place, Control) {
        let plugs = self.plugs.entry(name.clone()).or_default().clone();
        let control = self.controls.entry(name.clone()).or_default().clone();
        let place = Place {
            name,
            settings: self.settings.clone(),
            plugs,
            ledger: self.ledger.clone(),
        };
        (place, control)
    }

    fn run(mut self) {
        let storm = Duration::from_millis(self.rng.u64(500..4_000));
        let mut next = Duration::from_millis(self.rng.u64(0..500));
        while self.sim.elapsed() < storm {
            if self.sim.elapsed() >= next {
                next = self.sim.elapsed() + Duration::from_millis(self.rng.u64(5..250));
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

    /// Two hosts that talk to each other.
    fn link(&mut self) -> (String, String) {
        let client = pick(&mut self.rng, &self.clients).clone();
        let server = pick(&mut self.rng, &self.servers).clone();
        match self.rng.u32(0..4) {
            0 => (server, REGISTRY.to_owned()),
            1 => (client, REGISTRY.to_owned()),
            _ => (client, server),
        }
    }

    /// One more thing goes wrong.
    fn fault(&mut self) {
        let server = pick(&mut self.rng, &self.servers).clone();
        let client = pick(&mut self.rng, &self.clients).clone();
        let (one, other) = self.link();
        let until = self.sim.elapsed() + Duration::from_millis(self.rng.u64(2..600));
        let pause = Duration::from_millis(self.rng.u64(0..300));
        let kind = self.rng.u32(0..14);
        self.note(&format!(
            "fault {kind} with {server}, {client}, {one} and {other} until {until:?}"
        ));
        match kind {
            0 | 1 => self.crash(server, until),
            2 => self.crash(REGISTRY.to_owned(), until),
            3 => self.crash(client, until),
            4 | 5 => {
                self.sim.partition(&*one, &*other);
                self.repairs.push((until, Repair::Link(one, other)));
            }
            6 => {
                self.sim.partition_oneway(&*one, &*other);
                self.repairs.push((until, Repair::Link(one, other)));
            }
            7 => {
                self.sim.partition_oneway(&*other, &*one);
                self.repairs.push((until, Repair::Link(one, other)));
            }
            8 => {
                self.sim.hold(&*one, &*other);
                self.repairs.push((until, Repair::Release(one, other)));
            }
            9 => {
                let slow = Duration::from_millis(self.rng.u64(20..200));
                self.sim.set_link_latency(&*one, &*other, slow);
                self.repairs.push((until, Repair::Speed(one, other)));
            }
            10 | 11 => self.controls[&server].send(Command::Shutdown { pause }),
            12 => self.controls[&server].send(Command::Drop { pause }),
            _ => self.controls[REGISTRY].send(Command::Shutdown { pause }),
        }
    }

    fn crash(&mut self, host: String, until: Duration) {
        if self.sim.is_host_running(&*host) {
            let plugs = &self.plugs[&host];
            plugs.set_crashing(true);
            self.sim.crash(&*host);
            plugs.set_crashing(false);
            self.repairs.push((until, Repair::Bounce(host)));
        }
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

    /// Everything works again.
    fn heal(&mut self) {
        self.note("heal");
        let repairs = std::mem::take(&mut self.repairs);
        repairs
            .into_iter()
            .for_each(|(_, repair)| self.repair(repair));
        self.stage.quiet.store(true, Ordering::Relaxed);
    }

    /// The calls end, new ones succeed.
    fn come_to_rest(&mut self) {
        let give_up = self.sim.elapsed() + Self::REST_MAX;
        while self.stage.finished.load(Ordering::Relaxed) < self.clients.len() {
            if self.sim.elapsed() > give_up {
                let what = "the clients do not come to rest";
                return self.ledger.violation(what.into());
            }
            self.step();
        }
    }

    /// The servers have nothing left.
    fn report(&mut self) {
        for server in self.servers.clone() {
            let give_up = self.sim.elapsed() + Duration::from_secs(3);
            let mut held = None;
            while self.sim.elapsed() < give_up && held.as_deref() != Some("") {
                self.controls[&server].send(Command::Report);
                for _ in 0..25 {
                    self.step();
                }
                held = self.controls[&server].report();
            }
            if held.as_deref() != Some("") {
                let what = format!("{server} still holds {held:?}");
                self.ledger.violation(what);
            }
        }
        self.note("at rest");
    }
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(0..of.len())]
}
