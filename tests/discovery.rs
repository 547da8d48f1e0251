//! Names and their endpoints: schemes, sources that fail, and who sees which list when.

#[path = "discovery/dns.rs"]
mod dns;
#[path = "discovery/sources.rs"]
mod sources;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::async_trait;
use rpc::discovery::{
    Attributes, Endpoint, Name, Resolver, Resolvers, Snapshot, Source, SourceError, StaticList,
    Watch,
};
use tokio::sync::Notify;
use tokio::time::Instant;

fn endpoint(port: u16) -> Endpoint {
    Endpoint::new(format!("tcp://10.0.0.1:{port}")).unwrap()
}

fn endpoints(ports: impl IntoIterator<Item = u16>) -> Vec<Endpoint> {
    ports.into_iter().map(endpoint).collect()
}

/// The ports of the addresses, sorted as numbers.
fn ports(snapshot: &Snapshot) -> Vec<u16> {
    let port = |e: &Endpoint| e.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut ports: Vec<_> = snapshot.endpoints().iter().map(port).collect();
    ports.sort_unstable();
    ports
}

/// What a source that a test plays says when it is asked.
#[derive(Debug)]
enum Say {
    List(Vec<u16>),
    Fail(&'static str),
    Panic(&'static str),
    /// In the call, before there is a future.
    PanicAtOnce(&'static str),
    /// In its error, when somebody wants to know what it says, and when that is dropped.
    FailBadly,
}

#[derive(Debug)]
struct Bad;

impl fmt::Display for Bad {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a bug in the error")
    }
}

impl std::error::Error for Bad {}

impl Drop for Bad {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("another bug in the error");
        }
    }
}

/// A source that a test plays. It says one thing after the other, and then waits for the test.
#[derive(Clone, Default)]
struct Played {
    says: Arc<Mutex<VecDeque<Say>>>,
    more: Arc<Notify>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Played {
    fn new(says: impl IntoIterator<Item = Say>) -> Self {
        let played = Self::default();
        says.into_iter().for_each(|say| played.say(say));
        played
    }

    fn say(&self, say: Say) {
        self.says.lock().unwrap().push_back(say);
        self.more.notify_one();
    }

    fn asked(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().clone()
    }

    fn watch(&self) -> Watch {
        let resolvers = Resolvers::default().with("played", self.clone()).unwrap();
        resolvers.watch("played://greeter").unwrap()
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played")
    }
}

impl Resolver for Played {
    fn watch(&self, _: &Name) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(self.clone()))
    }
}

/// As `async_trait` would write it, but for what is done before the future is there.
impl Source for Played {
    fn next<'s, 'f>(
        &'s mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Endpoint>, SourceError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        self.asked.lock().unwrap().push(Instant::now());
        let panics = matches!(self.says.lock().unwrap().front(), Some(Say::PanicAtOnce(_)));
        let say = panics.then(|| self.says.lock().unwrap().pop_front());
        assert!(!panics, "{say:?}");
        Box::pin(async {
            loop {
                let say = self.says.lock().unwrap().pop_front();
                match say {
                    Some(Say::List(list)) => return Ok(endpoints(list)),
                    Some(Say::Fail(why)) => return Err(why.into()),
                    Some(Say::FailBadly) => return Err(SourceError::from(Bad)),
                    Some(Say::Panic(why) | Say::PanicAtOnce(why)) => panic!("{why}"),
                    None => self.more.notified().await,
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_static_name_is_its_own_list() {
    for name in [
        "static://10.0.0.1:2,10.0.0.1:1",
        "static://10.0.0.1:2,10.0.0.1:1/Greeter",
    ] {
        let mut watch = Resolvers::default().watch(name).unwrap();
        assert_eq!(ports(&watch.ready().await.unwrap()), [1, 2]);
        assert_eq!(watch.name().as_str(), name);
    }
    for (name, why) in [
        ("static://a", "port is missing"),
        ("static://a:1,,b:2", "port is missing"),
        ("static:///Greeter", "nothing stands between"),
        ("static://a:99999", "not a number"),
        ("nosuch://a:1", "known are dns, static"),
        ("a:1", "no scheme"),
    ] {
        let error = Resolvers::default().watch(name).unwrap_err();
        assert!(error.is_invalid_target(), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let unknown = Resolvers::default().watch("nosuch://a").unwrap_err();
    assert!(unknown.is_unknown_scheme());
}

/// S1-29: an update races with nobody, and an empty list is a list of nobody, if it is the user who
/// says so.
#[tokio::test(start_paused = true)]
async fn s1_29_a_list_follows_its_handle() {
    let list = StaticList::new(endpoints([1]));
    let resolvers = Resolvers::default().with("fleet", list.clone()).unwrap();
    let mut watch = resolvers.watch("fleet://any").unwrap();
    assert!(watch.snapshot().is_none(), "nobody was asked yet");
    assert_eq!(ports(&watch.changed().await), [1]);
    list.set(endpoints([2, 3]));
    assert_eq!(ports(&watch.changed().await), [2, 3]);
    let heavy = endpoint(3).with_attributes(Attributes::new().with_weight(7).with_zone("b"));
    list.set([endpoint(2), heavy.clone()]);
    let snapshot = watch.changed().await;
    assert_eq!(snapshot.endpoints()[1], heavy);
    assert_eq!(
        (
            snapshot.endpoints()[1].weight(),
            snapshot.endpoints()[1].zone()
        ),
        (7, Some("b"))
    );
    list.set([]);
    assert!(watch.changed().await.is_empty());
    // Later watches begin with the list as it is, also when nobody can set it any more.
    list.set(endpoints([4]));
    let mut late = resolvers.watch("fleet://other").unwrap();
    drop((list, resolvers));
    assert_eq!(ports(&late.ready().await.unwrap()), [4]);
    assert_eq!(ports(&watch.changed().await), [4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_29_lists_set_and_read_at_once_are_never_mixed() {
    const ROUNDS: u16 = 200;
    let list = StaticList::new(endpoints([1, 1001]));
    let resolvers = Resolvers::default().with("fleet", list.clone()).unwrap();
    let watch = resolvers.watch("fleet://any").unwrap();
    let readers = (0..4).map(|_| {
        let mut watch = watch.clone();
        tokio::spawn(async move {
            loop {
                let ports = ports(&watch.changed().await);
                assert_eq!((ports.len(), ports[0] + 1000), (2, ports[1]));
                if ports[0] == ROUNDS {
                    return;
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for round in 1..=ROUNDS {
        list.set(endpoints([round, round + 1000]));
        tokio::task::yield_now().await;
    }
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(10), reader)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn schemes_of_the_users_own_are_checked() {
    let played = || Played::new([]);
    for scheme in ["", "Up", "a b", "1a", "a://"] {
        let error = Resolvers::default().with(scheme, played()).unwrap_err();
        assert!(error.is_registration(), "{scheme}: {error}");
    }
    for transport in ["tcp", "unix", "mem"] {
        let error = Resolvers::default().with(transport, played()).unwrap_err();
        assert!(error.to_string().contains("transport"), "{error}");
    }
    let resolvers = Resolvers::default().with("dns", played()).unwrap();
    assert!(resolvers.knows("dns://x") && resolvers.knows("static://a:1"));
    assert!(!resolvers.knows("tcp://a:1") && !resolvers.knows("dns"));
    assert!(!Resolvers::default().knows("played://x"));
}
