//! A real etcd as directory: one member or three, killed, frozen, restarted and compacted.
//!
//! etcd is looked for on the PATH. Without it these tests say that they were skipped, unless
//! `RPC_REQUIRE_ETCD` is set: then they fail.

#[path = "etcd/cluster.rs"]
mod cluster;
mod common;
#[path = "etcd/faults.rs"]
mod faults;
#[path = "etcd/gate.rs"]
mod gate;
#[path = "etcd/peers.rs"]
mod peers;

use std::time::Duration;

use rpc::discovery::{Attributes, Snapshot, Watch};
use rpc::registry::{EtcdRegistry, resolvers};
use rpc::{Server, ServerBuilder};
use tokio::time::Instant;

use cluster::Etcd;
use common::unique;

/// The shortest time that etcd keeps as it is told.
const TTL: Duration = Duration::from_secs(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[rpc::service]
trait Greeter {
    async fn hello(&self) -> rpc::Result<String>;
}

struct Polite;

impl Greeter for Polite {
    async fn hello(&self) -> rpc::Result<String> {
        Ok("hello".into())
    }
}

fn greeter(etcd: &str, name: &str, ttl: Duration) -> ServerBuilder {
    let registry = EtcdRegistry::new(etcd).unwrap();
    let attributes = Attributes::new().with_version(name).with_weight(3);
    Server::builder()
        .add_service(GreeterServer::new(Polite))
        .register(registry, "greeter", attributes)
        .registration_ttl(ttl)
}

/// A server that is registered.
async fn start(etcd: &str, name: &str, ttl: Duration) -> Server {
    let target = format!("mem://{}", unique(name));
    let server = greeter(etcd, name, ttl).bind(target).await.unwrap();
    let registered = tokio::time::timeout(seconds(10), server.registered()).await;
    registered.expect("the server is not registered");
    server
}

fn watch(etcd: &str, name: &str) -> Watch {
    resolvers().watch(&format!("{etcd}/{name}")).unwrap()
}

fn versions(snapshot: &Snapshot) -> Vec<&str> {
    let endpoints = snapshot.endpoints().iter();
    let versions = endpoints.map(|e| e.attributes().version.as_deref().unwrap_or("?"));
    let mut versions: Vec<_> = versions.collect();
    versions.sort_unstable();
    versions
}

/// The next list; a test that waits for one in vain says so.
async fn changed(watch: &mut Watch) -> Snapshot {
    let changed = tokio::time::timeout(seconds(20), watch.changed()).await;
    changed.unwrap_or_else(|_| panic!("the list stays {:?}", watch.snapshot()))
}

/// Waits until a list has these versions; gives how long that took.
async fn until(watch: &mut Watch, expected: &[&str]) -> Duration {
    let asked = Instant::now();
    let waiting = async {
        let mut snapshot = watch.snapshot();
        while snapshot.is_none_or(|snapshot| versions(&snapshot) != expected) {
            snapshot = Some(watch.changed().await);
        }
    };
    let waited = tokio::time::timeout(seconds(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("{expected:?} is not {:?}", watch.snapshot()));
    asked.elapsed()
}

/// S2-9: what a server says about itself is found, and gone when it leaves.
#[tokio::test]
async fn s2_9_a_server_is_found_from_when_it_listens_until_it_leaves() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc/prod");
    let mut watch = watch(&target, "greeter");
    assert!(watch.ready().await.unwrap().is_empty());
    let a = start(&target, "a", TTL).await;
    let took = until(&mut watch, &["a"]).await;
    assert!(took < seconds(3), "{took:?}");
    let snapshot = watch.snapshot().unwrap();
    assert_eq!(snapshot.endpoints()[0].address(), a.uri());
    assert_eq!(snapshot.endpoints()[0].weight(), 3);
    let b = start(&target, "b", TTL).await;
    until(&mut watch, &["a", "b"]).await;
    let late = tokio::time::timeout(2 * TTL, watch.changed()).await;
    assert!(late.is_err(), "entries are renewed: {late:?}");
    let leaving = Instant::now();
    a.shutdown().await;
    until(&mut watch, &["b"]).await;
    assert!(leaving.elapsed() < TTL, "{:?}", leaving.elapsed());
    // The last one too; it is called until it is known that another serves.
    b.shutdown().await;
    assert!(etcd.keys("rpc/prod/").await.is_empty());
    assert_eq!(versions(&watch.snapshot().unwrap()), ["b"]);
}

/// S2-9: a server that dies is gone when its lease is.
#[tokio::test]
async fn s2_9_a_server_that_dies_is_gone_with_its_lease() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc");
    let mut watch = watch(&target, "greeter");
    let (a, _b) = (
        start(&target, "a", TTL).await,
        start(&target, "b", TTL).await,
    );
    until(&mut watch, &["a", "b"]).await;
    drop(a);
    let took = until(&mut watch, &["b"]).await;
    println!("gone after {took:?}");
    assert!(took >= TTL / 3 && took <= TTL + seconds(3), "{took:?}");
}

