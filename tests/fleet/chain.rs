//! F15: services that call services, and a failure at the end of the chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rpc::resilience::{BudgetPolicy, HedgePolicy, RetryPolicy};
use rpc::{Channel, Resilience, Server, Status};

use super::*;
use crate::common::unique;

#[rpc::service]
trait Hop {
    /// Calls the next hop; the last one does what it was told.
    #[rpc(idempotent)]
    async fn go(&self) -> rpc::Result<()>;
}

struct Station {
    next: Option<HopClient>,
    calls: Arc<AtomicU64>,
    /// How the last one answers: after so long, and well or not.
    delay: Duration,
    fails: bool,
}

impl Hop for Station {
    async fn go(&self) -> rpc::Result<()> {
        self.calls.fetch_add(1, SeqCst);
        if let Some(next) = &self.next {
            return next.go().await;
        }
        tokio::time::sleep(self.delay).await;
        match self.fails {
            true => Err(Status::unavailable("down")),
            false => Ok(()),
        }
    }
}

/// Services in a row, three servers each.
struct Chain {
    first: HopClient,
    /// Calls that each hop has had.
    calls: Vec<Arc<AtomicU64>>,
    _servers: Vec<Server>,
}

impl Chain {
    async fn start(hops: usize, delay: Duration, fails: bool, resilience: &Resilience) -> Self {
        let (mut next, mut calls, mut servers) = (None, Vec::new(), Vec::new());
        for _ in 0..hops {
            let counted = Arc::<AtomicU64>::default();
            let mut places = Vec::new();
            for _ in 0..3 {
                let station = Station {
                    next: next.clone(),
                    calls: counted.clone(),
                    delay,
                    fails,
                };
                let place = format!("mem://{}", unique("hop"));
                let builder = Server::builder().add_service(HopServer::new(station));
                servers.push(builder.bind(&place).await.unwrap());
                places.push(rpc::discovery::Endpoint::new(place).unwrap());
            }
            let list = rpc::discovery::StaticList::new(places);
            let resolvers = rpc::discovery::Resolvers::default().with("hop", list);
            let channel = Channel::builder()
                .resolvers(resolvers.unwrap())
                .resilience(resilience.clone())
                // Everybody is called however often they fail.
                .outliers(None)
                .retry_budget(BudgetPolicy::default().with_reserve_per_second(0.0));
            next = Some(HopClient::new(channel.connect_lazy("hop://next").unwrap()));
            calls.insert(0, counted);
        }
        Self {
            first: next.unwrap(),
            calls,
            _servers: servers,
        }
    }

    fn calls(&self) -> Vec<u64> {
        self.calls.iter().map(|hop| hop.load(SeqCst)).collect()
    }
}

/// F15: at the leaf of three hops there are a tenth more attempts than calls, not a tenth of a tenth
/// of a tenth more, let alone four times four times four.
#[tokio::test(start_paused = true)]
async fn f15_attempts_do_not_multiply_over_three_hops() {
    const CALLS: u64 = 10_000;
    let retry = RetryPolicy::default().with_attempts_max(4);
    let resilience = Resilience::new().with_retry(retry);
    let chain = Chain::start(3, Duration::ZERO, true, &resilience).await;
    for _ in 0..CALLS {
        assert!(chain.first.go().await.is_err());
        tokio::time::sleep(millis(3)).await;
    }
    let hops = chain.calls();
    println!("F15: {hops:?} attempts at three hops for {CALLS} calls");
    let per_hop = [CALLS, hops[0], hops[1]].into_iter().zip(&hops);
    for (calls, attempts) in per_hop {
        assert!(*attempts as f64 <= 1.1 * calls as f64, "{hops:?}");
    }
    assert!(hops[2] > CALLS && hops[2] as f64 <= 1.2 * CALLS as f64);
    assert_eq!(hops[..2], [CALLS, CALLS], "only the last hop tries again");
}

/// F15: when all calls are late, hedges are five of a hundred.
#[tokio::test(start_paused = true)]
async fn f15_hedges_are_five_percent_when_all_are_late() {
    const CALLS: u64 = 32_000;
    const CALLERS: u64 = 64;
    let hedging = HedgePolicy::after(millis(10));
    let resilience = Resilience::new().with_hedging(hedging);
    let chain = Chain::start(1, millis(50), false, &resilience).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let client = chain.first.clone();
        callers.spawn(async move {
            for _ in 0..CALLS / CALLERS {
                client.go().await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let hedges = chain.calls()[0] - CALLS;
    println!("F15: {hedges} hedges of {CALLS} calls");
    assert_eq!(hedges, chain.first.channel().stats().hedges);
    assert!(hedges > 0 && hedges as f64 <= 0.051 * CALLS as f64);
}
