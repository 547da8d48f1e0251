//! A client outlives its servers: backoff with full jitter, waiting or failing fast.

use std::io;
use std::time::Duration;

use futures_util::future::poll_immediate;
use rpc::async_trait;
use rpc::transport::{Connector, Duplex};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::closing::{GO_AWAY, RESPONSE, accept};
use crate::common::{Count, Remote, Wires, network, raw, soon, until};
use crate::{Address, Work, Worker, assert_unavailable, builder, client, ms, patient};

fn waits(attempts: &[Instant]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// 100 ms, growing by 1.6 to 10 s.
fn bound(failure: usize) -> Duration {
    let grown = 0.1 * 1.6_f64.powi(failure as i32);
    Duration::from_secs_f64(grown.min(10.0))
}

/// The waits of a call that waits for a server for a minute.
async fn waits_with_seed(seed: u64) -> Vec<Duration> {
    fastrand::seed(seed);
    let address = Address::default();
    let call = patient(&client(address.clone())).with_timeout(ms(60_000));
    let status = call.echo(1).await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
    waits(&address.attempts())
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spaced_by_a_growing_and_random_wait() {
    let (mut shares, mut counts) = (Vec::new(), Vec::new());
    for seed in 0..200 {
        let waits = waits_with_seed(seed).await;
        for (failure, wait) in waits.iter().enumerate() {
            // Tokio's timers are exact to the millisecond.
            assert!(*wait <= bound(failure) + ms(2), "{failure}: {wait:?}");
            shares.push(wait.as_secs_f64() / bound(failure).as_secs_f64());
        }
        let first = waits.iter().scan(ms(0), |at, wait| {
            *at += *wait;
            Some(*at)
        });
        counts.push(1 + first.filter(|at| *at <= ms(30_000)).count());
    }
    counts.sort();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    println!(
        "attempts in 30 s: {} to {}, median {}; mean wait {:.0} % of its bound",
        counts[0],
        counts[199],
        counts[100],
        mean * 100.0
    );
    assert!((0.45..0.55).contains(&mean), "full jitter: {mean}");
    assert!(shares.iter().any(|s| *s < 0.1) && shares.iter().any(|s| *s > 0.9));
    assert_eq!(waits_with_seed(1).await, waits_with_seed(1).await);
    assert_ne!(waits_with_seed(1).await, waits_with_seed(2).await);
}

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_wait_fail_at_once() {
    fastrand::seed(7);
    let address = Address::default();
    let client = client(address.clone());
    let begin = Instant::now();
    for _ in 0..1000 {
        let status = client.echo(1).await.unwrap_err();
        assert_unavailable(&status);
        assert!(status.is_not_processed());
        assert!(status.message().contains("test://address"), "{status}");
    }
    assert_eq!(begin.elapsed(), ms(0));
    assert_eq!(address.attempts().len(), 1, "the backoff holds for all");
    let status = client.echo(1).await.unwrap_err();
    assert!(status.message().contains("next attempt in"), "{status}");
    tokio::time::sleep(bound(0)).await;
    client.echo(1).await.unwrap_err();
    assert_eq!(address.attempts().len(), 2);
}

/// There is one thread, and whoever waits for the server to come back needs it as well.
#[tokio::test(start_paused = true)]
async fn who_calls_again_and_again_without_a_server_lets_others_run() {
    fastrand::seed(7);
    let client = client(Address::default());
    assert_unavailable(&client.echo(1).await.unwrap_err());
    let other = tokio::spawn(async {});
    let mut calls = 0;
    while !other.is_finished() {
        assert_unavailable(&client.echo(1).await.unwrap_err());
        calls += 1;
        assert!(calls < 1000, "nobody else runs");
    }
}

/// Many that wait share the attempts, and all go on when the server is there.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_go_on_when_the_server_comes() {
    fastrand::seed(3);
    let address = Address::default();
    let client = patient(&client(address.clone()));
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.echo(number).await })
        })
        .collect();
    tokio::time::sleep(ms(3000)).await;
    let tried = address.attempts().len();
    assert!((2..20).contains(&tried), "{tried}");
    let begin = Instant::now();
    let worker = Worker::default();
    let server = address.start(builder(&worker));
    for (number, call) in (0..).zip(calls) {
        assert_eq!(soon(call).await.unwrap().unwrap(), number);
    }
    println!("a server is used {:?} after it listens", begin.elapsed());
    assert!(begin.elapsed() <= bound(tried) + ms(2));
    assert_eq!(worker.started.get(), 100);
    assert_eq!(server.connection_count(), 1);
}

/// After a connection that was of use, the waits begin small again.
#[tokio::test(start_paused = true)]
async fn a_success_resets_the_backoff() {
    fastrand::seed(11);
    let address = Address::default();
    let client = client(address.clone());
    let waiting = patient(&client).with_timeout(ms(60_000));
    waiting.echo(1).await.unwrap_err();
    let server = address.start(builder(&Worker::default()));
    patient(&client).echo(1).await.unwrap();
    address.clear();
    server.shutdown().await;
    let before = address.attempts().len();
    waiting.echo(1).await.unwrap_err();
    let attempts = &address.attempts()[before..];
    for (failure, wait) in waits(attempts).into_iter().enumerate() {
        assert!(wait <= bound(failure) + ms(2), "{failure}: {wait:?}");
    }
    assert!(attempts.len() > 5);
}

