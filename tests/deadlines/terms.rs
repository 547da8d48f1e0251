//! Who says how long a call may take, and what its handler has left.
//!
//! And if somebody sets the clock (T15)? There is no test that does: nothing here reads the clock that
//! can be set. `tests/tidy.rs` lets one module ask for the time, and `clippy.toml` forbids
//! `SystemTime::now`; what is left is the monotonic clock, and durations on the wire.

use std::sync::Arc;
use std::time::Duration;

use rpc::{CallInfo, CallOptions, Channel, ChannelBuilder, Context, Interceptor, Status};
use tokio::time::Instant;

use crate::common::{Remote, network, soon};
use crate::{Clock, Timed, TimedClient, assert_overdue, builder, ms, pair};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn s2_6_a_call_overrides_its_method_and_the_method_its_channel() {
    let channel = Channel::builder().default_timeout(ms(700));
    let (client, _, _server) = pair(&Clock::default(), channel);
    assert_eq!(client.left().await.unwrap(), Some(ms(700)));
    assert_eq!(client.left_of_500().await.unwrap(), Some(ms(500)));
    for own in [ms(20), ms(2000)] {
        let client = client.with_timeout(own);
        assert_eq!(client.left().await.unwrap(), Some(own));
        assert_eq!(client.left_of_500().await.unwrap(), Some(own));
    }
}

/// The source gave connecting 10 s and calls for ever; ours gives connecting 3 s (S0-9).
#[tokio::test(start_paused = true)]
async fn s1_9_defaults() {
    assert_eq!(ChannelBuilder::CONNECT_TIMEOUT, ms(3000));
    let options = CallOptions::new();
    assert_eq!(options.timeout(), None);
    assert!(!options.wait_for_ready() && options.metadata().is_empty());
    let (client, _, _server) = pair(&Clock::default(), Channel::builder());
    assert_eq!(client.left().await.unwrap(), None);
    assert_eq!(client.left_of_500().await.unwrap(), Some(ms(500)));
}

#[tokio::test(start_paused = true)]
async fn s2_6_the_context_of_the_caller_limits_its_calls() {
    let (client, _, _server) = pair(&Clock::default(), Channel::builder());
    let (longer, shorter) = (client.with_timeout(ms(200)), client.with_timeout(ms(50)));
    let context = Context::new().with_timeout(ms(100));
    context
        .scope(async {
            assert_eq!(client.left().await.unwrap(), Some(ms(100)));
            assert_eq!(longer.left().await.unwrap(), Some(ms(100)));
            assert_eq!(shorter.left().await.unwrap(), Some(ms(50)));
            tokio::time::sleep(ms(60)).await;
            assert_eq!(client.left().await.unwrap(), Some(ms(40)));
            assert_eq!(shorter.left().await.unwrap(), Some(ms(40)));
            tokio::time::sleep(ms(60)).await;
            assert_overdue(&client.left().await.unwrap_err());
        })
        .await;
    assert_eq!(client.left().await.unwrap(), None, "outside");
}

