//! How many connections there are, who gets which, and in what order callers wait.

use std::sync::{Arc, Mutex};

use futures_util::future::{join_all, poll_immediate};
use rpc::{Channel, Code, ConnectionPool};

use crate::common::{soon, until};
use crate::harbour::{Harbour, Work, WorkClient, stats};
use crate::{millis, seconds};

/// So many connections, with a place for one call on each.
fn singles(connections: usize) -> ConnectionPool {
    ConnectionPool::new()
        .with_max_connections(connections)
        .with_calls_per_connection_max(1)
}

/// Calls that are sent, and run.
async fn hold(harbour: &Harbour, client: &WorkClient, calls: usize) -> Vec<Held> {
    let before = harbour.log.running();
    let mut held = Vec::new();
    for number in 1..=calls {
        let client = client.clone();
        held.push(tokio::spawn(async move { client.wait().await }));
        until(|| harbour.log.running() == before + number).await;
    }
    held
}

type Held = tokio::task::JoinHandle<rpc::Result<usize>>;

/// S0-11: the numbers are checked before anything is connected.
#[tokio::test]
async fn s0_11_numbers_that_contradict_each_other_are_refused() {
    let pool = ConnectionPool::new;
    for (pool, mistake) in [
        (
            pool().with_min_connections(3).with_max_connections(2),
            "min_connections is 3, more than max_connections, 2",
        ),
        (pool().with_max_connections(0), "max_connections is zero"),
        (
            pool().with_calls_per_connection_max(0),
            "calls_per_connection_max is zero",
        ),
        (
            pool().with_idle_timeout(std::time::Duration::ZERO),
            "idle_timeout is zero",
        ),
    ] {
        let builder = Channel::builder().connection_pool(pool);
        let error = builder.connect_lazy("tcp://127.0.0.1:1").unwrap_err();
        assert!(error.is_invalid_limit());
        assert!(error.to_string().contains(mistake), "{error}");
    }
    assert_eq!(pool(), ConnectionPool::default());
    assert_eq!((pool().min_connections(), pool().max_connections()), (0, 1));
}

/// S0-11: the minimum is there after connecting, without a call.
#[tokio::test]
async fn s0_11_the_minimum_is_there_at_once() {
    for target in ["tcp://127.0.0.1:0", "mem://s0-11"] {
        let server = rpc::Server::builder().bind(target).await.unwrap();
        let pool = ConnectionPool::new()
            .with_min_connections(3)
            .with_max_connections(5);
        let builder = Channel::builder().connection_pool(pool);
        let channel = builder.connect(server.uri()).await.unwrap();
        let stats = channel.stats().connections;
        assert_eq!((stats.open, stats.idle, stats.in_use), (3, 3, 0));
        until(|| server.load().connections == 3).await;
        channel.close();
        until(|| server.load().connections == 0).await;
        assert_eq!(channel.stats().connections.open, 0);
    }
}

/// S0-11: lost ones of the minimum are replaced, also without a call.
#[tokio::test(start_paused = true)]
async fn s0_11_the_minimum_stays() {
    let harbour = Harbour::new();
    let pool = singles(3).with_min_connections(2);
    let client = harbour.client(pool.with_idle_timeout(seconds(5)));
    client.echo().await.unwrap();
    until(|| stats(&client).open == 2).await;
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(harbour.net.made(), 2, "the minimum does not expire");
    for lost in 0..6 {
        harbour.net.cut(lost);
        tokio::time::sleep(seconds(2)).await;
        assert_eq!((stats(&client).open, harbour.net.open()), (2, 2));
    }
}

/// S0-10, S0-12: what is there is used before another one is opened, and nobody exceeds the limits.
#[tokio::test(start_paused = true)]
async fn s0_12_the_third_waits_for_a_place_on_one_of_two() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(2));
    for _ in 0..20 {
        assert_eq!(client.echo().await.unwrap(), 0);
    }
    assert_eq!(
        harbour.net.made(),
        1,
        "one call at a time needs one connection"
    );
    let mut held = hold(&harbour, &client, 2).await;
    assert_eq!(harbour.net.made(), 2);
    let mut third = Box::pin(client.echo());
    assert!(poll_immediate(&mut third).await.is_none());
    tokio::time::sleep(seconds(1)).await;
    assert!(poll_immediate(&mut third).await.is_none());
    let now = stats(&client);
    assert_eq!((now.open, now.in_use, now.idle, now.waiting), (2, 2, 0, 1));
    // The one that becomes free is the one that the third gets.
    held.remove(1).abort();
    assert_eq!(soon(third).await.unwrap(), 1);
    harbour.log.go.add_permits(1);
    assert_eq!(held.remove(0).await.unwrap().unwrap(), 0);
    let now = stats(&client);
    assert_eq!((now.open, now.in_use, now.idle, now.waiting), (2, 0, 2, 0));
    assert_eq!(harbour.log.most(), 1);
}