/// T17: a server that accepts and sends everybody away is as good as none.
#[tokio::test(start_paused = true)]
async fn t17_a_server_that_sends_everybody_away_is_not_besieged() {
    fastrand::seed(5);
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = patient(&client(wires.clone())).with_timeout(ms(30_000));
    let call = tokio::spawn(async move { client.echo(1).await });
    let hostile = tokio::spawn(async move {
        loop {
            let mut stream = accept(&mut exchange).await;
            let mut go_away = raw::request(0, 0, 0, 8);
            go_away[8] = GO_AWAY;
            go_away.extend([0; 8]);
            // The client may have hung up.
            let _ = stream.write_all(&go_away).await;
        }
    });
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
    println!("T17: {} connections in 30 s", wires.opened());
    assert!(wires.opened() < 40, "{}", wires.opened());
    hostile.abort();
}

/// A connection that is old is replaced, and no call notices.
#[tokio::test(start_paused = true)]
async fn a_connection_of_maximum_age_is_replaced_without_a_failed_call() {
    fastrand::seed(13);
    let address = Address::default();
    let worker = Worker::default();
    let server = address.start(builder(&worker).connection_age_max(ms(1000)));
    let client = client(address.clone());
    let begin = Instant::now();
    let long = tokio::spawn({
        let client = client.clone();
        async move { client.pause(5000).await }
    });
    let mut calls = 1;
    while begin.elapsed() < ms(20_000) {
        client.pause(7).await.unwrap();
        calls += 1;
    }
    long.await.unwrap().unwrap();
    assert_eq!(worker.started.get(), calls, "each was run once");
    let ages = waits(&address.attempts());
    println!(
        "{calls} calls on {} connections, ages {:?} to {:?}",
        ages.len() + 1,
        ages.iter().min().unwrap(),
        ages.iter().max().unwrap()
    );
    assert!(ages.len() >= 15);
    assert!(
        ages.iter().all(|age| (ms(895)..=ms(1115)).contains(age)),
        "{ages:?}"
    );
    assert!(
        ages.iter().any(|age| age.abs_diff(ages[0]) > ms(5)),
        "spread"
    );
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_line_on_a_connection_that_drains_goes_to_the_next_server() {
    let address = Address::default();
    let (before, after) = (Worker::default(), Worker::default());
    let old = address.start(builder(&before).calls_per_connection_max(1));
    let client = client(address.clone());
    client.pause(1).await.unwrap();
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.pause(5000).await }
    });
    until(|| before.started.get() == 2).await;
    let mut in_line = Box::pin(client.pause(1));
    assert!(poll_immediate(&mut in_line).await.is_none());
    let new = address.start(builder(&after));
    let drained = tokio::spawn(old.shutdown());
    soon(in_line).await.unwrap();
    assert_eq!((before.started.get(), after.started.get()), (2, 1));
    assert!(!running.is_finished());
    running.await.unwrap().unwrap();
    drained.await.unwrap();
    drop(new);
}

/// Callers who cannot wait as long as connecting takes leave their attempt to the next.
#[tokio::test(start_paused = true)]
async fn hasty_callers_get_connected_together() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let client = client(Remote(wires.clone(), ms(500))).with_timeout(ms(100));
    let begin = Instant::now();
    let mut failed = 0;
    while let Err(status) = client.echo(1).await {
        assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
        failed += 1;
        assert!(failed <= 5, "{failed} attempts were thrown away");
    }
    assert!(begin.elapsed() <= ms(600), "{:?}", begin.elapsed());
    assert_eq!(wires.opened(), 1);
}

/// A caller who does not ask how far it has come keeps nobody from getting connected.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_polled_while_it_connects_holds_up_no_other() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let client = client(Remote(wires.clone(), ms(500)));
    let mut connecting = Box::pin(client.echo(1));
    assert!(poll_immediate(&mut connecting).await.is_none());
    let mut waiting = Box::pin(client.echo(2));
    assert!(poll_immediate(&mut waiting).await.is_none());
    assert_eq!(soon(client.echo(3)).await.unwrap(), 3);
    assert_eq!(soon(waiting).await.unwrap(), 2);
    assert_eq!(soon(connecting).await.unwrap(), 1);
    assert_eq!(wires.opened(), 1);
}

/// On several threads, with callers who come and go while it is being connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_who_come_and_go_get_connected_together() {
    for round in 0..50 {
        let (wires, exchange) = network(|_, ends| ends);
        let _server = builder(&Worker::default()).serve(exchange).unwrap();
        let client = client(Remote(wires.clone(), ms(round % 7)));
        let calls: Vec<_> = (0..40)
            .map(|nonce| {
                let client = client.clone();
                tokio::spawn(async move {
                    if nonce % 3 == 0 {
                        let hasty = client.with_timeout(ms(nonce % 5));
                        let _ = hasty.echo(nonce).await;
                    }
                    client.echo(nonce).await
                })
            })
            .collect();
        for (nonce, call) in (0..).zip(calls) {
            assert_eq!(soon(call).await.unwrap().unwrap(), nonce);
        }
        assert_eq!(wires.opened(), 1);
    }
}

