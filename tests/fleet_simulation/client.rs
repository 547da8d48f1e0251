//! A host that calls the fleet: by name, with balancing and resilience.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::discovery::Resolvers;
use rpc::registry::RegistryResolver;
use rpc::resilience::HedgePolicy;
use rpc::transport::Connector;
use rpc::{CallOptions, Channel, Code, Resilience, Status};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hosts::{Place, Work, WorkClient};
use crate::ledger::{Kind, Ledger, Outcome, Terms};

/// Time for a client to know a fleet again with which all is well.
const KNOWN_MAX: Duration = Duration::from_secs(20);

/// The way between the schedule and the clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// No new faults: finish, and show that all is well.
    pub(crate) quiet: Arc<AtomicBool>,
    /// Clients that have shown it.
    pub(crate) finished: Arc<AtomicUsize>,
}

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
                let call = self.plan();
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
        let resolver = RegistryResolver::over(move || place.registrar());
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

    fn plan(&mut self) -> Call {
        let rng = &mut self.rng;
        let kind = match rng.u32(0..10) {
            0..5 => Kind::Once,
            5..8 => Kind::Again,
            _ => Kind::Stream,
        };
        let timeout = (rng.u32(0..10) < 6).then(|| Duration::from_millis(rng.u64(1..600)));
        let terms = Terms {
            kind,
            timeout,
            wait_for_ready: rng.bool(),
        };
        let cancel = (rng.u32(0..5) == 0).then(|| Duration::from_millis(rng.u64(0..60)));
        let work = match rng.u32(0..3) {
            0 => 0,
            1 => rng.u64(1..20),
            _ => rng.u64(1..150),
        };
        self.call(terms, cancel, work)
    }

    fn call(&self, terms: Terms, cancel: Option<Duration>, work: u64) -> Call {
        Call {
            nonce: self.place.ledger.begin(&self.place.name, terms),
            ledger: self.place.ledger.clone(),
            terms,
            cancel,
            work,
        }
    }

    /// The client knows the fleet, and every call succeeds at once.
    async fn show_that_all_is_well(&self, channel: &Channel) {
        let addresses = || {
            let endpoints = channel.stats().endpoints.into_iter();
            endpoints.map(|one| one.address).collect::<Vec<_>>()
        };
        let healed = Instant::now();
        while addresses() != self.fleet && healed.elapsed() <= KNOWN_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (name, known, took) = (&self.place.name, addresses(), healed.elapsed());
        if known != self.fleet {
            let what = format!("{name} knows {known:?} after {took:?}");
            return self.place.ledger.violation(what);
        }
        self.place
            .ledger
            .note(&format!("{name} knows the fleet after {took:?}"));
        for kind in [Kind::Once, Kind::Again, Kind::Stream].repeat(4) {
            let terms = Terms {
                kind,
                timeout: Some(Duration::from_secs(5)),
                wait_for_ready: false,
            };
            let call = self.call(terms, None, 5);
            let outcome = call.send(channel).await;
            if !matches!(outcome, Outcome::Reply(_)) {
                let what = format!("all is quiet, and {} fails: {outcome:?}", call.nonce);
                self.place.ledger.violation(what);
            }
            self.place.ledger.end(call.nonce, Duration::ZERO, outcome);
        }
        for one in channel.stats().endpoints {
            if one.in_flight > 0 {
                let what = format!("{name}: calls that are over count: {one:?}");
                self.place.ledger.violation(what);
            }
        }
    }
}

/// One call that is about to be made.
struct Call {
    nonce: u64,
    ledger: Ledger,
    terms: Terms,
    cancel: Option<Duration>,
    /// Milliseconds, or items.
    work: u64,
}

/// Takes down the end of a call, also if it ends with its host.
struct Ending {
    ledger: Ledger,
    nonce: u64,
    begun: Instant,
    ended: bool,
}

impl Ending {
    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.ledger.end(self.nonce, self.begun.elapsed(), outcome);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.ended {
            self.ledger.end(self.nonce, Duration::ZERO, Outcome::Died);
        }
    }
}

impl Call {
    async fn make(self, channel: Channel) {
        let mut ending = Ending {
            ledger: self.ledger.clone(),
            nonce: self.nonce,
            begun: Instant::now(),
            ended: false,
        };
        let send = self.send(&channel);
        let outcome = match self.cancel {
            Some(cancel) => tokio::time::timeout(cancel, send)
                .await
                .unwrap_or(Outcome::GivenUp),
            None => send.await,
        };
        ending.end(outcome);
    }

    async fn send(&self, channel: &Channel) -> Outcome {
        let mut options = CallOptions::new().with_wait_for_ready(self.terms.wait_for_ready);
        if let Some(timeout) = self.terms.timeout {
            options = options.with_timeout(timeout);
        }
        let client = WorkClient::new(channel.with_options(options));
        let (nonce, work) = (self.nonce, self.work);
        let replied = match self.terms.kind {
            Kind::Once => client.once(nonce, work).await,
            Kind::Again => client.again(nonce, work).await,
            Kind::Stream => self.stream(&client).await,
        };
        match replied {
            Ok(nonce) => Outcome::Reply(nonce),
            Err(status) => Outcome::Failed(status),
        }
    }

    /// Each item is right, and all are there if no error says otherwise.
    async fn stream(&self, client: &WorkClient) -> Result<u64, Status> {
        let mut items = client.repeat(self.nonce, self.work).await?;
        let mut count = 0;
        while let Some(item) = items.next().await {
            if item? != self.nonce {
                return Err(Status::new(Code::DataLoss, "an item of another call"));
            }
            count += 1;
        }
        if count != self.work {
            let text = format!("{count} items instead of {}", self.work);
            return Err(Status::new(Code::DataLoss, text));
        }
        Ok(self.nonce)
    }
}
