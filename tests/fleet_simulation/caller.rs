//! A host that calls the fleet: by name, with balancing and resilience.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use rpc::discovery::Resolvers;
use rpc::registry::RegistryResolver;
use rpc::resilience::HedgePolicy;
use rpc::transport::Connector;
use rpc::{Channel, Resilience};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::call::Call;
use crate::faults::Stage;
use crate::fleet;
use crate::host::Place;
use crate::ledger::Kind;

/// Time for a client to know a fleet again with which all is well.
const KNOWN_MAX: Duration = Duration::from_secs(20);

/// A ping is sent by a timer, and a broken connection is replaced.
const PING_SLACK: Duration = Duration::from_millis(150);

/// One client, in one life of its host.
pub(crate) struct Caller {
    pub(crate) place: Place,
    pub(crate) stage: Stage,
    /// Where the servers are.
    pub(crate) fleet: Vec<String>,
    pub(crate) rng: Rng,
}

impl Caller {
    /// The software of the host.
    pub(crate) async fn run(mut self) -> turmoil::Result {
        let mut calls = JoinSet::new();
        let mut channel = self.channel();
        while !self.stage.quiet.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..40))).await;
            for _ in 0..self.rng.usize(1..=3) {
                let Place { name, ledger, .. } = &self.place;
                let call = Call::random(&mut self.rng, name, false, ledger);
                calls.spawn(call.make(channel.clone()));
            }
            if self.rng.u32(0..100) == 0 {
                channel = self.channel();
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
        self.show_that_all_is_well(&channel).await;
        drop(channel);
        self.stage.finished.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn channel(&mut self) -> Channel {
        let place = self.place.clone();
        let resolver = RegistryResolver::over(move || fleet::registrar(&place));
        let resolvers = Resolvers::default().with("fleet", resolver);
        let place = self.place.clone();
        let policies = ["p2c", "round_robin", "least_request", "random"];
        let mut builder = self
            .place
            .channel()
            .connectors(move |target| {
                let (host, _port) = target.strip_prefix("tcp://")?.split_once(':')?;
                Some(Arc::new(place.connector(host)) as Arc<dyn Connector>)
            })
            .resolvers(resolvers.expect("the scheme is one"))
            .balancing(policies[self.rng.usize(0..policies.len())]);
        if self.rng.bool() {
            let hedging = HedgePolicy::after(Duration::from_millis(30)).with_share_max(0.5);
            builder = builder.resilience(Resilience::new().with_hedging(hedging));
        }
        builder
            .connect_lazy("fleet://work")
            .expect("the name is one")
    }

    /// The client knows the fleet, and every call succeeds at once.
    async fn show_that_all_is_well(&self, channel: &Channel) {
        let Place { name, ledger, .. } = &self.place;
        let addresses = || {
            let endpoints = channel.stats().endpoints.into_iter();
            endpoints.map(|one| one.address).collect::<Vec<_>>()
        };
        let healed = Instant::now();
        while addresses() != self.fleet && healed.elapsed() <= KNOWN_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (known, took) = (addresses(), healed.elapsed());
        if known != self.fleet {
            return ledger.violation(format!("{name} knows {known:?} after {took:?}"));
        }
        ledger.note(&format!("{name} knows the fleet after {took:?}"));
        // A connection that the storm has broken is found out by the next ping, if nobody calls.
        tokio::time::sleep(crate::PING_EVERY + crate::PING_WAIT + PING_SLACK).await;
        // No uploads: a server may just close a connection for having been idle, and what was taken
        // of a stream cannot be sent again.
        for kind in [Kind::Once, Kind::Again, Kind::Download].repeat(4) {
            let call = Call::easy(kind, false, name, ledger);
            call.succeed(channel.clone()).await;
        }
        for one in channel.stats().endpoints {
            if one.in_flight > 0 {
                ledger.violation(format!("{name}: calls that are over count: {one:?}"));
            }
        }
    }
}
