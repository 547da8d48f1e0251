//! Who follows a name sees what happens, and survives the registry.

use rpc::transport::{Listener, MemoryListener};

use super::*;

/// S1-35: by watch, a change is seen at once; and a call that waits ends in time.
#[tokio::test(start_paused = true)]
async fn s1_35_a_change_is_seen_at_once() {
    let place = Place::start(&open().build()).await;
    let client = place.client();
    let enter = async |name: &str| {
        let entered = client.register("greeter".into(), instance(name), TTL);
        entered.await.unwrap()
    };
    let first = enter("a").await;
    let mut watch = place.watch("greeter");
    assert_eq!(names(&watch.changed().await), ["a"]);
    tokio::time::sleep(seconds(3)).await;
    let changed = Instant::now();
    let second = enter("b").await;
    assert_eq!(names(&watch.changed().await), ["a", "b"]);
    assert!(
        changed.elapsed() <= Duration::from_millis(100),
        "{:?}",
        changed.elapsed()
    );
    client.deregister(first).await.unwrap();
    assert_eq!(names(&watch.changed().await), ["b"]);
    // One that runs out is gone when its time is over, not when somebody looks.
    enter("c").await;
    watch.changed().await;
    let entered = Instant::now();
    while names(&watch.snapshot().unwrap()) == ["b", "c"] {
        client.renew(second).await.unwrap();
        let _ = tokio::time::timeout(seconds(1), watch.changed()).await;
    }
    assert_eq!(names(&watch.snapshot().unwrap()), ["b"]);
    let took = entered.elapsed();
    assert!(took <= TTL + Duration::from_millis(100), "{took:?}");
}

