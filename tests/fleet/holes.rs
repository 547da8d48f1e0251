//! F3: a server that cannot be reached, cannot answer, or is thrown off, for twenty seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rpc::resilience::HedgePolicy;
use rpc::transport::Connector;
use rpc::{Channel, ChannelBuilder, Resilience};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::roads::{Passes, Road};
use super::*;

const CALLERS: u64 = 16;
/// Between the calls of one caller.
const PACE: Duration = millis(40);
const TIMEOUT: Duration = millis(500);
const HOLE: Duration = seconds(20);

/// Three servers, and a road to each.
struct Roads {
    crew: Crew,
    roads: Vec<Road>,
}

impl Roads {
    fn new() -> Self {
        let mut crew = Crew::listed(3);
        let roads: Vec<_> = (0..3).map(|_| Road::open()).collect();
        for (number, road) in roads.iter().enumerate() {
            crew.mood(number).delay.store(1, SeqCst);
            crew.start_at(number, road.clone());
        }
        Self { crew, roads }
    }

    fn client(&self, builder: ChannelBuilder) -> GreeterClient {
        let places = (0..3).map(|number| self.crew.address(number).to_owned());
        let roads: Vec<_> = places.zip(self.roads.iter().cloned()).collect();
        let connectors = move |target: &str| {
            let (_, road) = roads.iter().find(|(place, _)| place == target)?;
            Some(Arc::new(road.clone()) as Arc<dyn Connector>)
        };
        let options = rpc::CallOptions::new().with_timeout(TIMEOUT);
        self.crew
            .client_of(builder.connectors(connectors).options(options))
    }
}

/// When each call ended, and how.
struct Load {
    callers: JoinSet<Vec<(Instant, Option<rpc::Status>)>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(client: &GreeterClient, idempotent: bool) -> Self {
        let (mut callers, stop) = (JoinSet::new(), Arc::<AtomicBool>::default());
        for caller in 0..CALLERS {
            let (client, stop) = (client.clone(), stop.clone());
            callers.spawn(async move {
                let mut ended = Vec::new();
                while !stop.load(SeqCst) {
                    let nonce = ended.len() as u64 * CALLERS + caller;
                    let began = Instant::now();
                    let answer = match idempotent {
                        true => client.lookup(nonce).await,
                        false => client.hello(nonce).await,
                    };
                    let took = began.elapsed();
                    assert!(took <= TIMEOUT + millis(50), "{took:?}");
                    ended.push((Instant::now(), answer.err()));
                    tokio::time::sleep(PACE).await;
                }
                ended
            });
        }
        Self { callers, stop }
    }

    async fn end(self) -> Vec<(Instant, Option<rpc::Status>)> {
        self.stop.store(true, SeqCst);
        self.callers.join_all().await.concat()
    }
}

#[derive(Debug)]
struct Figures {
    calls: usize,
    /// Calls that failed in the first three seconds of the hole, and after.
    failed_early: usize,
    failed_late: usize,
    /// How long after the hole the server was called again.
    back: Duration,
}

async fn measure(roads: &Roads, client: &GreeterClient, kind: Passes, idempotent: bool) -> Figures {
    let load = Load::start(client, idempotent);
    tokio::time::sleep(seconds(5)).await;
    roads.roads[0].let_pass(kind);
    let cut = Instant::now();
    tokio::time::sleep(HOLE).await;
    let before = roads.crew.calls(0);
    roads.roads[0].let_pass(Passes::Everything);
    let healed = Instant::now();
    // What was held back arrives first; that is not being used again.
    tokio::time::sleep(millis(20)).await;
    let held_back = roads.crew.calls(0) - before;
    while roads.crew.calls(0) - before < held_back + 10 {
        assert!(healed.elapsed() < seconds(60), "it is not used again");
        tokio::time::sleep(millis(10)).await;
    }
    let back = healed.elapsed();
    tokio::time::sleep(seconds(5)).await;
    let ended = load.end().await;
    let failed = ended.iter().filter(|(_, failure)| failure.is_some());
    let late = failed.clone().filter(|(at, _)| *at > cut + seconds(3));
    Figures {
        calls: ended.len(),
        failed_early: failed.count() - late.clone().count(),
        failed_late: late.count(),
        back,
    }
}

/// S1-30: a server that does not even let anybody connect delays one call, and no other.
#[tokio::test(start_paused = true)]
async fn s1_30_a_black_hole_delays_nobody_once_it_is_known() {
    let roads = Roads::new();
    roads.roads[0].let_pass(Passes::Nothing);
    let client = roads.client(Channel::builder().balancing("round_robin"));
    let mut slow = Vec::new();
    for nonce in 0..3_000 {
        let began = Instant::now();
        client.hello(nonce).await.unwrap();
        slow.extend(Some(began.elapsed()).filter(|took| *took > millis(5)));
        tokio::time::sleep(millis(5)).await;
    }
    println!("S1-30: {slow:?}");
    assert!(slow.len() <= 1 && slow.iter().all(|took| *took <= millis(260)));
    assert_eq!(client.channel().stats().retries, 0);
}

const KINDS: [Passes; 4] = [
    Passes::Nothing,
    Passes::ToServer,
    Passes::ToClient,
    Passes::Reset,
];

/// F3: from three seconds after the cut no more than one call in a thousand fails, none hangs, and
/// the server is used within five seconds after it is back.
#[tokio::test(start_paused = true)]
async fn f3_a_hole_costs_the_calls_of_its_first_moments() {
    for kind in KINDS {
        let roads = Roads::new();
        let client = roads.client(Channel::builder());
        let figures = measure(&roads, &client, kind, false).await;
        println!("F3: {kind:?}: {figures:?}");
        assert!(figures.failed_late * 1_000 <= figures.calls, "{figures:?}");
        assert!(figures.back <= seconds(5), "{figures:?}");
        assert_eq!(roads.crew.ledger.most(), 1);
    }
}

/// F3: idempotent calls that are hedged do not fail at all. Nothing that fails tells of the hole
/// then, nor of its end: the server is avoided for being slow, which is forgotten within seconds.
#[tokio::test(start_paused = true)]
async fn f3_hedged_calls_do_not_notice_a_hole() {
    for kind in KINDS {
        let roads = Roads::new();
        let hedging = HedgePolicy::after(millis(100)).with_share_max(0.5);
        let resilience = Resilience::new().with_hedging(hedging);
        let client = roads.client(Channel::builder().resilience(resilience));
        let figures = measure(&roads, &client, kind, true).await;
        println!("F3: hedged, {kind:?}: {figures:?}");
        assert_eq!((figures.failed_early, figures.failed_late), (0, 0));
        assert!(figures.back <= seconds(15), "{figures:?}");
    }
}
