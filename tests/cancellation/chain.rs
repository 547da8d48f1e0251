//! Four hops over TCP: what is dropped at the root stops at the leaf.

use std::time::{Duration, Instant};

use crate::common::{Count, soon, until};

#[rpc::service]
trait Hop {
    async fn down(&self) -> rpc::Result<()>;
}

struct Station {
    next: Option<HopClient>,
    reached: Count,
    stopped: Count,
}

impl Hop for Station {
    async fn down(&self) -> rpc::Result<()> {
        let _stopped = self.stopped.on_drop();
        self.reached.add();
        match &self.next {
            Some(next) => next.down().await,
            None => std::future::pending().await,
        }
    }
}

/// The time from the drop at the root to the drop at the leaf, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "real time is measured")]
async fn a_cancel_reaches_the_leaf_of_four_hops() {
    let (reached, stopped) = (Count::default(), Count::default());
    let (mut servers, mut next) = (Vec::new(), None);
    for _ in 0..4 {
        let station = Station {
            next: next.take(),
            reached: reached.clone(),
            stopped: stopped.clone(),
        };
        let server = rpc::Server::builder().add_service(HopServer::new(station));
        let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
        next = Some(HopClient::connect(server.uri()).await.unwrap());
        servers.push(server);
    }
    let root = next.unwrap();
    let mut took = Vec::new();
    for round in 1..=20 {
        let root = root.clone();
        let call = tokio::spawn(async move { root.down().await });
        until(|| reached.get() == 4 * round).await;
        let begin = Instant::now();
        call.abort();
        until(|| stopped.get() == 4 * round).await;
        took.push(begin.elapsed());
        soon(call).await.unwrap_err();
    }
    took.sort();
    println!(
        "cancel over 4 hops: median {:?}, slowest {:?}; target 50 ms",
        took[10], took[19]
    );
    assert!(took[10] <= Duration::from_millis(50), "{took:?}");
    for server in &servers {
        until(|| server.load().calls_in_flight == 0).await;
        assert_eq!(server.connection_count(), 1);
    }
}