/// S0-12: a call goes to the connection with the fewest; another is opened when all are full.
#[tokio::test(start_paused = true)]
async fn s0_12_calls_spread_over_what_is_open() {
    let harbour = Harbour::new();
    let client = harbour.client(
        ConnectionPool::new()
            .with_min_connections(2)
            .with_max_connections(3)
            .with_calls_per_connection_max(2),
    );
    client.echo().await.unwrap();
    until(|| stats(&client).open == 2).await;
    let held = hold(&harbour, &client, 6).await;
    harbour.log.go.add_permits(6);
    let mut taken = Vec::new();
    for call in held {
        taken.push(call.await.unwrap().unwrap());
    }
    assert_eq!(taken, [0, 1, 0, 1, 2, 2]);
}

/// S0-13: first come, first served, also when some give up.
#[tokio::test(start_paused = true)]
async fn s0_13_callers_in_line_are_served_in_their_order() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(2));
    let held = hold(&harbour, &client, 2).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for number in 0..30 {
        let (one, order) = (client.clone(), order.clone());
        callers.push(tokio::spawn(async move {
            one.wait().await.unwrap();
            order.lock().unwrap().push(number);
        }));
        until(|| stats(&client).waiting == number + 1).await;
    }
    for given_up in [0, 7, 29] {
        callers[given_up].abort();
    }
    until(|| stats(&client).waiting == 27).await;
    for done in 0..27 {
        harbour.log.go.add_permits(if done == 0 { 3 } else { 1 });
        until(|| order.lock().unwrap().len() == done + 1).await;
        until(|| harbour.log.running() == (26 - done).min(2)).await;
    }
    soon(join_all(held)).await;
    let expected: Vec<_> = (0..30).filter(|n| ![0, 7, 29].contains(n)).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!((harbour.net.most(), harbour.log.most()), (2, 1));
}

/// S0-14: who is idle for too long goes, without any traffic, and the server sees it.
#[tokio::test(start_paused = true)]
async fn s0_14_idle_connections_end_without_traffic() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(4).with_idle_timeout(seconds(10)));
    let held = hold(&harbour, &client, 4).await;
    harbour.log.go.add_permits(4);
    soon(join_all(held)).await;
    tokio::time::sleep(seconds(9)).await;
    assert_eq!(
        (stats(&client).open, harbour.server.load().connections),
        (4, 4)
    );
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(stats(&client).open, 0);
    assert_eq!(
        (harbour.net.open(), harbour.server.load().connections),
        (0, 0)
    );
    assert_eq!(
        client.echo().await.unwrap(),
        4,
        "the next call connects again"
    );
}

/// S0-15: after a burst, the pool shrinks to what is used.
#[tokio::test(start_paused = true)]
async fn s0_15_a_pool_shrinks_to_what_is_used() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(8).with_idle_timeout(seconds(10)));
    let held = hold(&harbour, &client, 8).await;
    harbour.log.go.add_permits(8);
    soon(join_all(held)).await;
    assert_eq!(stats(&client).open, 8);
    // Two calls at a time, one after the other.
    for _ in 0..200 {
        let (one, other) = tokio::join!(client.pause(50), client.pause(50));
        assert_eq!((one.unwrap(), other.unwrap()), (0, 1));
        tokio::time::sleep(millis(50)).await;
    }
    assert_eq!((stats(&client).open, harbour.net.open()), (2, 2));
    assert_eq!(harbour.net.made(), 8);
}

/// S0-16: the wait for a place is within the deadline of the call, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn s0_16_a_caller_waits_for_a_place_until_its_deadline() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(1));
    let held = hold(&harbour, &client, 1).await;
    let began = tokio::time::Instant::now();
    let status = client.with_timeout(millis(200)).echo().await.unwrap_err();
    assert_eq!(began.elapsed().as_millis(), 200);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.is_not_processed());
    assert!(status.message().contains("had room in time"), "{status}");
    assert_eq!(stats(&client).waiting, 0);
    harbour.log.go.add_permits(1);
    soon(join_all(held)).await;
    assert_eq!(client.echo().await.unwrap(), 0);
}

/// The items behind a reply keep the place of their call until they are consumed, or given up.
#[tokio::test(start_paused = true)]
async fn a_stream_keeps_its_place() {
    let harbour = Harbour::new();
    let client = harbour.client(singles(2));
    let mut one = client.stream().await.unwrap();
    let mut other = client.stream().await.unwrap();
    assert_eq!(one.next().await.unwrap().unwrap(), 0);
    assert_eq!(other.next().await.unwrap().unwrap(), 1);
    let mut third = Box::pin(client.echo());
    assert!(poll_immediate(&mut third).await.is_none());
    assert_eq!(stats(&client).in_use, 2);
    drop(other);
    assert_eq!(soon(third).await.unwrap(), 1);
    drop(one);
    assert_eq!(stats(&client).in_use, 0);
}

/// The default is one connection, which all calls share.
#[tokio::test(start_paused = true)]
async fn one_connection_is_enough_unless_it_is_said() {
    let harbour = Harbour::new();
    let client = harbour.client_of(Channel::builder());
    let held = hold(&harbour, &client, 100).await;
    let now = stats(&client);
    assert_eq!((now.open, now.in_use, now.idle, now.waiting), (1, 1, 0, 0));
    harbour.log.go.add_permits(100);
    soon(join_all(held)).await;
    assert_eq!((stats(&client).idle, harbour.net.made()), (1, 1));
}