/// S2-9: a lease that somebody revoked, and a key that somebody deleted.
#[tokio::test]
async fn s2_9_an_entry_that_is_taken_away_is_made_again() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc");
    let mut watch = watch(&target, "greeter");
    let (_a, _b) = (
        start(&target, "a", TTL).await,
        start(&target, "b", TTL).await,
    );
    until(&mut watch, &["a", "b"]).await;
    for round in 0..2 {
        for key in etcd.keys("rpc/greeter/").await {
            if round == 0 {
                etcd.delete(&key.name).await;
            } else {
                etcd.revoke(&key.lease).await;
            }
            let away = Instant::now();
            // It is told of, or made again before clients are: then nothing has changed for them.
            while !etcd
                .keys("rpc/greeter/")
                .await
                .iter()
                .any(|k| k.replaces(&key))
            {
                let took = away.elapsed();
                assert!(took <= TTL + seconds(3), "{} is away", key.name);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            until(&mut watch, &["a", "b"]).await;
        }
    }
    let _c = start(&target, "c", TTL).await;
    until(&mut watch, &["a", "b", "c"]).await;
}

/// F5: values that make no sense, and names that begin as this one does.
#[tokio::test]
async fn f5_keys_of_others_and_garbage_are_left_out() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc");
    let value = |address: &str| format!(r#"{{"address":"{address}","unknown":[1]}}"#);
    etcd.put("rpc/greeter/mem://a", &value("mem://a")).await;
    etcd.put("rpc/greeter/mem://b", "not JSON").await;
    etcd.put("rpc/greeter/mem://c", &value("mem://other")).await;
    etcd.put("rpc/greeter/v2/mem://d", &value("mem://d")).await;
    etcd.put("rpc/greeter/nonsense", &value("nonsense")).await;
    etcd.put("rpc/greeter0", &value("mem://e")).await;
    let mut watch = watch(&target, "greeter");
    let first = changed(&mut watch).await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first.endpoints()[0].address(), "mem://a");
    assert_eq!(first.endpoints()[0].weight(), 1);
    // What is left is garbage: that is no reason to call nobody.
    etcd.delete("rpc/greeter/mem://a").await;
    etcd.put("rpc/greeter/mem://f", &value("mem://f")).await;
    let mut second = changed(&mut watch).await;
    if second.len() == 2 {
        second = changed(&mut watch).await;
    }
    assert_eq!(second.endpoints()[0].address(), "mem://f");
    etcd.delete("rpc/greeter/mem://f").await;
    common::until(|| watch.failure().is_some()).await;
    assert_eq!(watch.snapshot(), Some(second));
}

#[tokio::test]
async fn targets_of_etcd_are_checked() {
    for (target, why) in [
        ("tcp://127.0.0.1:2379", "scheme is not etcd"),
        ("etcd://127.0.0.1:x/rpc", "not a number"),
        ("etcd://a,,b/rpc", "host is missing"),
        ("etcd://a/gree ter", "white space"),
        ("etcd://a/b//c", "cannot be the name"),
    ] {
        let error = EtcdRegistry::new(target).unwrap_err();
        assert!(error.is_invalid_target(), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    // The port is etcd's own, unless it is said.
    EtcdRegistry::new("etcd://a,b:1,[::1],[::1]:2").unwrap();
    let error = resolvers().watch("etcd://127.0.0.1").unwrap_err();
    assert!(error.to_string().contains("cannot be the name"), "{error}");
    let mut nobody = resolvers()
        .watch("etcd://127.0.0.1:1,[::1]:1/greeter")
        .unwrap();
    let error = nobody.ready().await.unwrap_err();
    assert!(error.is_resolve(), "{error:?}");
}
