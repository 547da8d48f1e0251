//! A deadline on its way over three hops: what is left at each, and who stops when nothing is.
//!
//! Run it with `cargo run --example deadlines`.

use std::error::Error;
use std::time::{Duration, Instant};

use rpc::{Context, Server};

#[rpc::service]
trait Kitchen {
    /// Works for so long, then asks the next hop to do the same; gives what was left on each.
    async fn cook(&self, work: Duration) -> rpc::Result<Vec<Duration>>;
}

struct Hop {
    name: &'static str,
    next: Option<KitchenClient>,
}

/// Says when a handler ends, done or not.
struct Farewell(&'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        println!("  {}: ends", self.0);
    }
}

impl Kitchen for Hop {
    async fn cook(&self, work: Duration) -> rpc::Result<Vec<Duration>> {
        let _farewell = Farewell(self.name);
        let left = Context::current().remaining().unwrap_or_default();
        println!("  {}: {left:.0?} left", self.name);
        tokio::time::sleep(work).await;
        let mut all = vec![left];
        if let Some(next) = &self.next {
            // Nothing is passed on here: the call inherits what is left.
            all.extend(next.cook(work).await?);
        }
        Ok(all)
    }
}

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    reason = "the time is shown, not decided on"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut servers, mut next) = (Vec::new(), None);
    for name in ["oven", "cook", "waiter"] {
        let hop = KitchenServer::new(Hop { name, next });
        let server = Server::builder().add_service(hop);
        let server = server.bind("tcp://127.0.0.1:0").await?;
        next = Some(KitchenClient::connect(server.uri()).await?);
        servers.push(server);
    }
    let client = next
        .ok_or("three hops")?
        .with_timeout(Duration::from_millis(300));

    println!("50 ms of work on each hop, 300 ms for all");
    let left = client.cook(Duration::from_millis(50)).await?;
    println!("guest: served; {left:.0?}");

    println!("120 ms of work on each hop, 300 ms for all");
    let begin = Instant::now();
    let status = client.cook(Duration::from_millis(120)).await.unwrap_err();
    println!("guest: {} after {:.0?}", status.code(), begin.elapsed());

    // Each server learned of the deadline with the call, and none works past it.
    for server in servers.into_iter().rev() {
        server.shutdown().await;
    }
    Ok(())
}
