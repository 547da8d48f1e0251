//! Sources that are down, flap or lie.

use super::*;

/// F5: down, empty, garbage or flapping, the last good list stays, and nobody is told anything.
#[tokio::test(start_paused = true)]
async fn f5_the_last_good_list_stays_whatever_the_source_says() {
    let too_long = Say::List((0..10_001).collect());
    let played = Played::new([
        Say::List(vec![1, 2]),
        Say::Fail("connection refused"),
        Say::List(vec![]),
        too_long,
        Say::List(vec![2, 1, 2]),
        Say::Panic("a bug in the source"),
        Say::PanicAtOnce("another bug in the source"),
        Say::Fail("connection refused"),
    ]);
    let mut watch = played.watch();
    assert_eq!(ports(&watch.changed().await), [1, 2]);
    let mut other = watch.clone();
    // Everything is said well within a minute, and nothing of it is news.
    let changed = tokio::time::timeout(Duration::from_secs(60), other.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    assert_eq!(played.asked().len(), 9);
    assert_eq!(ports(&watch.snapshot().unwrap()), [1, 2]);
    assert_eq!(watch.failure().as_deref(), Some("connection refused"));
    assert_eq!(ports(&watch.ready().await.unwrap()), [1, 2]);
    played.say(Say::List(vec![2, 3]));
    assert_eq!(ports(&watch.changed().await), [2, 3]);
    assert_eq!(watch.failure(), None);
}

/// F5: nor does a source stop that cannot even say why it failed.
#[tokio::test(start_paused = true)]
async fn f5_a_source_whose_error_panics_is_asked_again() {
    let played = Played::new([Say::FailBadly, Say::List(vec![1])]);
    let mut watch = played.watch();
    let first = tokio::time::timeout(Duration::from_secs(60), watch.changed()).await;
    assert_eq!(ports(&first.unwrap()), [1]);
}

/// S1-29: with nobody there from the start, that is the list.
#[tokio::test(start_paused = true)]
async fn s1_29_a_name_that_nobody_serves_has_an_empty_list() {
    let mut watch = Played::new([Say::List(vec![])]).watch();
    assert!(watch.ready().await.unwrap().is_empty());
    assert_eq!(watch.failure(), None);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_first_list_learns_why_there_is_none() {
    let played = Played::new([Say::Fail("no route"), Say::Panic("oops")]);
    let mut watch = played.watch();
    let error = watch.ready().await.unwrap_err();
    assert!(error.is_resolve(), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot resolve played://greeter: no route"
    );
    assert!(watch.snapshot().is_none());
    played.say(Say::List(vec![5]));
    assert_eq!(ports(&watch.changed().await), [5]);
    assert_eq!(ports(&watch.ready().await.unwrap()), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_sees_the_newest_list_only() {
    let played = Played::new((1..=100).map(|port| Say::List(vec![port])));
    let mut watch = played.watch();
    let mut early = watch.clone();
    assert_eq!(ports(&early.changed().await), [1]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ports(&watch.changed().await), [100]);
    assert_eq!(ports(&early.changed().await), [100]);
    let more = tokio::time::timeout(Duration::from_secs(1), watch.changed()).await;
    assert!(more.is_err());
}

/// S1-35: however many ask at the same time, the source is asked once.
#[tokio::test(start_paused = true)]
async fn s1_35_many_watchers_are_one_question() {
    let played = Played::new([Say::List(vec![1])]);
    let watch = played.watch();
    let asks = (0..100).map(|_| {
        let mut watch = watch.clone();
        tokio::spawn(async move { watch.ready().await.unwrap().len() })
    });
    for ask in asks.collect::<Vec<_>>() {
        assert_eq!(ask.await.unwrap(), 1);
    }
    // Once for the list, and once to hear of changes.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(played.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_let_go_with_its_last_watch() {
    let played = Played::new([Say::List(vec![1])]);
    let mut watch = played.watch();
    watch.ready().await.unwrap();
    let clone = watch.clone();
    drop(watch);
    // The test, the resolver that made it, and the watch.
    assert!(Arc::strong_count(&played.says) > 1);
    drop(clone);
    while Arc::strong_count(&played.says) > 1 {
        tokio::task::yield_now().await;
    }
}

/// A source that never waits.
#[derive(Debug)]
struct Eager(Arc<Mutex<u32>>);

impl Resolver for Eager {
    fn watch(&self, _: &Name) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

#[async_trait]
impl Source for Eager {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        *self.0.lock().unwrap() += 1;
        Ok(endpoints([1]))
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_waits_is_asked_a_hundred_times_a_second() {
    let count = Arc::default();
    let resolvers = Resolvers::default().with("eager", Eager(Arc::clone(&count)));
    let _watch = resolvers.unwrap().watch("eager://x").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = *count.lock().unwrap();
    assert!((50..=101).contains(&count), "{count}");
}

/// F5 and F9 as far as they concern a directory: a thousand clients, the directory is down for 30 s
/// and comes back.
#[tokio::test(start_paused = true)]
async fn f9_a_thousand_clients_do_not_meet_a_directory_at_once() {
    const CLIENTS: usize = 1000;
    fastrand::seed(9);
    let down = Instant::now();
    let played: Vec<_> = (0..CLIENTS).map(|_| Down::default()).collect();
    let watches: Vec<_> = played.iter().map(Down::watch).collect();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let tries: Vec<_> = played.iter().map(|down| down.tries()).collect();
    let most = tries.iter().map(Vec::len).max().unwrap();
    assert!(most <= 15, "{most}");
    // After the first three.
    let later: Vec<_> = tries.iter().flat_map(|tries| &tries[3..]).collect();
    let mut buckets = std::collections::BTreeMap::<_, usize>::new();
    for at in &later {
        *buckets.entry((**at - down).as_millis() / 100).or_default() += 1;
    }
    let fullest = *buckets.values().max().unwrap();
    println!(
        "at most {most} tries in 30 s; {fullest} of {} in 100 ms",
        later.len()
    );
    assert!(fullest * 10 <= later.len(), "{fullest} of {}", later.len());

    for down in &played {
        *down.up.lock().unwrap() = true;
    }
    let up = Instant::now();
    for mut watch in watches {
        watch.changed().await;
    }
    let took = up.elapsed();
    println!("all have a list after {took:?}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
}

/// A directory that refuses until it is up.
#[derive(Clone, Debug, Default)]
struct Down {
    up: Arc<Mutex<bool>>,
    tries: Arc<Mutex<Vec<Instant>>>,
}

impl Down {
    fn watch(&self) -> Watch {
        let resolvers = Resolvers::default().with("down", self.clone()).unwrap();
        resolvers.watch("down://greeter").unwrap()
    }

    fn tries(&self) -> Vec<Instant> {
        self.tries.lock().unwrap().clone()
    }
}

impl Resolver for Down {
    fn watch(&self, _: &Name) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Source for Down {
    async fn next(&mut self) -> Result<Vec<Endpoint>, SourceError> {
        self.tries.lock().unwrap().push(Instant::now());
        let up = *self.up.lock().unwrap();
        up.then(|| endpoints([1])).ok_or_else(|| "refused".into())
    }
}
