//! Who is called: names, lists that change, servers that cannot be reached.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rpc::balance::Subset;
use rpc::discovery::{Resolvers, StaticList};
use rpc::transport::{Connector, Duplex, MemoryConnector};
use rpc::{CallOptions, Channel, Code, ConnectionPool, Server};
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::gate::Gate;
use super::*;
use crate::common::{soon, until};

/// S1-29: one string, three servers, and every one of them is called.
#[tokio::test]
async fn s1_29_one_string_calls_all_who_serve() {
    let mut hosts = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..3 {
        let builder = Server::builder().add_function("Greeter.hello", |(_,): (u64,)| async {
            Ok::<_, rpc::Status>(7_usize)
        });
        let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
        hosts.push(server.uri().strip_prefix("tcp://").unwrap().to_owned());
        servers.push(server);
    }
    let name = format!("static://{}/Greeter", hosts.join(","));
    let client = GreeterClient::connect(&name).await.unwrap();
    for _ in 0..60 {
        assert_eq!(client.hello(1).await.unwrap(), 7);
    }
    let stats = client.channel().stats();
    assert_eq!(stats.endpoints.len(), 3);
    for endpoint in &stats.endpoints {
        assert!(endpoint.is_connected && endpoint.calls > 0, "{endpoint:?}");
        assert_eq!(endpoint.in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_without_a_runtime_or_a_policy_is_an_error() {
    let error = std::thread::spawn(|| Channel::connect_lazy("static://a:1").unwrap_err());
    let error = error.join().unwrap();
    assert!(error.is_resolve(), "{error}");
    let builder = Channel::builder().balancing("best");
    let error = builder.connect_lazy("static://a:1").unwrap_err();
    assert!(error.is_unknown_policy(), "{error}");
    assert!(error.to_string().contains("round_robin"), "{error}");
    let error = Channel::connect_lazy("static://a").unwrap_err();
    assert!(error.is_invalid_target(), "{error}");
}

/// As one in a `static` that the first of several tests makes, each on a runtime of its own.
#[tokio::test]
async fn a_name_that_nobody_follows_any_more_is_an_error() {
    let made = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let channel = runtime.block_on(async { Channel::connect_lazy("static://a:1") });
        // With it goes whoever follows the name, before there was a list.
        drop(runtime);
        channel.unwrap()
    });
    let client = GreeterClient::new(made.join().unwrap());
    let status = soon(client.hello(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_not_processed());
    assert!(status.message().contains("runtime"), "{status}");
    assert!(soon(client.channel().each()).await.is_err());
}

/// Clients that use a part of a fleet spread over all of it, and find others when theirs are gone.
#[tokio::test(start_paused = true)]
async fn parts_of_a_fleet_share_it_out() {
    let crew = Crew::of(6).await;
    let part = |client| Channel::builder().subset(Subset::even(2, client, 3));
    let clients = [0, 1, 2].map(|client| crew.client_of(part(client)));
    let mut seen = Vec::new();
    for client in &clients {
        for nonce in 0..40 {
            client.hello(nonce).await.unwrap();
        }
        let endpoints = client.channel().stats().endpoints;
        assert_eq!(endpoints.len(), 2);
        assert!(endpoints.iter().all(|one| one.calls > 0), "{endpoints:?}");
        seen.extend(endpoints.into_iter().map(|one| one.address));
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 6, "{seen:?}");

    let gone = |address: &String| seen[..2].contains(address);
    crew.list((0..6).filter(|number| !gone(&crew.address(*number).to_owned())));
    soon(async {
        while {
            let endpoints = clients[0].channel().stats().endpoints;
            endpoints.len() < 2 || endpoints.iter().any(|one| gone(&one.address))
        } {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
    assert!(clients[0].hello(0).await.is_ok());
}

/// A fleet behind a proxy of the user's own, here one in memory.
#[tokio::test(start_paused = true)]
async fn places_are_connected_to_in_a_way_of_the_users_own() {
    let crew = Crew::of(2).await;
    let behind = [0, 1].map(|number| crew.address(number)["mem://".len()..].to_owned());
    let proxy = move |target: &str| {
        let number = match target {
            "tcp://one:1" => 0,
            "tcp://two:2" => 1,
            _ => return None,
        };
        Some(Arc::new(MemoryConnector::new(&behind[number])) as Arc<dyn Connector>)
    };
    let builder = Channel::builder().connectors(proxy);
    let channel = builder.clone().connect("static://one:1,two:2").await;
    let client = GreeterClient::new(channel.unwrap());
    for nonce in 0..20 {
        client.hello(nonce).await.unwrap();
    }
    assert!(crew.calls(0) > 0 && crew.calls(1) > 0);
    let one = builder.clone().connect("tcp://two:2").await.unwrap();
    assert_eq!(GreeterClient::new(one).hello(20).await.unwrap(), 1);
    // What it gives no connector for is connected to as usual.
    let usual = builder.connect(crew.address(0)).await.unwrap();
    assert_eq!(GreeterClient::new(usual).hello(21).await.unwrap(), 0);
}

/// S1-29: an empty list is an error of the call, until somebody is listed.
#[tokio::test(start_paused = true)]
async fn s1_29_nobody_serves() {
    let crew = Crew::of(1).await;
    crew.list([]);
    let client = crew.client();
    let status = client.hello(1).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("nobody serves crew://greeter"),
        "{status}"
    );
    let waits = client.with_options(CallOptions::new().with_wait_for_ready(true));
    let call = tokio::spawn(async move { waits.hello(2).await });
    tokio::time::sleep(seconds(5)).await;
    crew.list([0]);
    assert_eq!(soon(call).await.unwrap().unwrap(), 0);
}

/// S1-30: a server that cannot be reached fails no call, and one that never answers delays none
/// once that is known.
#[tokio::test(start_paused = true)]
async fn s1_30_who_cannot_be_reached_is_passed_over() {
    let mut crew = Crew::listed(3);
    crew.start(1).await;
    let client = crew.client();
    for nonce in 0..100 {
        assert_eq!(client.hello(nonce).await.unwrap(), 1);
    }
    assert_eq!(client.channel().stats().retries, 0);
    crew.start(2).await;
    let began = Instant::now();
    until_answered_by(&client, 2).await;
    assert!(began.elapsed() <= seconds(2), "{:?}", began.elapsed());
}

async fn until_answered_by(client: &GreeterClient, number: usize) {
    while client.hello(0).await.unwrap() != number {
        tokio::time::sleep(millis(10)).await;
    }
}

/// A policy that knows nobody else is no reason to ask the same server again and again.
#[tokio::test(start_paused = true)]
async fn the_only_choice_cannot_be_reached() {
    let mut crew = Crew::listed(2);
    crew.start(1).await;
    let fixed = rpc::balance::Fixed::to(crew.address(0));
    let client = crew.client_of(Channel::builder().balancing(fixed));
    let status = soon(client.hello(1)).await.unwrap_err();
    assert!(status.message().contains("cannot connect"), "{status}");
    crew.start(0).await;
    until_answered_by(
        &client.with_options(CallOptions::new().with_wait_for_ready(true)),
        0,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_can_be_reached() {
    let mut crew = Crew::listed(3);
    let client = crew.client();
    let status = client.hello(1).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_not_processed());
    let text = status.message();
    assert!(
        text.contains("cannot connect") && text.contains("next attempt in"),
        "{text}"
    );
    let error = Channel::builder().resolvers(
        Resolvers::default()
            .with(
                "x",
                StaticList::new([rpc::discovery::Endpoint::new("mem://nobody-at-all").unwrap()]),
            )
            .unwrap(),
    );
    let error = error.connect("x://y").await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    // Who waits is served as soon as somebody is there; who has a deadline, not longer than that.
    let waits = CallOptions::new().with_wait_for_ready(true);
    let hurried = client.with_options(waits.clone().with_timeout(seconds(1)));
    let began = Instant::now();
    let status = hurried.hello(2).await.unwrap_err();
    assert_eq!(
        (status.code(), began.elapsed()),
        (Code::DeadlineExceeded, seconds(1))
    );
    let patient = client.with_options(waits);
    let call = tokio::spawn(async move { patient.hello(3).await });
    tokio::time::sleep(seconds(20)).await;
    crew.start(1).await;
    let began = Instant::now();
    assert_eq!(call.await.unwrap().unwrap(), 1);
    assert!(began.elapsed() <= seconds(10), "{:?}", began.elapsed());
}

/// F19: servers that stay keep their connection; one that is not listed any more gets no more
/// calls, and finishes those it has.
#[tokio::test(start_paused = true)]
async fn f19_a_list_that_changes_disturbs_no_call() {
    let crew = Crew::of(3).await;
    let client = crew.client();
    for nonce in 0..100 {
        client.hello(nonce).await.unwrap();
    }
    let running = client.clone();
    let long: Vec<_> = (0..30)
        .map(|_| {
            let client = running.clone();
            tokio::spawn(async move { client.pause(5_000).await })
        })
        .collect();
    until(|| (0..3).all(|number| crew.mood(number).running.load(SeqCst) > 0)).await;
    crew.list([1, 2]);
    tokio::time::sleep(millis(50)).await;
    assert_eq!(client.channel().stats().endpoints.len(), 2);
    let before = crew.calls(0);
    for nonce in 100..200 {
        client.hello(nonce).await.unwrap();
    }
    assert_eq!(crew.calls(0), before);
    let mut answered = BTreeSet::new();
    for call in long {
        answered.insert(call.await.unwrap().unwrap());
    }
    assert_eq!(answered, BTreeSet::from([0, 1, 2]));
    assert_eq!(client.channel().stats().retries, 0);
    assert_eq!(crew.ledger.most(), 1);
}

#[rpc::service]
trait Baker {
    async fn bake(&self) -> rpc::Result<()>;
}

struct Busy;

impl Baker for Busy {
    async fn bake(&self) -> rpc::Result<()> {
        Ok(())
    }
}

/// F19: an address that somebody else has now. No call fails, none is executed there, and the server
/// is left alone once that is known; if nobody has the service, that is said.
#[tokio::test(start_paused = true)]
async fn f19_an_address_that_serves_something_else_is_passed_over() {
    let mut crew = Crew::of(3).await;
    let client = crew.client_of(Channel::builder().balancing("round_robin"));
    for nonce in 0..30 {
        client.hello(nonce).await.unwrap();
    }
    let mut bakers = Vec::new();
    for number in 0..3 {
        crew.retire(number).await;
        let baker = Server::builder().add_service(BakerServer::new(Busy));
        bakers.push(baker.bind(crew.address(number)).await.unwrap());
        for nonce in 0..600 {
            let nonce = 100 + 1_000 * number as u64 + nonce;
            let answer = client.hello(nonce).await;
            match number {
                0 | 1 => assert!(answer.unwrap() > number),
                _ => {
                    let status = answer.unwrap_err();
                    assert_eq!(status.code(), Code::NotFound, "{status}");
                    assert!(status.is_not_processed());
                }
            }
            tokio::time::sleep(millis(10)).await;
        }
    }
    let stats = client.channel().stats();
    println!(
        "F19: {} ejections, {} retries",
        stats.ejections, stats.retries
    );
    assert!(stats.ejections >= 1);
    assert_eq!(crew.ledger.most(), 1);
    assert_eq!(crew.ledger.executed(), 30 + 2 * 600);
    let baked = |baker: &Server| baker.method_stats("Baker.bake").unwrap().calls;
    assert!(bakers.iter().all(|baker| baked(baker) == 0));
}

/// S3-10, A42: calls with a key go to the same server from every client, and elsewhere when it is
/// gone.
#[tokio::test(start_paused = true)]
async fn s3_10_a_key_has_its_server() {
    let mut crew = Crew::of(3).await;
    let clients = [
        crew.client_of(Channel::builder().balancing("ring_hash")),
        crew.client_of(Channel::builder().balancing(rpc::balance::RingHash::default())),
    ];
    let key = rpc::balance::hash_key(b"user 42");
    let keyed = clients.map(|client| client.with_options(CallOptions::new().with_hash_key(key)));
    let home = keyed[0].hello(0).await.unwrap();
    for nonce in 1..50 {
        assert_eq!(keyed[nonce as usize % 2].hello(nonce).await.unwrap(), home);
    }
    let tagged = Channel::builder()
        .balancing("ring_hash")
        .hash_metadata("user");
    let tagged = crew
        .client_of(tagged)
        .with_metadata("user", "user 42")
        .unwrap();
    assert_eq!(tagged.hello(50).await.unwrap(), home);
    crew.kill(home);
    let next = keyed[0].lookup(51).await.unwrap();
    assert_ne!(next, home);
    assert_eq!(keyed[1].lookup(52).await.unwrap(), next);
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_fails_every_call_at_once() {
    let crew = Crew::of(2).await;
    let client = crew.client();
    client.hello(0).await.unwrap();
    assert!(client.channel().is_available());
    let running = client.clone();
    let call = tokio::spawn(async move { running.pause(60_000).await });
    until(|| crew.all_calls() == 2).await;
    let empty = Crew::listed(1);
    let waiting = empty
        .client()
        .with_options(CallOptions::new().with_wait_for_ready(true));
    let waiter = waiting.clone();
    let waiter = tokio::spawn(async move { waiter.hello(1).await });
    tokio::time::sleep(seconds(1)).await;
    for client in [&client, &waiting] {
        client.channel().close();
        client.channel().close();
    }
    for status in [
        call.await.unwrap().unwrap_err(),
        soon(waiter).await.unwrap().unwrap_err(),
        client.hello(2).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(
            status.message().contains("the channel is closed"),
            "{status}"
        );
    }
    assert!(!client.channel().is_available());
}

/// Connects to nobody, and takes its time.
#[derive(Debug)]
struct Nowhere;

#[rpc::async_trait]
impl Connector for Nowhere {
    async fn connect(&self) -> io::Result<Duplex> {
        std::future::pending().await
    }
    fn target(&self) -> String {
        "test://nowhere".into()
    }
}

/// A call that waits for the only server goes on to another one as soon as that is listed.
#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_for_a_server_that_was_replaced() {
    let mut crew = Crew::listed(2);
    crew.start(1).await;
    crew.list([0]);
    let dead = crew.address(0).to_owned();
    let nowhere = move |target: &str| {
        let is_dead = target == dead;
        is_dead.then(|| Arc::new(Nowhere) as Arc<dyn Connector>)
    };
    let builder = Channel::builder().connectors(nowhere);
    let client = crew.client_of(builder);
    let calling = client.clone();
    let call = tokio::spawn(async move { calling.hello(1).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    crew.list([1]);
    let began = tokio::time::Instant::now();
    assert_eq!(soon(call).await.unwrap().unwrap(), 1);
    assert_eq!(began.elapsed().as_millis(), 0);
}

/// Nor does whoever waits for a channel to be ready.
#[tokio::test(start_paused = true)]
async fn a_channel_is_ready_without_a_server_that_was_replaced() {
    let mut crew = Crew::listed(2);
    crew.start(1).await;
    crew.list([0]);
    let dead = crew.address(0).to_owned();
    let nowhere = move |target: &str| {
        let is_dead = target == dead;
        is_dead.then(|| Arc::new(Nowhere) as Arc<dyn Connector>)
    };
    let builder = Channel::builder().connectors(nowhere);
    let builder = builder.resolvers(crew.resolvers());
    let connecting = tokio::spawn(builder.connect("crew://greeter"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    crew.list([1]);
    let began = Instant::now();
    soon(connecting).await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_millis(), 0);
}

/// Calls at servers that are listed no more belong to the channel as well.
#[tokio::test(start_paused = true)]
async fn a_closed_channel_fails_calls_at_servers_that_have_left_the_list() {
    for connections in [1, 2] {
        let mut crew = Crew::listed(2);
        crew.start(0).await;
        let dead = crew.address(1).to_owned();
        let nowhere = move |target: &str| {
            let is_dead = target == dead;
            is_dead.then(|| Arc::new(Nowhere) as Arc<dyn Connector>)
        };
        let pool = ConnectionPool::new().with_max_connections(connections);
        let builder = Channel::builder().connectors(nowhere);
        let builder = builder.connect_timeout(Duration::from_secs(3600));
        let client = crew.client_of(builder.connection_pool(pool));
        crew.list([0]);
        tokio::time::sleep(millis(50)).await;
        let caller = client.clone();
        let at_work = tokio::spawn(async move { caller.pause(3_600_000).await });
        let mut items = client.repeat(2, 3_600_000).await.unwrap();
        let streaming = tokio::spawn(async move { items.next().await.unwrap() });
        until(|| crew.calls(0) == 2).await;
        crew.list([1]);
        tokio::time::sleep(millis(50)).await;
        let caller = client.clone();
        let connecting = tokio::spawn(async move { caller.hello(1).await });
        tokio::time::sleep(millis(500)).await;
        crew.list([]);
        tokio::time::sleep(millis(50)).await;
        assert!(!at_work.is_finished() && !streaming.is_finished());
        client.channel().close();
        for call in [at_work, streaming, connecting] {
            let status = soon(call).await.unwrap().unwrap_err();
            assert!(status.message().contains("closed"), "{status}");
        }
    }
}

/// So does one at a server that had left the list before it was connected to.
#[tokio::test(start_paused = true)]
async fn a_closed_channel_ends_items_of_a_server_that_was_found_too_late() {
    let crew = Crew::of(1).await;
    let gate = Gate::closed();
    let client = crew.client_of(gate.before(Channel::builder()));
    let waiting = client.with_options(CallOptions::new().with_wait_for_ready(true));
    let begin = tokio::spawn(async move { waiting.repeat(2, 3_600_000).await });
    tokio::time::sleep(millis(50)).await;
    crew.list([]);
    tokio::time::sleep(millis(50)).await;
    gate.open();
    let mut items = soon(begin).await.unwrap().unwrap();
    let streaming = tokio::spawn(async move { items.next().await.unwrap() });
    tokio::time::sleep(millis(50)).await;
    assert!(!streaming.is_finished());
    client.channel().close();
    let status = soon(streaming).await.unwrap().unwrap_err();
    assert!(status.message().contains("closed"), "{status}");
}
