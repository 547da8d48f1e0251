//! F3: a server that cannot be reached, cannot answer, or is thrown off, for twenty seconds.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use rpc::resilience::HedgePolicy;
use rpc::transport::Connector;
use rpc::{Channel, ChannelBuilder, Resilience};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::processes::Processes;
use super::roads::Road;
use super::*;
use crate::common::relay::Passes;

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

/// A call: when it began and ended, and who answered.
struct Ended {
    began: Instant,
    at: Instant,
    answer: rpc::Result<usize>,
}

/// Calls without end.
struct Load {
    callers: JoinSet<()>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl Load {
    fn start(client: &GreeterClient, idempotent: bool) -> Self {
        let (mut callers, ended) = (JoinSet::new(), Arc::<Mutex<Vec<_>>>::default());
        for caller in 0..CALLERS {
            let (client, ended) = (client.clone(), ended.clone());
            callers.spawn(async move {
                for nonce in (caller..).step_by(CALLERS as usize) {
                    let began = Instant::now();
                    let answer = match idempotent {
                        true => client.lookup(nonce).await,
                        false => client.hello(nonce).await,
                    };
                    let at = Instant::now();
                    ended.lock().unwrap().push(Ended { began, at, answer });
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        Self { callers, ended }
    }

    /// How many calls that began later were answered by this server.
    fn answered(&self, server: usize, after: Instant) -> usize {
        let ended = self.ended.lock().unwrap();
        let theirs = ended.iter().rev().take_while(|call| call.at > after);
        let theirs = theirs.filter(|call| call.began > after && call.answer == Ok(server));
        theirs.count()
    }

    /// Callers who wait are no longer waited for.
    async fn end(mut self) -> Vec<Ended> {
        self.callers.shutdown().await;
        std::mem::take(&mut *self.ended.lock().unwrap())
    }
}

#[derive(Debug)]
struct Figures {
    calls: usize,
    /// Calls that failed in the first three seconds of the hole, and after.
    failed_early: usize,
    failed_late: usize,
    longest: Duration,
    /// How long after the hole the server was called again, as often as this.
    back: Duration,
}

const BACK: usize = 10;

/// What a hole on the way to a server costs the calls of a client.
async fn measure(
    client: &GreeterClient,
    idempotent: bool,
    (server, let_pass): (usize, impl Fn(Passes)),
    kind: Passes,
) -> Figures {
    let load = Load::start(client, idempotent);
    tokio::time::sleep(seconds(5)).await;
    let_pass(kind);
    let cut = Instant::now();
    tokio::time::sleep(HOLE).await;
    let_pass(Passes::Everything);
    let healed = Instant::now();
    while load.answered(server, healed) < BACK {
        assert!(healed.elapsed() < seconds(60), "it is not used again");
        tokio::time::sleep(millis(10)).await;
    }
    let back = healed.elapsed();
    tokio::time::sleep(seconds(5)).await;
    let ended = load.end().await;
    let failed = ended.iter().filter(|call| call.answer.is_err());
    let late = failed.clone().filter(|call| call.at > cut + seconds(3));
    let took = ended.iter().map(|call| call.at - call.began);
    Figures {
        calls: ended.len(),
        failed_early: failed.count() - late.clone().count(),
        failed_late: late.count(),
        longest: took.max().unwrap(),
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

fn hedged() -> ChannelBuilder {
    let hedging = HedgePolicy::after(millis(100)).with_share_max(0.5);
    Channel::builder().resilience(Resilience::new().with_hedging(hedging))
}

/// F3: from three seconds after the cut no more than one call in a thousand fails, none hangs, and
/// the server is used within five seconds after it is back.
fn assert_survived(figures: &Figures, slack: Duration) {
    assert!(figures.failed_late * 1_000 <= figures.calls, "{figures:?}");
    assert!(figures.longest <= TIMEOUT + slack, "{figures:?}");
    assert!(figures.back <= seconds(5), "{figures:?}");
}

/// F3: idempotent calls that are hedged do not fail at all. Nothing that fails tells of the hole
/// then, nor of its end: the server is avoided for its silence, which is forgotten within seconds.
fn assert_unnoticed(figures: &Figures, slack: Duration) {
    assert_eq!((figures.failed_early, figures.failed_late), (0, 0));
    assert!(figures.longest <= TIMEOUT + slack, "{figures:?}");
    assert!(figures.back <= seconds(5), "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn f3_a_hole_costs_the_calls_of_its_first_moments() {
    for kind in KINDS {
        let roads = Roads::new();
        let client = roads.client(Channel::builder());
        let let_pass = |passes| roads.roads[0].let_pass(passes);
        let figures = measure(&client, false, (0, let_pass), kind).await;
        println!("F3: {kind:?}: {figures:?}");
        assert_survived(&figures, millis(50));
        assert_eq!(roads.crew.ledger.most(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn f3_hedged_calls_do_not_notice_a_hole() {
    for kind in KINDS {
        let roads = Roads::new();
        let client = roads.client(hedged());
        let let_pass = |passes| roads.roads[0].let_pass(passes);
        let figures = measure(&client, true, (0, let_pass), kind).await;
        println!("F3: hedged, {kind:?}: {figures:?}");
        assert_unnoticed(&figures, millis(50));
    }
}

/// F3: the same with processes, sockets and real time, each kind with a fleet of its own. A machine
/// that does other things as well may be late by more than a clock that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes most of a minute"]
async fn f3_holes_between_processes() {
    const SLACK: Duration = millis(500);
    let mut measured = JoinSet::new();
    for (kind, is_hedged) in KINDS
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)])
    {
        let fleet = Processes::start(3).await;
        measured.spawn(async move {
            let builder = if is_hedged {
                hedged()
            } else {
                Channel::builder()
            };
            let options = rpc::CallOptions::new().with_timeout(TIMEOUT);
            let client = fleet.client(builder.options(options));
            let let_pass = |passes| fleet.relays[0].let_pass(passes);
            let first = (fleet.number(0), let_pass);
            (
                kind,
                is_hedged,
                measure(&client, is_hedged, first, kind).await,
            )
        });
    }
    while let Some(done) = measured.join_next().await {
        let (kind, is_hedged, figures) = done.unwrap();
        println!("F3: processes, {kind:?}, hedged: {is_hedged}: {figures:?}");
        match is_hedged {
            true => assert_unnoticed(&figures, SLACK),
            false => assert_survived(&figures, SLACK),
        }
    }
}
