//! Fleets and registries that come and go as a seed says.
//!
//! Two things hold whatever happens: a server that lives and was listed once stays listed, and when
//! all is quiet the list is that of the servers that live.
//!
//! `REGISTRY_SEEDS=10000 cargo test --release --test registration chaos` runs more seeds than the 50
//! of every run.

use std::collections::BTreeSet;

use fastrand::Rng;
use rpc::discovery::Watch;

use super::fleet;
use super::*;

const SEEDS: u64 = 50;
const EVENTS: usize = 40;
const SERVERS_MAX: usize = 6;
/// The longest time of an entry: when a registry that was restarted is settled.
const SETTLED: Duration = Duration::from_secs(60);

struct World {
    target: String,
    registry: Option<Server>,
    fleet: Vec<Server>,
    watch: Watch,
    /// Addresses that were listed while their servers lived.
    seen: BTreeSet<String>,
    restarts: usize,
}

impl World {
    async fn new() -> Self {
        let target = format!("mem://{}", unique("chaos"));
        let watch = fleet::watch(&target);
        Self {
            target,
            registry: None,
            fleet: Vec::new(),
            watch,
            seen: BTreeSet::new(),
            restarts: 0,
        }
    }

    async fn step(&mut self, random: &mut Rng) {
        match random.u32(0..10) {
            0..=2 if self.fleet.len() < SERVERS_MAX => {
                self.fleet.push(fleet::start(&self.target, "any").await);
            }
            3 if !self.fleet.is_empty() => {
                let server = self.take(random);
                // Watched meanwhile: it takes up to 2 s while the registry is down.
                server.shutdown().await;
            }
            4 if !self.fleet.is_empty() => drop(self.take(random)),
            5 | 6 => match self.registry.take() {
                Some(registry) => drop(registry),
                None => self.start_registry().await,
            },
            7 if self.registry.is_some() => {
                self.registry = None;
                self.start_registry().await;
            }
            _ => {}
        }
        let pause = if random.bool() { 500 } else { 30_000 };
        let pause = Duration::from_millis(random.u64(0..pause));
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.look();
            tokio::time::sleep(pause.min(Duration::from_millis(200))).await;
        }
    }

    fn take(&mut self, random: &mut Rng) -> Server {
        let server = self.fleet.swap_remove(random.usize(..self.fleet.len()));
        self.seen.remove(server.uri());
        server
    }

    async fn start_registry(&mut self) {
        let registry = fleet::registry();
        self.restarts += 1;
        // The name is free when the task of the last one has ended.
        while self.registry.is_none() {
            tokio::task::yield_now().await;
            let builder = Server::builder().add_service(registry.service());
            self.registry = builder.bind(&self.target).await.ok();
        }
    }

    fn listed(&self) -> BTreeSet<String> {
        let snapshot = self.watch.snapshot().unwrap_or_default();
        let addresses = snapshot.endpoints().iter();
        addresses.map(|e| e.address().to_owned()).collect()
    }

    fn living(&self) -> BTreeSet<String> {
        self.fleet
            .iter()
            .map(|server| server.uri().to_owned())
            .collect()
    }

    /// Nobody who lives and was listed is lost.
    fn look(&mut self) {
        let (listed, living) = (self.listed(), self.living());
        let lost: Vec<_> = self.seen.difference(&listed).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        self.seen.extend(listed.intersection(&living).cloned());
    }

    /// The registry is there, and there is time.
    async fn settle(&mut self) {
        if self.registry.is_none() {
            self.start_registry().await;
        }
        if self.fleet.is_empty() {
            // An empty list would not be believed.
            self.fleet.push(fleet::start(&self.target, "last").await);
        }
        tokio::time::sleep(SETTLED + 2 * TTL).await;
        assert_eq!(self.listed(), self.living());
        assert_eq!(self.watch.failure(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn f5_chaos_nobody_who_lives_is_lost_and_the_list_comes_right() {
    let seeds = std::env::var("REGISTRY_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (mut restarts, mut seen) = (0, 0);
    for seed in 0..seeds {
        println!("seed {seed}");
        fastrand::seed(seed);
        let mut random = Rng::with_seed(seed);
        let mut world = World::new().await;
        for _ in 0..EVENTS {
            world.step(&mut random).await;
        }
        seen += world.seen.len();
        restarts += world.restarts;
        world.settle().await;
    }
    assert!(
        restarts as u64 > 2 * seeds && seen as u64 > seeds,
        "{restarts} {seen}"
    );
    println!("{seeds} seeds: {restarts} starts of a registry");
}
