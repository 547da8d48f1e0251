//! Servers that enter themselves into a directory: when, how often, and what happens when the
//! directory fails.

#[path = "registration/chaos.rs"]
mod chaos;
mod common;
#[path = "registration/directory.rs"]
mod directory;
#[path = "registration/fleet.rs"]
mod fleet;

use std::sync::Arc;
use std::time::Duration;

use rpc::discovery::Attributes;
use rpc::registry::{EmbeddedRegistry, Registrar, Registry};
use rpc::{Server, ServerBuilder, Status};
use tokio::time::Instant;

use common::{soon, unique};
use directory::{Did, Directory};

const TTL: Duration = Duration::from_secs(10);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[rpc::service]
trait Greeter {
    async fn hello(&self) -> rpc::Result<String>;
    /// Takes as many seconds.
    async fn pause(&self, seconds: u64) -> rpc::Result<()>;
}

struct Polite(String);

impl Greeter for Polite {
    async fn hello(&self) -> rpc::Result<String> {
        Ok(self.0.clone())
    }
    async fn pause(&self, seconds: u64) -> rpc::Result<()> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }
}

fn greeter(name: &str) -> ServerBuilder {
    Server::builder().add_service(GreeterServer::new(Polite(name.to_owned())))
}

async fn bind(builder: ServerBuilder) -> Server {
    let target = format!("mem://{}", unique("greeter"));
    builder.bind(target).await.unwrap()
}

async fn registered(directory: &Directory) -> Server {
    let builder = greeter("a").register(directory.clone(), "greeter", Attributes::new());
    bind(builder).await
}

/// S1-34: entered as soon as it listens, renewed within a third of the time, never in step.
#[tokio::test(start_paused = true)]
async fn s1_34_a_server_is_entered_at_once_and_renewed_at_a_third_of_its_time() {
    let directory = Directory::default();
    let attributes = Attributes::new().with_zone("b").with_weight(3);
    let builder = greeter("a").register(directory.clone(), "greeter", attributes.clone());
    let started = Instant::now();
    let server = bind(builder).await;
    server.registered().await;
    assert!(server.is_registered());
    assert!(started.elapsed() < Duration::from_millis(10));
    let entry = directory.entry().unwrap();
    assert_eq!((&*entry.name, entry.ttl), ("greeter", TTL));
    assert_eq!(entry.endpoint.address(), server.uri());
    assert_eq!(*entry.endpoint.attributes(), attributes);
    tokio::time::sleep(seconds(300)).await;
    let renewals = directory.times(Did::Renew);
    assert!((90..=100).contains(&renewals.len()), "{}", renewals.len());
    let gaps = renewals.windows(2).map(|pair| pair[1] - pair[0]);
    let gaps: Vec<_> = gaps.collect();
    assert!(
        gaps.iter()
            .all(|gap| *gap >= seconds(3) && *gap <= TTL / 3 + Duration::from_millis(1))
    );
    let distinct: std::collections::BTreeSet<_> = gaps.iter().collect();
    assert!(distinct.len() > 20, "the renewals are in step: {gaps:?}");
    assert_eq!(directory.times(Did::Register).len(), 1);
}

/// A server is entered as soon as it is, also after attempts that failed.
#[tokio::test(start_paused = true)]
async fn a_server_is_registered_when_the_directory_has_it_again() {
    let directory = Directory::default();
    directory.fail(Outage::Refuses);
    let server = registered(&directory).await;
    for _ in 0..2 {
        tokio::time::sleep(2 * TTL).await;
        assert!(!server.is_registered());
        directory.work();
        while directory.entry().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let entered = Instant::now();
        soon(server.registered()).await;
        assert_eq!(entered.elapsed(), Duration::ZERO);
        directory.fail(Outage::Forgets);
    }
}

/// S1-34: down for three periods, and back: the server comes back by itself.
#[tokio::test(start_paused = true)]
async fn s1_34_a_directory_that_comes_back_has_the_server_again() {
    let directory = Directory::default();
    let server = registered(&directory).await;
    server.registered().await;
    for outage in [
        Outage::Refuses,
        Outage::Hangs,
        Outage::Panics,
        Outage::PanicsAtOnce,
        Outage::Forgets,
        Outage::ForgetsBadly,
    ] {
        directory.fail(outage);
        tokio::time::sleep(3 * TTL).await;
        directory.work();
        let back = Instant::now();
        while directory.entry().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let took = back.elapsed();
            assert!(took <= seconds(5), "{outage:?}: {took:?}");
        }
        println!("{outage:?}: back after {:?}", back.elapsed());
        soon(server.registered()).await;
    }
    let failed = directory.times(Did::Fail);
    assert!(failed.len() <= 100, "{} attempts in 120 s", failed.len());
}

use directory::Outage;

/// An entry that is lost is made anew at the next renewal, without a pause.
#[tokio::test(start_paused = true)]
async fn a_directory_that_forgot_the_server_has_it_within_a_third_of_its_time() {
    let directory = Directory::default();
    let server = registered(&directory).await;
    server.registered().await;
    directory.forget();
    let forgotten = Instant::now();
    while directory.entry().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(forgotten.elapsed() <= TTL / 3 + Duration::from_millis(10));
}

