//! Settings at the end of their range, and code of the user's that fails where nobody expects it.

use std::io;
use std::sync::{Arc, Mutex, Weak, mpsc};

use rpc::balance::{List, Picker, Policy, RoundRobin};
use rpc::resilience::{BackoffPolicy, OutlierPolicy};
use rpc::transport::{Connector, Duplex};
use rpc::{Channel, Code, ConnectionPool};

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;
use crate::common::{soon, until};

/// Who does not want servers to be compared may say so by a time that never comes.
#[tokio::test(start_paused = true)]
async fn outliers_may_be_looked_for_never() {
    let crew = Crew::of(2).await;
    let outliers = OutlierPolicy::default().with_interval(Duration::MAX);
    let client = crew.client_of(Channel::builder().outliers(Some(outliers)));
    soon(client.hello(1)).await.unwrap();
    crew.list([1]);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(soon(client.hello(2)).await.unwrap(), 1);
}

/// Nor is there ever another attempt to connect, if the pause is as long as it can be.
#[tokio::test]
async fn a_pause_before_connecting_again_may_be_for_ever() {
    let forever = BackoffPolicy::default()
        .with_base(Duration::MAX)
        .with_cap(Duration::MAX)
        .with_jitter(0.0);
    for connections in [1, 2] {
        let crew = Crew::listed(1);
        let pool = ConnectionPool::new().with_max_connections(connections);
        let builder = || {
            let builder = Channel::builder().connection_pool(pool);
            builder.reconnect_backoff(forever)
        };
        let one = builder().connect_lazy(crew.address(0)).unwrap();
        for client in [GreeterClient::new(one), crew.client_of(builder())] {
            for _ in 0..2 {
                let status = soon(client.hello(1)).await.unwrap_err();
                assert_eq!(status.code(), Code::Unavailable, "{status}");
            }
        }
    }
}

/// Makes a picker when it is told to.
#[derive(Debug)]
struct Thinker {
    begun: tokio::sync::mpsc::Sender<Weak<()>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug)]
struct Thought(
    Box<dyn Picker>,
    #[expect(dead_code, reason = "for its end")] Arc<()>,
);

impl Policy for Thinker {
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker> {
        let token = Arc::new(());
        self.begun.try_send(Arc::downgrade(&token)).unwrap();
        // An error means that the test is over.
        let _ = self.go_on.lock().unwrap().recv();
        Box::new(Thought(RoundRobin::default().picker(backends, seed), token))
    }
}

impl Picker for Thought {
    fn pick(&self, pick: &rpc::balance::Pick<'_>) -> Option<rpc::balance::Picked> {
        self.0.pick(pick)
    }
}

/// A list that is being worked out while the channel is closed opens it no more.
#[tokio::test]
async fn a_channel_that_is_closed_while_it_makes_a_picker_stays_closed() {
    let crew = Crew::of(100).await;
    let (begun, mut thinking) = tokio::sync::mpsc::channel(1);
    let (go_on, waiting) = mpsc::sync_channel(1);
    let policy = Thinker {
        begun,
        go_on: Mutex::new(waiting),
    };
    let client = crew.client_of(Channel::builder().balancing(policy));
    let thought = soon(thinking.recv()).await.unwrap();
    client.channel().close();
    go_on.send(()).unwrap();
    until(|| thought.strong_count() == 0).await;
    let status = soon(client.hello(1)).await.unwrap_err();
    assert!(status.message().contains("closed"), "{status}");
    assert!(client.channel().stats().endpoints.is_empty());
}

/// Cannot say where it leads.
#[derive(Debug)]
struct Nameless;

#[rpc::async_trait]
impl Connector for Nameless {
    async fn connect(&self) -> io::Result<Duplex> {
        Err(io::Error::other("nobody is there"))
    }
    fn target(&self) -> String {
        panic!("a bug in the connector")
    }
}

/// A connector that panics when it is asked for its name costs a call no more than one that fails.
#[tokio::test]
async fn a_connector_that_cannot_say_its_name_fails_calls_and_nothing_else() {
    for connections in [1, 2] {
        let crew = Crew::listed(1);
        let nameless = |_: &str| Some(Arc::new(Nameless) as Arc<dyn Connector>);
        let pool = ConnectionPool::new().with_max_connections(connections);
        let builder = || {
            let builder = Channel::builder().connection_pool(pool);
            builder.connectors(nameless)
        };
        let one = builder().connect_lazy(crew.address(0)).unwrap();
        for client in [GreeterClient::new(one), crew.client_of(builder())] {
            let status = soon(client.hello(1)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert!(status.is_not_processed());
        }
    }
}
