//! A registry, three servers and their clients in a simulated network that fails as a seed says.
//!
//! Each seed is a schedule of its own: crashes of any host, partitions in both or one direction
//! between clients, servers and the registry, messages held back, links that become slow, drains,
//! and restarts of the registry without its memory. Discovery, registration, balancing and retries
//! are the real ones. Whatever happens, each call ends once, in a way that is allowed, and what is not
//! idempotent runs once at the most. Then the network heals: every client knows the three servers
//! and no others, and all calls succeed.
//!
//! `FLEET_SEEDS=10000 cargo test --profile simulation --test fleet_simulation` runs more seeds than the
//! 20 of every run, `FLEET_SEED=17 cargo test --test fleet_simulation -- --nocapture` one alone, with
//! its trace.

#[path = "simulation/call.rs"]
mod call;
#[path = "fleet_simulation/caller.rs"]
mod caller;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "fleet_simulation/fleet.rs"]
mod fleet;
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
use rpc::{KeepAlive, ServerBuilder};

use caller::Caller;
use faults::Faults;
use fleet::REGISTRY;
use host::{Command, Control, Place, Settings};
use ledger::{Ledger, Rules};
use network::Wiring;
use seeds::{Run, Seeds};

const SEEDS: Seeds = Seeds {
    prefix: "FLEET",
    count: 20,
    run,
};

const RULES: Rules = Rules {
    // Three attempts, and a hedge.
    executions_max: |_| 4,
    server_may_be_full: false,
};

const SERVERS: usize = 3;

/// How long a connection may be silent, and how long a ping may then be unanswered.
const PING_EVERY: Duration = Duration::from_millis(200);
const PING_WAIT: Duration = Duration::from_millis(150);

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

/// A network with a fleet.
struct World {
    network: Faults,
    settings: Settings,
    clients: Vec<String>,
    servers: Vec<(String, Control)>,
    registry: Control,
}

impl World {
    fn new(seed: u64, ledger: Ledger) -> Self {
        let mut network = Faults::new(seed, 2..20, ledger);
        let wiring = Wiring {
            piece_max: network.pick(&[60, 100_000]),
            duplicates: network.rng.u32(0..10),
        };
        let settings = Settings {
            wiring,
            keep_alive: KeepAlive::new(PING_EVERY, PING_WAIT).when_idle(),
            grace: Duration::from_millis(network.rng.u64(1..300)),
            idle: Duration::from_secs(1),
        };
        let mut world = Self {
            network,
            settings,
            clients: Vec::new(),
            servers: Vec::new(),
            registry: Control::default(),
        };
        world.registry = world.add_server(REGISTRY, fleet::registry);
        for number in 0..SERVERS {
            let name = format!("server-{number}");
            let control = world.add_server(&name, fleet::server);
            world.servers.push((name, control));
        }
        world.add_clients();
        world
    }

    fn place(&mut self, name: &str) -> Place {
        Place {
            name: name.to_owned(),
            settings: self.settings,
            plugs: self.network.plugs(name),
            ledger: self.network.ledger.clone(),
        }
    }

    fn add_server(&mut self, name: &str, builder: fn(&Place) -> ServerBuilder) -> Control {
        let (place, control) = (self.place(name), Control::default());
        let heard = control.clone();
        self.network.sim.host(name, move || {
            host::serve(place.clone(), heard.clone(), builder)
        });
        control
    }

    fn add_clients(&mut self) {
        let hosts = self.servers.iter();
        let fleet: Vec<_> = hosts.map(|(host, _)| network::target(host)).collect();
        for number in 0..self.network.rng.u32(1..=2) {
            let place = self.place(&format!("client-{number}"));
            self.clients.push(place.name.clone());
            let (stage, fleet) = (self.network.stage.clone(), fleet.clone());
            let (lives, seed) = (AtomicU64::new(0), self.network.rng.u64(..));
            self.network.sim.host(place.name.clone(), move || {
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

    fn run(self) {
        let Self {
            mut network,
            clients,
            servers,
            registry,
            ..
        } = self;
        network.storm(500..4_000, 5..250, |network| {
            let (client, server) = (network.pick(&clients), network.pick(&servers));
            fault(network, client, server, &registry);
        });
        network.heal(clients.len());
        for (server, control) in &servers {
            network.assert_released(server, control);
        }
    }
}

/// One more thing goes wrong.
fn fault(
    network: &mut Faults,
    client: String,
    (server, control): (String, Control),
    registry: &Control,
) {
    let until = network.soon(2..600);
    let pause = Duration::from_millis(network.rng.u64(0..300));
    // Two hosts that talk to each other.
    let (one, other) = match network.rng.u32(0..4) {
        0 => (server.clone(), REGISTRY.to_owned()),
        1 => (client.clone(), REGISTRY.to_owned()),
        _ => (client.clone(), server.clone()),
    };
    let kind = network.rng.u32(0..14);
    network.note(&format!(
        "fault {kind} with {server}, {client}, {one} and {other} until {until:?}"
    ));
    match kind {
        0 | 1 => network.crash(server, until),
        2 => network.crash(REGISTRY.to_owned(), until),
        3 => network.crash(client, until),
        4 | 5 => network.partition(one, other, until),
        6 => network.partition_oneway(one, other, until),
        7 => network.partition_oneway(other, one, until),
        8 => network.hold(one, other, until),
        9 => network.slow_down(one, other, until),
        10 | 11 => control.send(Command::Shutdown { pause }),
        12 => control.send(Command::Drop { pause }),
        _ => registry.send(Command::Shutdown { pause }),
    }
}