/// A server that is there while its directory is not.
#[tokio::test(start_paused = true)]
async fn a_server_starts_and_stops_without_its_directory() {
    let directory = Directory::default();
    directory.fail(Outage::Hangs);
    let server = registered(&directory).await;
    let client = GreeterClient::connect(server.uri()).await.unwrap();
    assert_eq!(client.hello().await.unwrap(), "a");
    tokio::time::sleep(seconds(60)).await;
    assert!(!server.is_registered());
    drop(client);
    let stopping = Instant::now();
    server.shutdown().await;
    let took = stopping.elapsed();
    assert!(took <= Duration::from_millis(2_100), "{took:?}");
}

/// S1-34: a server that stops gently takes itself out at once, before it refuses anything.
#[tokio::test(start_paused = true)]
async fn s1_34_a_server_leaves_before_it_drains() {
    let directory = Directory::default();
    let server = registered(&directory).await;
    server.registered().await;
    let client = GreeterClient::connect(server.uri()).await.unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.pause(5).await }
    });
    tokio::time::sleep(seconds(1)).await;
    // While the directory takes its time, the server serves.
    directory.delay(seconds(1));
    let stopping = tokio::spawn(server.shutdown());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.hello().await.unwrap(), "a");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(directory.entry().is_none() && !call.is_finished());
    let left = directory.times(Did::Deregister);
    assert_eq!(left.len(), 1);
    call.await.unwrap().unwrap();
    stopping.await.unwrap();
    assert_eq!(directory.times(Did::Register).len(), 1);
}

/// Stopped in the middle of being entered: it is taken out again.
#[tokio::test(start_paused = true)]
async fn a_server_that_stops_while_it_is_entered_leaves_nothing_behind() {
    let directory = Directory::default();
    directory.delay(seconds(1));
    let server = registered(&directory).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopping = tokio::spawn(server.shutdown());
    tokio::time::sleep(Duration::from_millis(100)).await;
    directory.delay(Duration::ZERO);
    stopping.await.unwrap();
    assert!(directory.entry().is_none());
    assert_eq!(directory.times(Did::Register).len(), 1);
    assert_eq!(directory.times(Did::Deregister).len(), 1);
}

/// A server that is dropped says nothing: its entry runs out.
#[tokio::test(start_paused = true)]
async fn a_dropped_server_is_not_renewed() {
    let directory = Directory::default();
    let server = registered(&directory).await;
    server.registered().await;
    drop(server);
    tokio::time::sleep(seconds(60)).await;
    assert!(directory.times(Did::Renew).is_empty());
    assert!(directory.times(Did::Deregister).is_empty());
}

#[tokio::test]
async fn what_cannot_be_registered_is_said_before_the_server_serves() {
    let directory = Directory::default();
    let register = |name: &str| greeter("a").register(directory.clone(), name, Attributes::new());
    let any = "tcp://0.0.0.0:0";
    for (builder, target, why) in [
        (
            register("gree ter"),
            "tcp://127.0.0.1:0",
            "cannot be the name",
        ),
        (register(""), "tcp://127.0.0.1:0", "cannot be the name"),
        (register("greeter"), any, "nobody can call that"),
        (register("greeter"), "tcp://[::]:0", "nobody can call that"),
        (register("greeter").advertise("::"), any, "cannot register"),
        (
            register("greeter").advertise("0.0.0.0"),
            any,
            "nobody can call that",
        ),
        (
            register("greeter").registration_ttl(Duration::ZERO),
            "tcp://127.0.0.1:0",
            "over too soon",
        ),
    ] {
        let error = builder.bind(target).await.unwrap_err();
        assert!(error.is_registration(), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = register("greeter").in_process().unwrap_err();
    assert!(error.is_registration(), "{error:?}");
    assert!(directory.times(Did::Register).is_empty());

    for (host, expected) in [
        ("10.1.2.3", "tcp://10.1.2.3:"),
        ("[2001:db8::7]", "tcp://[2001:db8::7]:"),
    ] {
        let server = register("greeter").advertise(host).bind(any).await.unwrap();
        soon(server.registered()).await;
        let entry = directory.entry().unwrap();
        let port = server.uri().rsplit_once(':').unwrap().1;
        assert_eq!(entry.endpoint.address(), format!("{expected}{port}"));
        server.shutdown().await;
    }
    let elsewhere = "tcp://lb.example:443";
    let server = register("greeter")
        .advertise(elsewhere)
        .bind(any)
        .await
        .unwrap();
    soon(server.registered()).await;
    assert_eq!(directory.entry().unwrap().endpoint.address(), elsewhere);
}

#[tokio::test]
async fn a_server_may_be_in_several_directories_under_several_names() {
    let registry = EmbeddedRegistry::builder().allow_local().build();
    let directory = Directory::default();
    let chosen: Arc<dyn Registry> = Arc::new(registry.clone());
    let builder = greeter("a")
        .register(chosen, "greeter", Attributes::new())
        .register(registry.clone(), "polite/greeter", Attributes::new())
        .register(directory.clone(), "greeter", Attributes::new());
    let server = bind(builder).await;
    soon(server.registered()).await;
    let count = async |name: &str| {
        let list = registry.list(name.into(), String::new()).await;
        list.map(|list| list.len())
    };
    let counts: [Result<usize, Status>; 2] =
        [count("greeter").await, count("polite/greeter").await];
    assert_eq!(counts.map(Result::unwrap), [1, 1]);
    assert!(directory.entry().is_some());
    server.shutdown().await;
    assert_eq!(
        count("greeter").await.unwrap() + count("polite/greeter").await.unwrap(),
        0
    );
    assert!(directory.entry().is_none());
}