/// A fleet that enters itself at once is one change after the other.
#[tokio::test(start_paused = true)]
async fn s1_35_a_burst_of_changes_is_followed_as_fast_as_it_comes() {
    const SERVERS: usize = 600;
    let place = Place::start(&open().build()).await;
    let client = place.client();
    let mut watch = place.watch("greeter");
    watch.ready().await.unwrap();
    for server in 0..SERVERS {
        let entered = client.register("greeter".into(), instance(&server.to_string()), TTL);
        entered.await.unwrap();
    }
    let there = Instant::now();
    while watch.changed().await.endpoints().len() < SERVERS {}
    assert!(
        there.elapsed() <= Duration::from_millis(100),
        "{:?}",
        there.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_at_once_and_then_at_least_every_five_seconds() {
    let place = Place::start(&open().build()).await;
    let client = place.client();
    let name = || "greeter".to_owned();
    let mut told = client.watch(name(), Mark::default()).await.unwrap();
    let began = Instant::now();
    let first = told.next().await.unwrap().unwrap();
    assert!(first.reset && first.entered.is_empty(), "{first:?}");
    assert!(began.elapsed() < Duration::from_millis(100));
    for silence in 1..=3 {
        let nothing = told.next().await.unwrap().unwrap();
        assert!(!nothing.reset && nothing.mark == first.mark, "{nothing:?}");
        let passed = began.elapsed();
        assert!(passed >= 5 * seconds(silence) && passed < 6 * seconds(silence));
    }
    client.register(name(), instance("a"), TTL).await.unwrap();
    let entered = told.next().await.unwrap().unwrap();
    assert_eq!(entered.entered, [instance("a")]);
    // Who goes on from a mark is told at once as well, and what came after it.
    let mut on = client.watch(name(), first.mark).await.unwrap();
    assert_eq!(on.next().await.unwrap().unwrap(), entered);
    let mut same = client.watch(name(), entered.mark).await.unwrap();
    let nothing = same.next().await.unwrap().unwrap();
    assert!(nothing.entered.is_empty() && nothing.mark == entered.mark);
    // When every server has had its time, that is news.
    while !told.next().await.unwrap().unwrap().mark.settled {
        assert!(began.elapsed() <= seconds(60), "{:?}", began.elapsed());
    }
}

/// Latest wins: who is slow is told less often, and in the end what is.
#[tokio::test(start_paused = true)]
async fn who_listens_slowly_is_told_the_newest() {
    let place = Place::start(&open().build()).await;
    let client = place.client();
    let limits = rpc::StreamLimits::new(1024, 1024);
    let slow = rpc::Channel::builder().stream_limits(limits);
    let slow = RegistrarClient::new(slow.connect(&place.uri).await.unwrap());
    let mut told = slow.watch("greeter".into(), Mark::default()).await.unwrap();
    told.next().await.unwrap().unwrap();
    const CHANGES: u32 = 2_000;
    for number in 0..CHANGES {
        let mut instance = instance("a");
        instance.attributes.weight = number;
        let entered = client.register("greeter".into(), instance, TTL);
        entered.await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut times = 0;
    loop {
        let changes = told.next().await.unwrap().unwrap();
        times += 1;
        if changes.entered[0].attributes.weight == CHANGES - 1 {
            break;
        }
    }
    println!("{CHANGES} changes are told in {times}");
    assert!(times < CHANGES / 4, "{times}");
}

/// A registry that shuts down is not held up by who watches, and they go on at the next one.
#[tokio::test(start_paused = true)]
async fn who_watches_lets_a_registry_go_and_finds_the_next() {
    let registry = open().build();
    let mut place = Place::start(&registry).await;
    let client = place.client();
    let enter = async |name: &str| {
        let entered = client.register("greeter".into(), instance(name), seconds(60));
        entered.await.unwrap()
    };
    enter("a").await;
    let mut watches = [(); 3].map(|()| place.watch("greeter"));
    for watch in &mut watches {
        assert_eq!(names(&watch.changed().await), ["a"]);
    }
    tokio::time::sleep(seconds(1)).await;
    let stopping = Instant::now();
    place.server.take().unwrap().shutdown().await;
    let took = stopping.elapsed();
    println!("{} watches hold a shutdown up for {took:?}", watches.len());
    assert!(took <= Duration::from_millis(100), "{took:?}");
    place.restart(&registry).await;
    let back = Instant::now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    enter("b").await;
    for watch in &mut watches {
        assert_eq!(names(&watch.changed().await), ["a", "b"]);
    }
    assert!(back.elapsed() <= seconds(5), "{:?}", back.elapsed());
}

/// F5, S1-35: killed, restarted without its memory, and flapping: nobody who watches loses a server
/// that is there.
#[tokio::test(start_paused = true)]
async fn f5_s1_35_a_registry_that_dies_and_forgets_takes_nobody_with_it() {
    let registry = open().build();
    let mut place = Place::start(&registry).await;
    for name in ["a", "b", "c"] {
        let client = place.client();
        client
            .register("greeter".into(), instance(name), TTL)
            .await
            .unwrap();
    }
    let keep = async |registry: &EmbeddedRegistry, names: &[&str]| {
        for name in names {
            let endpoint = Endpoint::new(format!("mem://{name}")).unwrap();
            let entry = Entry::new("greeter", endpoint, TTL).unwrap();
            rpc::registry::Registry::register(registry, &entry)
                .await
                .map(drop)
                .unwrap();
        }
    };
    let mut watch = place.watch("greeter");
    assert_eq!(names(&watch.changed().await), ["a", "b", "c"]);
    for _ in 0..5 {
        place.kill().await;
        tokio::time::sleep(seconds(60)).await;
        assert_eq!(names(&watch.snapshot().unwrap()), ["a", "b", "c"]);
        assert!(watch.failure().is_some());
        let registry = open().build();
        place.restart(&registry).await;
        tokio::time::sleep(seconds(5)).await;
        assert!(watch.failure().is_none(), "resync takes no longer than 5 s");
        // It knows nobody, then one; the others are on their way.
        assert_eq!(names(&watch.snapshot().unwrap()), ["a", "b", "c"]);
        keep(&registry, &["a"]).await;
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(names(&watch.snapshot().unwrap()), ["a", "b", "c"]);
    }
    // The last life: c does not come back, d is new, and after a minute that is what counts.
    place.kill().await;
    let registry = open().build();
    place.restart(&registry).await;
    for _ in 0..16 {
        keep(&registry, &["a", "b", "d"]).await;
        tokio::time::sleep(seconds(4)).await;
    }
    assert_eq!(names(&watch.snapshot().unwrap()), ["a", "b", "d"]);
}

/// F5: a registry that is frozen: its connections stay, and nobody answers on them.
#[tokio::test(start_paused = true)]
async fn f5_a_frozen_registry_is_noticed_and_found_again() {
    let registry = open().build();
    let mut place = Place::start(&registry).await;
    let client = place.client();
    client
        .register("greeter".into(), instance("a"), seconds(60))
        .await
        .unwrap();
    let mut watch = place.watch("greeter");
    assert_eq!(names(&watch.changed().await), ["a"]);
    place.kill().await;
    let mut frozen = MemoryListener::bind(place.uri.strip_prefix("mem://").unwrap()).unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(stream) = frozen.accept().await {
            held.push(stream);
        }
    });
    tokio::time::sleep(seconds(40)).await;
    assert!(watch.failure().is_some());
    assert_eq!(names(&watch.snapshot().unwrap()), ["a"]);
    holding.abort();
    let _ = holding.await;
    place.restart(&registry).await;
    let client = place.client();
    let entered = client.register("greeter".into(), instance("b"), TTL);
    entered.await.unwrap();
    let back = Instant::now();
    assert_eq!(names(&watch.changed().await), ["a", "b"]);
    assert!(back.elapsed() <= seconds(5), "{:?}", back.elapsed());
}

/// F5: a registry that answers nonsense. Here: some other service has its address now.
#[tokio::test(start_paused = true)]
async fn f5_somebody_else_at_the_address_of_the_registry_changes_nothing() {
    let registry = open().build();
    let mut place = Place::start(&registry).await;
    let client = place.client();
    client
        .register("greeter".into(), instance("a"), TTL)
        .await
        .unwrap();
    let mut watch = place.watch("greeter");
    assert_eq!(names(&watch.changed().await), ["a"]);
    place.kill().await;
    let nonsense = |_: (String, Mark)| async { Ok::<_, rpc::Status>(vec![255_u8; 64]) };
    let builder = Server::builder().add_function("rpc.Registrar.watch", nonsense);
    place.server = Some(builder.bind(&place.uri).await.unwrap());
    tokio::time::sleep(seconds(30)).await;
    assert!(watch.failure().is_some());
    place.kill().await;
    let empty = Server::builder().bind(&place.uri).await.unwrap();
    place.server = Some(empty);
    tokio::time::sleep(seconds(30)).await;
    let failure = watch.failure().unwrap();
    assert!(failure.contains("no method"), "{failure}");
    assert_eq!(names(&watch.snapshot().unwrap()), ["a"]);
    place.kill().await;
    let registry = open().build();
    place.restart(&registry).await;
    let client = place.client();
    client
        .register("greeter".into(), instance("b"), TTL)
        .await
        .unwrap();
    let back = Instant::now();
    assert_eq!(names(&watch.changed().await), ["a", "b"]);
    assert!(back.elapsed() <= seconds(5), "{:?}", back.elapsed());
}

#[tokio::test]
async fn the_names_of_a_registry_are_checked() {
    let resolvers = rpc::registry::resolvers();
    for (name, why) in [
        ("registry://127.0.0.1:7000", "cannot be the name"),
        ("registry://127.0.0.1:7000/a//b", "cannot be the name"),
        ("registry://127.0.0.1/greeter", "port is missing"),
    ] {
        let error = resolvers.watch(name).unwrap_err();
        assert!(error.is_invalid_target(), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let mut nobody = resolvers.watch("registry://127.0.0.1:1/greeter").unwrap();
    let error = nobody.ready().await.unwrap_err();
    assert!(error.is_resolve(), "{error:?}");
}
