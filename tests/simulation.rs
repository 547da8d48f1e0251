//! Clients and a server in a simulated network that fails as a seed says.
//!
//! Each seed is a schedule of its own: crashes of the server and of clients, partitions in both or
//! one direction, messages held back, links that become slow, streams opened for nothing, writes
//! cut anywhere, shutdowns and restarts of the server; and calls of every kind, with and without
//! deadline, given up, in line for room, waiting for a server, with streams either way. Then the network heals, and all has
//! to be as if nothing had happened.
//!
//! `SIMULATION_SEEDS=10000 cargo test --profile simulation --test simulation` runs more seeds than the
//! 40 of every run, `SIMULATION_SEED=17 cargo test --test simulation -- --nocapture` one alone, with
//! its trace.

#[path = "simulation/call.rs"]
mod call;
#[path = "simulation/caller.rs"]
mod caller;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/parts.rs"]
mod parts;
#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/work.rs"]
mod work;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::{KeepAlive, Server, ServerBuilder};

use caller::{Caller, Crowd};
use faults::Faults;
use host::{Command, Control, Place, Settings};
use ledger::{Ledger, Rules, Terms};
use network::Wiring;
use seeds::{Run, Seeds};
use work::{WorkServer, Worker};

/// The host that serves.
const SERVER: &str = "server";

const SEEDS: Seeds = Seeds {
    prefix: "SIMULATION",
    count: 40,
    run,
};

const RULES: Rules = Rules {
    executions_max,
    server_may_be_full: true,
};

/// A call is sent again once, if it may be; one that waits for a server as often as it takes.
fn executions_max(terms: Terms) -> u32 {
    if terms.wait_for_ready { u32::MAX } else { 2 }
}

#[test]
fn the_first_quarter_of_the_seeds() {
    SEEDS.run_part(0);
}

#[test]
fn the_second_quarter_of_the_seeds() {
    SEEDS.run_part(1);
}

#[test]
fn the_third_quarter_of_the_seeds() {
    SEEDS.run_part(2);
}

#[test]
fn the_last_quarter_of_the_seeds() {
    SEEDS.run_part(3);
}

/// Runs one seed to its end.
fn run(seed: u64) -> Run {
    fastrand::seed(seed);
    let ledger = Ledger::new(RULES);
    World::new(seed, ledger.clone()).run();
    Run {
        tally: ledger.audit(),
        trace: ledger.trace(),
        violations: ledger.violations(),
    }
}

/// A network with one server.
struct World {
    network: Faults,
    clients: Vec<String>,
    control: Control,
}

/// What a server takes.
#[derive(Clone, Copy, Debug)]
struct Room {
    calls_per_connection_max: u32,
    calls_max: usize,
}

impl World {
    fn new(seed: u64, ledger: Ledger) -> Self {
        let mut network = Faults::new(seed, 2..40, ledger);
        let wiring = Wiring {
            piece_max: network.pick(&[7, 60, 100_000]),
            duplicates: network.rng.u32(0..30),
        };
        let keep_alive = KeepAlive::new(Duration::from_millis(200), Duration::from_millis(150));
        let keep_alive = match network.rng.bool() {
            true => keep_alive.when_idle(),
            false => keep_alive,
        };
        let settings = Settings {
            wiring,
            keep_alive,
            grace: Duration::from_millis(network.rng.u64(1..200)),
            idle: Duration::from_millis(400),
        };
        let room = Room {
            calls_per_connection_max: network.pick(&[1, 2, 5, 1024]),
            calls_max: network.pick(&[4, 10_000, 10_000]),
        };
        let mut world = Self {
            network,
            clients: Vec::new(),
            control: Control::default(),
        };
        world.add_server(settings, room);
        world.add_clients(settings, room);
        world
    }

    fn place(&mut self, name: String, settings: Settings) -> Place {
        Place {
            plugs: self.network.plugs(&name),
            ledger: self.network.ledger.clone(),
            name,
            settings,
        }
    }

    fn add_server(&mut self, settings: Settings, room: Room) {
        let place = self.place(SERVER.to_owned(), settings);
        let control = self.control.clone();
        self.network.sim.host(SERVER, move || {
            let builder = move |place: &Place| server(place, room);
            host::serve(place.clone(), control.clone(), builder)
        });
    }

    fn add_clients(&mut self, settings: Settings, room: Room) {
        let count = self.network.rng.u32(1..=3);
        let crowd = Crowd {
            clients: count as usize,
            resting: Default::default(),
            calls: room.calls_per_connection_max.min(4 / count),
            pause_max: self.network.rng.u64(2..40),
        };
        for number in 0..count {
            let place = self.place(format!("client-{number}"), settings);
            self.clients.push(place.name.clone());
            let (crowd, stage) = (crowd.clone(), self.network.stage.clone());
            let (lives, seed) = (AtomicU64::new(0), self.network.rng.u64(..));
            self.network.sim.host(place.name.clone(), move || {
                let life = lives.fetch_add(1, Ordering::Relaxed);
                let caller = Caller {
                    place: place.clone(),
                    crowd: crowd.clone(),
                    stage: stage.clone(),
                    rng: Rng::with_seed(seed ^ life),
                };
                caller.run()
            });
        }
    }

    fn run(self) {
        let Self {
            mut network,
            clients,
            control,
        } = self;
        network.storm(300..1_500, 5..200, |network| {
            let client = network.pick(&clients);
            fault(network, client, &control);
        });
        network.heal(clients.len());
        network.assert_released(SERVER, &control);
    }
}

fn server(place: &Place, room: Room) -> ServerBuilder {
    let worker = Worker {
        host: place.name.clone(),
        ledger: place.ledger.clone(),
    };
    Server::builder()
        .add_service(WorkServer::new(worker))
        .calls_per_connection_max(room.calls_per_connection_max)
        .calls_max(room.calls_max)
}

/// One more thing goes wrong.
fn fault(network: &mut Faults, client: String, control: &Control) {
    let until = network.soon(2..400);
    let pause = Duration::from_millis(network.rng.u64(0..150));
    let kind = network.rng.u32(0..10);
    network.note(&format!("fault {kind} with {client} until {until:?}"));
    let server = SERVER.to_owned();
    match kind {
        0 => network.crash(server, until),
        1 => network.crash(client, until),
        2 => network.partition(client, server, until),
        3 => network.partition_oneway(client, server, until),
        4 => network.partition_oneway(server, client, until),
        5 => network.hold(client, server, until),
        6 => network.slow_down(client, server, until),
        7 | 8 => control.send(Command::Shutdown { pause }),
        _ => control.send(Command::Drop { pause }),
    }
}