/// Connects to nowhere; counts the attempts, and those that are over.
#[derive(Clone, Debug, Default)]
struct Nowhere(Count, Count);

#[async_trait]
impl Connector for Nowhere {
    async fn connect(&self) -> io::Result<Duplex> {
        self.0.add();
        let _over = self.1.on_drop();
        std::future::pending().await
    }
    fn target(&self) -> String {
        "test://nowhere".into()
    }
}

#[tokio::test(start_paused = true)]
async fn closing_a_channel_ends_its_attempt_to_connect() {
    // With a caller who drives it, and after that caller gave up.
    for patience in [ms(1000), ms(10)] {
        let nowhere = Nowhere::default();
        let client = client(nowhere.clone());
        let call = tokio::spawn({
            let client = client.with_timeout(patience);
            async move { client.echo(1).await }
        });
        tokio::time::sleep(ms(100)).await;
        assert_eq!((nowhere.0.get(), nowhere.1.get()), (1, 0));
        client.channel().close();
        soon(call).await.unwrap().unwrap_err();
        until(|| nowhere.1.get() == 1).await;
    }
}

/// A connector whose author made a mistake.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl Connector for Broken {
    async fn connect(&self) -> io::Result<Duplex> {
        panic!("a connector that panics");
    }
    fn target(&self) -> String {
        "test://broken".into()
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_connects_to_nothing() {
    let client = client(Broken);
    for _ in 0..3 {
        let status = client.echo(1).await.unwrap_err();
        assert_unavailable(&status);
        assert!(status.is_not_processed() && !status.message().contains("panics"));
        tokio::time::sleep(ms(1000)).await;
    }
}

/// T17: hasty callers do not make more attempts than patient ones.
#[tokio::test(start_paused = true)]
async fn t17_hasty_callers_do_not_besiege_an_address_that_never_answers() {
    let nowhere = Nowhere::default();
    let client = client(nowhere.clone()).with_timeout(ms(50));
    let begin = Instant::now();
    while begin.elapsed() < ms(30_000) {
        let code = client.echo(1).await.unwrap_err().code();
        let known = [rpc::Code::DeadlineExceeded, rpc::Code::Unavailable];
        assert!(known.contains(&code), "{code:?}");
        tokio::time::sleep(ms(10)).await;
    }
    println!("T17: {} attempts in 30 s", nowhere.0.get());
    assert!((2..=11).contains(&nowhere.0.get()), "{}", nowhere.0.get());
}

/// A connection that ended between two calls costs the next one nothing: it still has its one resend.
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_twice_between_calls_is_found_again() {
    let (wires, mut exchange) = network(|_, ends| ends);
    let client = client(wires.clone());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.echo(1).await }
    });
    let mut stream = accept(&mut exchange).await;
    let (request, _) = raw::read_frame(&mut stream).await;
    let mut reply = raw::request(u32::from(request[4]), 0, 0, 1);
    reply[8] = RESPONSE;
    stream.write_all(&[reply, vec![1]].concat()).await.unwrap();
    assert_eq!(soon(first).await.unwrap().unwrap(), 1);
    drop(stream);
    until(|| !client.channel().is_available()).await;

    let second = tokio::spawn(async move { client.echo(2).await });
    let mut stream = accept(&mut exchange).await;
    let mut go_away = raw::request(0, 0, 0, 8);
    go_away[8] = GO_AWAY;
    stream
        .write_all(&[go_away, vec![0; 8]].concat())
        .await
        .unwrap();
    let worker = Worker::default();
    let _server = builder(&worker).serve(exchange).unwrap();
    assert_eq!(soon(second).await.unwrap().unwrap(), 2);
    assert_eq!((wires.opened(), worker.started.get()), (3, 1));
}

/// The server accepts at once; the client learns of it later.
#[derive(Debug)]
struct Late(Wires);

#[async_trait]
impl Connector for Late {
    async fn connect(&self) -> io::Result<Duplex> {
        let connected = self.0.connect().await;
        tokio::time::sleep(ms(100)).await;
        connected
    }
    fn target(&self) -> String {
        self.0.target()
    }
}

/// The only caller gives up while it connects. Long after, when the server would have given up a
/// client that says no hello, the next one finds the connection open.
#[tokio::test(start_paused = true)]
async fn a_connection_is_made_to_its_end_also_if_nobody_waits_for_it() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let client = client(Late(wires.clone()));
    let hasty = client.with_timeout(ms(50));
    let status = hasty.echo(1).await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::DeadlineExceeded, "{status}");
    tokio::time::sleep(ms(60_000)).await;
    assert_eq!(client.echo(2).await.unwrap(), 2);
    assert_eq!(wires.opened(), 1);
}
