//! One call to all who are listed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rpc::many::{broadcast, fork, inform};
use rpc::transport::{Connector, Duplex, MemoryConnector};
use rpc::{Channel, Code, Status};
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;
use crate::common::until;

const UNAVAILABLE: u64 = 14;

async fn each(client: &GreeterClient) -> impl Iterator<Item = GreeterClient> {
    let channels = client.channel().each().await.unwrap();
    channels.into_iter().map(GreeterClient::new)
}

async fn pause(client: GreeterClient) -> Result<usize, Status> {
    client.pause(0).await
}

/// S1-31: the first error ends a broadcast, and the handlers that still work.
#[tokio::test(start_paused = true)]
async fn s1_31_an_error_ends_a_broadcast() {
    let crew = Crew::of(5).await;
    crew.mood(3).fails.store(UNAVAILABLE, SeqCst);
    for number in [0, 1, 2, 4] {
        crew.mood(number).delay.store(5_000, SeqCst);
    }
    let client = crew.client();
    // All are connected to, so that no call is given up before it is sent.
    let all = each(&client).await;
    inform(all, async |one: GreeterClient| one.hello(0).await).await;
    let before = crew.all_calls();
    let began = Instant::now();
    crew.mood(3).delay.store(10, SeqCst);
    let status = broadcast(each(&client).await, pause).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(began.elapsed() < millis(100), "{:?}", began.elapsed());
    assert_eq!(crew.all_calls() - before, 5);
    let cancelled = |number| crew.mood(number).cancelled.load(SeqCst);
    until(|| {
        [0, 1, 2, 4]
            .into_iter()
            .all(|number| cancelled(number) == 1)
    })
    .await;
}

/// S1-31: if all succeed, the first reply counts; nobody to call is an error.
#[tokio::test(start_paused = true)]
async fn s1_31_a_broadcast_reaches_all() {
    let crew = Crew::of(5).await;
    for number in 0..5 {
        crew.mood(number)
            .delay
            .store(100 - 10 * number as u64, SeqCst);
    }
    let client = crew.client();
    assert_eq!(broadcast(each(&client).await, pause).await.unwrap(), 4);
    assert!((0..5).all(|number| crew.calls(number) == 1));
    crew.list([]);
    tokio::time::sleep(millis(50)).await;
    let status = broadcast(each(&client).await, pause).await.unwrap_err();
    assert!(status.message().contains("nobody to call"), "{status}");
    let status = fork(each(&client).await, pause).await.unwrap_err();
    assert!(status.message().contains("nobody to call"), "{status}");
    assert!(inform(each(&client).await, pause).await.is_empty());
}

/// The first success counts, however many fail before; the rest is given up.
#[tokio::test(start_paused = true)]
async fn s1_31_a_fork_takes_the_first_success() {
    let crew = Crew::of(3).await;
    crew.mood(0).fails.store(UNAVAILABLE, SeqCst);
    crew.mood(1).delay.store(20, SeqCst);
    crew.mood(2).delay.store(60_000, SeqCst);
    let client = crew.client();
    assert_eq!(fork(each(&client).await, pause).await.unwrap(), 1);
    until(|| crew.mood(2).cancelled.load(SeqCst) == 1).await;
    for number in 1..3 {
        crew.mood(number).fails.store(UNAVAILABLE, SeqCst);
        crew.mood(number).delay.store(0, SeqCst);
    }
    assert!(fork(each(&client).await, pause).await.is_err());
}

/// Every outcome is told, in the order of the servers, also that of one that cannot be reached.
#[tokio::test(start_paused = true)]
async fn s1_31_inform_tells_every_outcome() {
    let mut crew = Crew::of(3).await;
    crew.mood(0).fails.store(UNAVAILABLE, SeqCst);
    crew.kill(1);
    let client = crew.client();
    let outcomes = inform(each(&client).await, pause).await;
    let codes: Vec<_> = outcomes
        .iter()
        .map(|o| o.as_ref().map_err(Status::code))
        .collect();
    assert_eq!(
        codes,
        [Err(Code::Unavailable), Err(Code::Unavailable), Ok(&2)]
    );
    assert!(outcomes[1].as_ref().unwrap_err().is_not_processed());
}

/// Reaches a server after so many milliseconds.
#[derive(Debug)]
struct Slow(MemoryConnector, u64);

#[rpc::async_trait]
impl Connector for Slow {
    async fn connect(&self) -> io::Result<Duplex> {
        tokio::time::sleep(millis(self.1)).await;
        self.0.connect().await
    }
    fn target(&self) -> String {
        self.0.target()
    }
}

/// A call to one server stays there, also when another one is reached before it.
#[tokio::test(start_paused = true)]
async fn s1_31_a_broadcast_waits_for_each_server() {
    let crew = Crew::of(3).await;
    let addresses: Vec<_> = (0..3)
        .map(|number| crew.address(number).to_owned())
        .collect();
    let slow = move |target: &str| {
        let number = addresses.iter().position(|address| address == target)?;
        let place = MemoryConnector::new(target.strip_prefix("mem://")?);
        Some(Arc::new(Slow(place, 100 * number as u64)) as Arc<dyn Connector>)
    };
    let client = crew.client_of(Channel::builder().connectors(slow));
    let outcomes = inform(each(&client).await, pause).await;
    let called: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(called, [0, 1, 2]);
}