/// T15: no number makes it panic, overflow, or wait for ever.
#[tokio::test(start_paused = true)]
async fn t15_long_timeouts_are_cut_to_a_day() {
    let clock = Clock::default();
    let (client, _, _server) = pair(&clock, Channel::builder());
    for long in [DAY, DAY + ms(1), ms(u64::MAX), Duration::MAX] {
        let left = client.with_timeout(long).left().await.unwrap().unwrap();
        // 16 bits on the wire: less than a two-thousandth is lost.
        assert!(left <= DAY && left > DAY * 1999 / 2000, "{long:?} {left:?}");
        let context = Context::new().with_timeout(long);
        assert_eq!(context.remaining(), Some(DAY));
    }
    let begin = Instant::now();
    let status = client.with_timeout(Duration::MAX).hang().await.unwrap_err();
    assert_overdue(&status);
    let took = begin.elapsed();
    assert!(took <= DAY && took > DAY * 1999 / 2000, "{took:?}");
    assert_eq!(clock.stopped.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn t15_no_time_at_all_sends_nothing() {
    let clock = Clock::default();
    let (client, wires, _server) = pair(&clock, Channel::builder());
    let begin = Instant::now();
    let status = client
        .with_timeout(Duration::ZERO)
        .left()
        .await
        .unwrap_err();
    assert_overdue(&status);
    assert!(status.is_not_processed());
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!((wires.opened(), clock.started.get()), (0, 0));
    for short in [Duration::from_nanos(1), Duration::from_micros(999)] {
        let status = client.with_timeout(short).hang().await.unwrap_err();
        assert_overdue(&status);
    }
    assert!(begin.elapsed() <= ms(10), "{:?}", begin.elapsed());
    client.left().await.unwrap();
}

/// Time spent on the way is the caller's: the handler is told what is left after it.
#[tokio::test(start_paused = true)]
async fn time_spent_connecting_is_not_given_to_the_handler() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Clock::default()).serve(exchange).unwrap();
    let connector = Remote(wires, ms(200));
    let client = TimedClient::new(Channel::builder().with_connector(Arc::new(connector)));
    let left = client.with_timeout(ms(300)).left().await.unwrap();
    assert_eq!(left, Some(ms(100)));
}

/// Does not hurry.
struct Sleepy(Duration);

impl Interceptor for Sleepy {
    async fn before(&self, _: &mut CallInfo) -> Result<(), Status> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn time_spent_in_an_interceptor_is_not_given_to_the_handler() {
    let channel = Channel::builder().interceptor(Sleepy(ms(200)));
    let (client, _, _server) = pair(&Clock::default(), channel);
    let left = client.with_timeout(ms(300)).left().await.unwrap();
    assert_eq!(left, Some(ms(100)));
}

#[rpc::service]
trait Hop {
    /// Pauses, notes what is left, and goes on down; gives the notes from here on.
    async fn down(&self, pause: Duration) -> rpc::Result<Vec<Duration>>;
}

struct Station(Option<HopClient>);

impl Hop for Station {
    async fn down(&self, pause: Duration) -> rpc::Result<Vec<Duration>> {
        let left = || Context::current().remaining().unwrap();
        let mut notes = vec![left()];
        tokio::time::sleep(pause).await;
        if let Some(next) = &self.0 {
            // A longer timeout of its own does not help it.
            notes.extend(next.with_timeout(ms(10_000)).down(pause).await?);
        }
        Ok(notes)
    }
}

/// Three servers in a row, and a client of the first.
async fn three_hops() -> (HopClient, Vec<rpc::Server>) {
    let mut servers = Vec::new();
    let mut next = None;
    for _ in 0..3 {
        let (wires, exchange) = network(|_, ends| ends);
        let station = HopServer::new(Station(next.take()));
        let server = rpc::Server::builder().add_service(station);
        servers.push(server.serve(exchange).unwrap());
        let channel = Channel::builder().with_connector(Arc::new(wires));
        next = Some(HopClient::new(channel));
    }
    (next.unwrap(), servers)
}

/// A deadline travels as what is left of it: parent minus elapsed, ± 5 ms.
#[tokio::test(start_paused = true)]
async fn what_is_left_shrinks_from_hop_to_hop() {
    let (client, _servers) = three_hops().await;
    let notes = client.with_timeout(ms(300)).down(ms(70)).await.unwrap();
    println!("left on each of three hops: {notes:?}");
    for (hop, left) in (0..3).zip(&notes) {
        let expected = ms(300 - 70 * hop);
        assert!(left.abs_diff(expected) <= ms(5), "hop {hop}: {left:?}");
    }
    assert_eq!(notes.len(), 3);

    let begin = Instant::now();
    let status = client.with_timeout(ms(300)).down(ms(120)).await;
    assert_overdue(&soon(async { status }).await.unwrap_err());
    assert!(begin.elapsed().abs_diff(ms(300)) <= ms(5));
}
