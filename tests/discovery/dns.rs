//! `dns://`: what is asked when, and what becomes of the answers.

use std::io;
use std::net::SocketAddr;

use rpc::discovery::{Answer, DnsResolver, Lookup};

use super::*;

/// A name server that a test plays.
#[derive(Clone, Debug, Default)]
struct Server {
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

#[derive(Debug, Default)]
struct Zone {
    addresses: Vec<SocketAddr>,
    ttl: Option<Duration>,
    fails: Option<io::ErrorKind>,
    hangs: bool,
}

impl Server {
    fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }

    fn set(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.change(|zone| zone.addresses = addresses);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn watch(&self, name: &str) -> Watch {
        let dns = DnsResolver::new(self.clone());
        Resolvers::default()
            .with("dns", dns)
            .unwrap()
            .watch(name)
            .unwrap()
    }
}

#[async_trait]
impl Lookup for Server {
    async fn lookup(&self, host: &str) -> io::Result<Answer> {
        self.asked
            .lock()
            .unwrap()
            .push((Instant::now(), host.to_owned()));
        let answer = {
            let zone = self.zone.lock().unwrap();
            let answer = Answer::new(zone.addresses.clone());
            let answer = zone.ttl.map_or(answer.clone(), |ttl| answer.with_ttl(ttl));
            match zone.fails {
                Some(kind) => Err(io::Error::from(kind)),
                None if zone.hangs => Ok(None),
                None => Ok(Some(answer)),
            }
        };
        match answer? {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }
}

/// S1-35 and F19: a change of the name is seen within 10 s.
#[tokio::test(start_paused = true)]
async fn s1_35_f19_a_changed_name_is_seen_within_ten_seconds() {
    let server = Server::default();
    server.set(&["10.0.0.2:80", "10.0.0.1:80", "[2001:db8::1]:80"]);
    let mut watch = server.watch("dns://greeter:80/Greeter");
    let snapshot = watch.changed().await;
    let addresses: Vec<_> = snapshot.endpoints().iter().map(Endpoint::address).collect();
    assert_eq!(
        addresses,
        [
            "tcp://10.0.0.1:80",
            "tcp://10.0.0.2:80",
            "tcp://[2001:db8::1]:80"
        ]
    );
    assert_eq!(server.asked.lock().unwrap()[0].1, "greeter:80");
    for round in 3..10 {
        server.set(&[&format!("10.0.0.{round}:80")]);
        let changed = Instant::now();
        assert_eq!(watch.changed().await.len(), 1);
        let took = changed.elapsed();
        assert!(took <= Duration::from_millis(10_100), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_to_live() {
    let server = Server::default();
    server.set(&["10.0.0.1:80"]);
    server.change(|zone| zone.ttl = Some(Duration::from_secs(60)));
    let mut watch = server.watch("dns://greeter:80");
    watch.ready().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    // Each 48 to 60 s, and the first.
    let asked = server.asked();
    assert!((10..=13).contains(&asked), "{asked}");
}

/// Who wants to ask once says so by a time that never comes.
#[tokio::test(start_paused = true)]
async fn an_answer_may_be_used_for_ever() {
    let server = Server::default();
    server.set(&["10.0.0.1:80"]);
    let dns = DnsResolver::new(server.clone()).with_refresh(Duration::MAX);
    let resolvers = Resolvers::default().with("dns", dns).unwrap();
    let mut watch = resolvers.watch("dns://greeter:80").unwrap();
    assert_eq!(watch.ready().await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(server.asked(), 1);
}

/// F5: a name server that is down, hangs or lists nobody.
#[tokio::test(start_paused = true)]
async fn f5_a_name_server_that_fails_changes_nothing() {
    let server = Server::default();
    server.set(&["10.0.0.1:80"]);
    let mut watch = server.watch("dns://greeter:80");
    let first = watch.changed().await;
    server.change(|zone| zone.fails = Some(io::ErrorKind::NotFound));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(watch.failure().is_some());
    server.change(|zone| (zone.fails, zone.hangs) = (None, true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(watch.failure().as_deref(), Some("deadline has elapsed"));
    server.change(|zone| zone.hangs = false);
    server.set(&[]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(watch.failure().unwrap().contains("lists nobody"));
    assert_eq!(watch.snapshot(), Some(first));
    server.set(&["10.0.0.7:80"]);
    let back = Instant::now();
    assert_eq!(
        watch.changed().await.endpoints()[0].address(),
        "tcp://10.0.0.7:80"
    );
    assert!(
        back.elapsed() <= Duration::from_secs(11),
        "{:?}",
        back.elapsed()
    );
}

/// The resolver of this machine.
#[tokio::test]
async fn the_name_of_this_machine_is_found() {
    let mut watch = Resolvers::default().watch("dns://localhost:7000").unwrap();
    let snapshot = watch.ready().await.unwrap();
    let local = ["tcp://127.0.0.1:7000", "tcp://[::1]:7000"];
    assert!(!snapshot.is_empty());
    let all = snapshot.endpoints().iter();
    assert!(
        all.map(Endpoint::address).all(|a| local.contains(&a)),
        "{snapshot:?}"
    );
    let error = Resolvers::default().watch("dns://localhost").unwrap_err();
    assert!(error.to_string().contains("port is missing"), "{error}");
}
