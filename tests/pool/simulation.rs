//! Callers, deadlines, losses and idle times in random order, in virtual time: whatever happens, the
//! limits hold, nobody waits beside a free place, and nothing is left over.

use std::time::Duration;

use fastrand::Rng;
use rpc::{Code, ConnectionPool};
use tokio::task::JoinSet;

use crate::common::until;
use crate::harbour::{Harbour, Work, WorkClient, stats};
use crate::{millis, seconds};

const SEEDS: u64 = 60;
const CALLERS: usize = 16;
const CALLS: usize = 25;

/// What may happen in one run.
#[derive(Debug)]
struct Weather {
    min: usize,
    max: usize,
    calls_each: u32,
    idle_timeout: Option<Duration>,
    /// Callers give up, by a deadline or because they are dropped.
    gives_up: bool,
    /// Connections break, and some cannot be made.
    breaks: bool,
}

impl Weather {
    fn of(rng: &mut Rng) -> Self {
        let max = rng.usize(1..=4);
        Self {
            min: rng.usize(0..=max),
            max,
            calls_each: rng.u32(1..=3),
            idle_timeout: rng.bool().then(|| millis(rng.u64(20..2_000))),
            gives_up: rng.bool(),
            breaks: rng.bool(),
        }
    }

    fn pool(&self) -> ConnectionPool {
        let pool = ConnectionPool::new()
            .with_min_connections(self.min)
            .with_max_connections(self.max)
            .with_calls_per_connection_max(self.calls_each);
        match self.idle_timeout {
            Some(timeout) => pool.with_idle_timeout(timeout),
            None => pool,
        }
    }
}

/// One caller: calls, streams, pauses; some of them given up.
async fn call(client: WorkClient, mut rng: Rng, gives_up: bool) {
    for _ in 0..CALLS {
        tokio::time::sleep(millis(rng.u64(0..40))).await;
        let work = rng.u64(0..30);
        let client = match gives_up && rng.u8(0..3) == 0 {
            true => client.with_timeout(millis(rng.u64(1..40))),
            false => client.clone(),
        };
        let one = async {
            if rng.u8(0..5) == 0 {
                let mut stream = client.stream().await?;
                for _ in 0..rng.u8(0..5) {
                    stream.next().await.unwrap_or(Ok(0))?;
                }
                tokio::time::sleep(millis(work)).await;
                return Ok(0);
            }
            client.pause(work).await
        };
        let patience = if gives_up && work.is_multiple_of(4) {
            work / 2
        } else {
            1_000_000
        };
        match tokio::time::timeout(millis(patience), one).await {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(status)) => assert!(
                matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
                "{status}"
            ),
        }
    }
}

async fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let weather = Weather::of(&mut rng);
    let harbour = Harbour::new();
    let client = harbour.client(weather.pool());
    harbour.net.set_delay(millis(rng.u64(0..20)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(client.clone(), rng.fork(), weather.gives_up));
    }
    while !callers.is_empty() {
        tokio::time::sleep(millis(rng.u64(1..10))).await;
        while let Some(ended) = callers.try_join_next() {
            ended.unwrap();
        }
        let now = stats(&client);
        assert!(
            now.open <= weather.max,
            "seed {seed}: {now:?} in {weather:?}"
        );
        assert!(
            now.waiting == 0 || now.idle == 0,
            "seed {seed}: callers wait beside a free connection: {now:?} in {weather:?}"
        );
        if weather.breaks && rng.u8(0..20) == 0 && harbour.net.made() > 0 {
            harbour.net.cut(rng.usize(0..harbour.net.made()));
        }
        if weather.breaks && rng.u8(0..50) == 0 {
            harbour.net.set_blocked(rng.bool());
        }
    }
    harbour.net.set_blocked(false);
    // A connection that ends says a last word, for which the network keeps it a moment longer.
    let most = weather.max + if weather.idle_timeout.is_some() { 4 } else { 0 };
    assert!(
        harbour.net.most() <= most,
        "seed {seed}: {} in {weather:?}",
        harbour.net.most()
    );
    if !weather.gives_up {
        assert!(
            harbour.log.most() <= weather.calls_each as usize,
            "seed {seed}: {weather:?}"
        );
    }
    tokio::time::sleep(seconds(30)).await;
    let now = stats(&client);
    assert_eq!(
        (now.in_use, now.waiting),
        (0, 0),
        "seed {seed}: {weather:?}"
    );
    if harbour.net.made() > 0 && weather.min > 0 {
        assert!(
            now.open >= weather.min,
            "seed {seed}: {now:?} in {weather:?}"
        );
    }
    if weather.idle_timeout.is_some() {
        assert_eq!(now.open, weather.min, "seed {seed}: {now:?} in {weather:?}");
    }
    assert_eq!(harbour.log.running(), 0, "seed {seed}");
    // Every place is still there.
    let all = weather.max * weather.calls_each as usize;
    let together = (0..all).map(|_| client.pause(1_000));
    let began = tokio::time::Instant::now();
    for call in futures_util::future::join_all(together).await {
        call.unwrap();
    }
    assert!(
        began.elapsed() < seconds(2),
        "seed {seed}: a place is lost in {weather:?}"
    );
    client.channel().close();
    tokio::time::sleep(seconds(5)).await;
    until(|| harbour.net.open() == 0).await;
    assert_eq!(stats(&client), rpc::ConnectionStats::default());
}

/// S0-12, S0-13, S0-16: nothing is lost, whatever callers and connections do.
#[tokio::test(start_paused = true)]
async fn s0_16_nothing_is_lost_whatever_callers_and_connections_do() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}
