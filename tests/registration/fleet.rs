//! Fleets and the embedded registry, together.

use std::collections::BTreeMap;

use rpc::discovery::{Resolvers, Snapshot, Watch};
use rpc::registry::{RegistryResolver, RemoteRegistry};

use super::*;

pub(crate) fn registry() -> EmbeddedRegistry {
    let builder = EmbeddedRegistry::builder().allow_local();
    builder.writer("fleet", "a token").build()
}

async fn serve(registry: &EmbeddedRegistry, target: &str) -> Server {
    let builder = Server::builder().add_service(registry.service());
    builder.bind(target).await.unwrap()
}

fn remote(target: &str) -> RemoteRegistry {
    RemoteRegistry::new(target).unwrap().with_token("a token")
}

pub(crate) async fn start(target: &str, name: &str) -> Server {
    let attributes = Attributes::new().with_version(name);
    let builder = greeter(name).register(remote(target), "greeter", attributes);
    bind(builder).await
}

pub(crate) fn watch(target: &str) -> Watch {
    let resolver = RegistryResolver::at(target);
    let resolvers = Resolvers::default().with("fleet", resolver).unwrap();
    resolvers.watch("fleet://greeter").unwrap()
}

fn versions(snapshot: &Snapshot) -> Vec<&str> {
    let endpoints = snapshot.endpoints().iter();
    let mut versions: Vec<_> = endpoints
        .map(|e| e.attributes().version.as_deref().unwrap())
        .collect();
    versions.sort_unstable();
    versions
}

/// Waits until a list has these versions.
async fn until(watch: &mut Watch, expected: &[&str]) -> Snapshot {
    let mut snapshot = watch.ready().await.unwrap();
    while versions(&snapshot) != expected {
        snapshot = watch.changed().await;
    }
    snapshot
}

/// S1-37: a registry and three servers; each is killed and restarted in turn, and whoever looks
/// finds those that live.
#[tokio::test(start_paused = true)]
async fn s1_37_the_list_is_that_of_the_servers_that_live() {
    let target = format!("mem://{}", unique("registry"));
    let registry = registry();
    let _registry = serve(&registry, &target).await;
    let mut watch = watch(&target);
    let mut fleet = BTreeMap::new();
    for name in ["a", "b", "c"] {
        fleet.insert(name, start(&target, name).await);
    }
    until(&mut watch, &["a", "b", "c"]).await;
    for name in ["a", "b", "c"] {
        let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|n| *n != name).collect();
        // Killed: it is there until its time is over.
        drop(fleet.remove(name));
        let killed = Instant::now();
        until(&mut watch, &others).await;
        let took = killed.elapsed();
        assert!(took > TTL / 2 && took <= TTL + seconds(1), "{took:?}");
        // Started: it is there at once.
        let started = Instant::now();
        fleet.insert(name, start(&target, name).await);
        let snapshot = until(&mut watch, &["a", "b", "c"]).await;
        assert!(started.elapsed() < seconds(1), "{:?}", started.elapsed());
        for endpoint in snapshot.endpoints() {
            let client = GreeterClient::connect(endpoint.address()).await.unwrap();
            let version = endpoint.attributes().version.clone();
            assert_eq!(Some(client.hello().await.unwrap()), version);
        }
        // Stopped gently: it is gone at once.
        let stopped = Instant::now();
        fleet.remove(name).unwrap().shutdown().await;
        until(&mut watch, &others).await;
        assert!(stopped.elapsed() < seconds(1), "{:?}", stopped.elapsed());
        fleet.insert(name, start(&target, name).await);
        until(&mut watch, &["a", "b", "c"]).await;
    }
}

/// F5: the registry is killed under a fleet and comes back without its memory.
#[tokio::test(start_paused = true)]
async fn f5_a_registry_that_comes_back_has_its_fleet_again() {
    let target = format!("mem://{}", unique("registry"));
    let first = serve(&registry(), &target).await;
    let mut watch = watch(&target);
    let _fleet = [
        start(&target, "a").await,
        start(&target, "b").await,
        start(&target, "c").await,
    ];
    let all = until(&mut watch, &["a", "b", "c"]).await;
    drop(first);
    // It may not have been given by `changed` yet.
    let other = async { while watch.changed().await == all {} };
    let other = tokio::time::timeout(seconds(60), other).await;
    assert!(other.is_err(), "{:?}", watch.snapshot());
    let registry = registry();
    let _second = serve(&registry, &target).await;
    let back = Instant::now();
    use rpc::registry::Registrar;
    let list = async || {
        registry
            .list("greeter".into(), String::new())
            .await
            .unwrap()
    };
    while list().await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = back.elapsed();
    println!("all three are back after {took:?}");
    assert!(took <= seconds(5), "{took:?}");
    // And nobody who watches has seen any of it.
    let changed = tokio::time::timeout(seconds(120), watch.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    assert_eq!(watch.snapshot(), Some(all));
    assert_eq!(watch.failure(), None);
}

/// F9 as far as it concerns a registry: five hundred servers, their registry down for 30 s.
#[tokio::test(start_paused = true)]
async fn f9_servers_do_not_come_back_at_the_same_time() {
    const SERVERS: usize = 500;
    let directories: Vec<_> = (0..SERVERS).map(|_| Directory::default()).collect();
    let mut servers = Vec::new();
    for directory in &directories {
        servers.push(registered(directory).await);
    }
    tokio::time::sleep(seconds(60)).await;
    directories.iter().for_each(|d| d.fail(Outage::Refuses));
    tokio::time::sleep(seconds(30)).await;
    directories.iter().for_each(Directory::work);
    let back = Instant::now();
    let failed: Vec<_> = directories.iter().map(|d| d.times(Did::Fail)).collect();
    let most = failed.iter().map(Vec::len).max().unwrap();
    assert!(most <= 20, "{most} attempts in 30 s");
    while directories.iter().any(|d| d.entry().is_none()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = back.elapsed();
    assert!(took <= seconds(5), "{took:?}");
    let mut buckets = BTreeMap::<_, usize>::new();
    for directory in &directories {
        let at = *directory.times(Did::Register).last().unwrap();
        *buckets.entry((at - back).as_millis() / 100).or_default() += 1;
    }
    let fullest = *buckets.values().max().unwrap();
    println!("at most {most} attempts; all back after {took:?}; {fullest} of {SERVERS} in 100 ms");
    assert!(fullest * 10 <= SERVERS, "{buckets:?}");
}
