//! F5, F6: what etcd may do to those who depend on it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::common::process::{self, Process, Role};
use super::gate::Gate;
use super::*;

fn value(address: &str) -> String {
    format!(r#"{{"address":"{address}","attributes":{{"version":"{address}"}}}}"#)
}

/// A fleet that enters itself at once is one change after the other: those that are there are one list.
#[tokio::test]
async fn f5_a_burst_of_changes_is_followed_as_fast_as_it_comes() {
    const KEYS: usize = 600;
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let mut watch = watch(&etcd.target("rpc"), "greeter");
    assert!(watch.ready().await.unwrap().is_empty());
    let put = |n| {
        let (etcd, address) = (&etcd, format!("tcp://10.0.0.1:{}", 1000 + n));
        async move {
            etcd.put(&format!("rpc/greeter/{address}"), &value(&address))
                .await
        }
    };
    let puts = futures_util::stream::iter((0..KEYS).map(put));
    let puts = puts.buffer_unordered(16).collect::<Vec<_>>().await;
    assert_eq!(puts.len(), KEYS);
    let there = Instant::now();
    while watch
        .snapshot()
        .is_none_or(|now| now.endpoints().len() < KEYS)
    {
        let changed = tokio::time::timeout(seconds(2), watch.changed()).await;
        changed.expect("the list is not whole");
    }
    assert!(there.elapsed() < seconds(2), "{:?}", there.elapsed());
}

/// The longest list, of 16 MiB and more: it is read in pages, and followed.
#[tokio::test]
async fn f5_a_list_of_10_000_long_entries_is_read_and_followed() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let note = "x".repeat(1500);
    let pair = |n| {
        let address = format!("tcp://10.0.0.1:{}", 1000 + n);
        let tags = format!(r#"{{"tags":{{"note":"{note}"}}}}"#);
        let value = format!(r#"{{"address":"{address}","attributes":{tags}}}"#);
        (format!("rpc/greeter/{address}"), value)
    };
    let pairs: Vec<_> = (0..10_000).map(pair).collect();
    etcd.put_all(&pairs[1..]).await;
    let mut watch = watch(&etcd.target("rpc"), "greeter");
    let first = tokio::time::timeout(seconds(10), watch.changed()).await;
    assert_eq!(first.expect("there is a list").len(), 9_999);
    etcd.put_all(&pairs[..1]).await;
    let changed = tokio::time::timeout(seconds(5), watch.changed()).await;
    assert_eq!(changed.unwrap().len(), 10_000);
}

/// F6, S2-9: what a client is about to watch is compacted away; it lists again, each time.
#[tokio::test]
async fn f6_s2_9_after_a_compaction_the_list_is_right_in_100_of_100_trials() {
    const TRIALS: usize = 100;
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let mut gate = Gate::open(etcd.host(0)).await;
    let mut slowest = Duration::ZERO;
    for trial in 0..TRIALS {
        let folder = format!("trial{trial}/greeter");
        let key = |address: &str| format!("{folder}/{address}");
        etcd.put(&key("mem://a"), &value("mem://a")).await;
        let mut watch = watch(&format!("etcd://{}", gate.host), &folder);
        // It has the list with a, and asks to watch what comes after it.
        let request = gate.next().await;
        etcd.delete(&key("mem://a")).await;
        etcd.put(&key("mem://b"), &value("mem://b")).await;
        let last = etcd.put(&key("mem://c"), &value("mem://c")).await;
        etcd.compact(&last).await;
        let compacted = Instant::now();
        request.pass();
        // It is told that there is nothing to watch there, lists, and asks again.
        let again = tokio::time::timeout(seconds(5), gate.next()).await;
        again.expect("the client does not watch again").pass();
        let mut names = ["mem://b", "mem://c"];
        if trial % 2 == 1 {
            // And the new watch works.
            etcd.delete(&key("mem://b")).await;
            etcd.put(&key("mem://d"), &value("mem://d")).await;
            names = ["mem://c", "mem://d"];
        }
        until(&mut watch, &names).await;
        slowest = slowest.max(compacted.elapsed());
    }
    println!("{TRIALS} of {TRIALS}, the slowest after {slowest:?}");
    assert!(slowest <= seconds(3), "{slowest:?}");
}

/// F5: etcd is killed, comes back, and comes back with nothing.
#[tokio::test]
async fn f5_etcd_that_is_restarted_has_the_fleet_again() {
    let Some(mut etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc");
    let mut watch = watch(&target, "greeter");
    let (_a, _b) = (
        start(&target, "a", TTL).await,
        start(&target, "b", TTL).await,
    );
    until(&mut watch, &["a", "b"]).await;
    let mut late = watch.clone();
    let settled = Duration::from_millis(100);
    while tokio::time::timeout(settled, late.changed()).await.is_ok() {}
    for forgets in [false, true] {
        etcd.kill(0);
        // Longer than the leases.
        let changed = tokio::time::timeout(TTL + seconds(1), late.changed()).await;
        assert!(changed.is_err(), "{changed:?}");
        if forgets {
            etcd.wipe(0);
        }
        etcd.restart(0);
        assert!(etcd.is_member_ready(0).await);
        let back = Instant::now();
        loop {
            let leases = etcd.keys("rpc/greeter/").await;
            if leases.len() == 2 && watch.failure().is_none() {
                break;
            }
            let took = back.elapsed();
            assert!(took <= seconds(5), "{leases:?} {:?}", watch.failure());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = back.elapsed();
        println!("forgets {forgets}: all is well after {took:?}");
        until(&mut late, &["a", "b"]).await;
    }
    let c = start(&target, "c", TTL).await;
    let took = until(&mut watch, &["a", "b", "c"]).await;
    assert!(took <= seconds(3), "the watch works: {took:?}");
    drop(c);
}

/// F5: the only member is frozen for longer than the entries stand: the last list stays, no call fails, and
/// all are there again by themselves when it goes on.
#[tokio::test]
async fn f5_etcd_that_is_frozen_for_longer_than_the_entries_stand_has_the_fleet_again() {
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
    let load = Load::start(&target).await;
    etcd.freeze(0);
    let frozen = Instant::now();
    while frozen.elapsed() < 3 * TTL {
        assert_eq!(versions(&watch.snapshot().unwrap()), ["a", "b"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    etcd.thaw(0);
    let thawed = Instant::now();
    // What was over is gone first; then all of them are there, and stay.
    let mut whole = Instant::now();
    while whole.elapsed() < 2 * TTL {
        let keys = etcd.keys("rpc/greeter/").await;
        let is_listed = versions(&watch.snapshot().unwrap()) == ["a", "b"];
        if keys.len() < 2 || !is_listed || watch.failure().is_some() {
            whole = Instant::now();
        }
        let why = (keys, watch.failure());
        assert!(thawed.elapsed() <= seconds(15), "{why:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("all is well after {:?}", whole - thawed);
    load.end_without_a_failure().await;
}

/// F5: members that are gone, and one that takes connections and says nothing, are passed over.
#[tokio::test]
async fn f5_members_that_are_gone_are_passed_over() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let hosts = [&silent, &gone].map(|listener| listener.local_addr().unwrap().to_string());
    drop(gone);
    let target = format!("etcd://{},{},{}/rpc", hosts[0], hosts[1], etcd.host(0));
    let began = Instant::now();
    let mut watch = watch(&target, "greeter");
    let a = start(&target, "a", TTL).await;
    until(&mut watch, &["a"]).await;
    // Each of them waits for the silent one once.
    let took = began.elapsed();
    assert!(took <= seconds(4), "{took:?}");
    // It is remembered who answers: the entry is renewed in time.
    let renewing = Instant::now();
    while renewing.elapsed() < 2 * TTL {
        assert_eq!(etcd.keys("rpc/greeter/").await.len(), 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    a.shutdown().await;
    assert!(etcd.keys("rpc/greeter/").await.is_empty());
}

/// As long as can be: etcd has a longest time.
#[tokio::test]
async fn an_entry_may_stand_for_ever() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let server = start(&etcd.target("rpc"), "a", Duration::MAX).await;
    assert!(server.is_registered());
    server.shutdown().await;
    assert!(etcd.keys("rpc/greeter/").await.is_empty());
}

/// Calls without end, by name. Gives how many there were, and those that failed.
struct Load {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<(u64, Vec<rpc::Status>)>,
}

impl Load {
    async fn start(etcd: &str) -> Self {
        let client = GreeterClient::connect(format!("{etcd}/greeter")).await;
        let (client, stop) = (client.unwrap(), Arc::<AtomicBool>::default());
        let stopped = stop.clone();
        let calls = tokio::spawn(async move {
            let (mut calls, mut failed) = (0, Vec::new());
            while !stopped.load(SeqCst) {
                failed.extend(client.hello().await.err());
                calls += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (calls, failed)
        });
        Self { stop, calls }
    }

    async fn end_without_a_failure(self) {
        self.stop.store(true, SeqCst);
        let (calls, failed) = self.calls.await.unwrap();
        println!("F6: {} of {calls} calls failed", failed.len());
        assert!(failed.is_empty() && calls > 500, "{calls} {failed:?}");
    }
}

/// F6: the leader is killed, with entries of 10 s: no call fails, nobody who lives is lost, and
/// changes are seen.
#[tokio::test]
async fn f6_nobody_is_lost_when_the_leader_is_killed() {
    let Some(mut etcd) = Etcd::start(3).await else {
        return;
    };
    let target = etcd.target("rpc");
    // A watch for each member, so that one is at the leader.
    let mut watches = Vec::new();
    for number in 0..3 {
        let others = format!(
            "etcd://{},{},{}/rpc",
            etcd.host(number),
            etcd.host((number + 1) % 3),
            etcd.host((number + 2) % 3)
        );
        watches.push(watch(&others, "greeter"));
    }
    let ttl = seconds(10);
    let (_a, _b) = (
        start(&target, "a", ttl).await,
        start(&target, "b", ttl).await,
    );
    for watch in &mut watches {
        until(watch, &["a", "b"]).await;
    }
    let load = Load::start(&target).await;
    let leader = etcd.leader().await;
    etcd.kill(leader);
    let killed = Instant::now();
    // Longer than the entries of servers that are not renewed.
    while killed.elapsed() < ttl + seconds(3) {
        for watch in &watches {
            assert_eq!(versions(&watch.snapshot().unwrap()), ["a", "b"]);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let c = start(&target, "c", ttl).await;
    for watch in &mut watches {
        let took = until(watch, &["a", "b", "c"]).await;
        assert!(took <= seconds(3), "{took:?}");
    }
    c.shutdown().await;
    for watch in &mut watches {
        until(watch, &["a", "b"]).await;
    }
    load.end_without_a_failure().await;
}

/// F6: the leader is frozen: its connections do not end, and say nothing.
#[tokio::test]
async fn f6_a_frozen_leader_holds_nobody_up() {
    let Some(etcd) = Etcd::start(3).await else {
        return;
    };
    let leader = etcd.leader().await;
    let frozen = || async { etcd.freeze(leader) };
    assert_holds_nobody_up(&etcd, leader, frozen(), || etcd.thaw(leader)).await;
}

/// F6: the leader is cut off from the others: it answers, and knows nothing new.
#[tokio::test]
async fn f6_a_leader_that_is_cut_off_holds_nobody_up() {
    let Some(etcd) = Etcd::start(3).await else {
        return;
    };
    let leader = etcd.leader().await;
    assert_holds_nobody_up(&etcd, leader, etcd.cut_off(leader), || etcd.heal()).await;
}

/// Whatever happens to the leader, no call fails, nobody who lives is lost, and changes are seen.
async fn assert_holds_nobody_up(
    etcd: &Etcd,
    leader: usize,
    fault: impl Future<Output = ()>,
    repair: impl FnOnce(),
) {
    let hosts = [0, 1, 2].map(|n| etcd.host((leader + n) % 3));
    // It is the first that everybody asks.
    let target = format!("etcd://{}/rpc", hosts.join(","));
    let mut watch = watch(&target, "greeter");
    let ttl = seconds(10);
    let _a = start(&target, "a", ttl).await;
    until(&mut watch, &["a"]).await;
    let load = Load::start(&target).await;
    fault.await;
    let began = Instant::now();
    let target = format!("etcd://{},{}/rpc", hosts[1], hosts[2]);
    let b = start(&target, "b", ttl).await;
    until(&mut watch, &["a", "b"]).await;
    let took = began.elapsed();
    println!("a change is seen after {took:?}");
    // 5 s of silence, a question of 1 s, a list that asks the leader first, an election.
    assert!(took <= seconds(15), "{took:?}");
    while began.elapsed() < ttl + seconds(2) {
        assert_eq!(versions(&watch.snapshot().unwrap()), ["a", "b"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    repair();
    b.shutdown().await;
    until(&mut watch, &["a"]).await;
    load.end_without_a_failure().await;
}

/// F6: a server is paused for three times its time: it is gone, and is back by itself.
#[tokio::test]
async fn f6_a_paused_server_is_gone_and_comes_back_by_itself() {
    let Some(etcd) = Etcd::start(1).await else {
        return;
    };
    let target = etcd.target("rpc");
    let mut watch = watch(&target, "greeter");
    let _other = start(&target, "other", TTL).await;
    let mut server = Process::start(&Role {
        test: "faults::role_server",
        target: &target,
        ..Role::default()
    });
    server.wait_for("listening");
    until(&mut watch, &["other", "paused"]).await;
    server.freeze();
    let frozen = Instant::now();
    until(&mut watch, &["other"]).await;
    let gone = frozen.elapsed();
    assert!(gone <= TTL + seconds(3), "{gone:?}");
    tokio::time::sleep((3 * TTL).saturating_sub(frozen.elapsed())).await;
    server.thaw();
    let back = until(&mut watch, &["other", "paused"]).await;
    println!("gone after {gone:?}, back after {back:?}");
    assert!(back <= seconds(2), "{back:?}");
}

/// F5: something else at the address of etcd.
#[tokio::test]
async fn f5_what_is_not_etcd_is_no_directory() {
    let length = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (answer, why) in [
        (length("<html>"), "makes no sense"),
        (length("{}"), "makes no sense"),
        (length(r#"{"header":{"revision":"x"}}"#), "makes no sense"),
        (
            length(r#"{"header":{},"kvs":[{"key":"%"}]}"#),
            "makes no sense",
        ),
        (
            "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".into(),
            "HTTP 500",
        ),
        (
            "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno".into(),
            "HTTP 404",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into(),
            "etcd at",
        ),
        ("220 ready\r\n".into(), "etcd at"),
        (String::new(), "etcd at"),
    ] {
        let host = fake(answer.clone()).await;
        let mut watch = watch(&format!("etcd://{host}"), "greeter");
        let error = tokio::time::timeout(seconds(5), watch.ready()).await;
        let error = error.expect("it ends").unwrap_err();
        assert!(error.is_resolve(), "{error:?}");
        assert!(error.to_string().contains(why), "{answer:?}: {error}");
        let registry = EtcdRegistry::new(format!("etcd://{host}")).unwrap();
        let endpoint = rpc::discovery::Endpoint::new("mem://a").unwrap();
        let entry = rpc::registry::Entry::new("greeter", endpoint, TTL).unwrap();
        let registered = rpc::registry::Registry::register(&registry, &entry).await;
        assert!(registered.is_err(), "{answer:?}");
    }
}

/// Gives the same answer to whoever connects.
async fn fake(answer: String) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    host
}

#[tokio::test]
#[ignore = "a process of another test"]
async fn role_server() {
    let Some((etcd, _)) = process::role() else {
        return;
    };
    process::serve(greeter(&etcd, "paused", TTL), "tcp://127.0.0.1:0").await;
}
