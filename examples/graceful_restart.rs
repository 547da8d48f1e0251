//! A new version of a server takes over an address while calls run: none fails, none runs twice.
//!
//! Run it with `cargo run --example graceful_restart`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rpc::{CallOptions, Server};
use tokio::task::JoinSet;

#[rpc::service]
trait Orders {
    /// Takes an order; says which version of the server did.
    async fn order(&self, number: u64) -> rpc::Result<u32>;
}

struct Shop {
    version: u32,
    taken: Arc<AtomicU64>,
}

impl Orders for Shop {
    async fn order(&self, _number: u64) -> rpc::Result<u32> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.taken.fetch_add(1, Relaxed);
        Ok(self.version)
    }
}

const CUSTOMERS: u64 = 20;
const ORDERS_EACH: u64 = 80;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let taken = Arc::new(AtomicU64::new(0));
    let shop = |version| {
        let taken = taken.clone();
        Server::builder().add_service(OrdersServer::new(Shop { version, taken }))
    };
    let mut server = shop(1).bind("tcp://127.0.0.1:0").await?;
    let address = server.uri().to_owned();
    println!("version 1 serves");

    // The calls wait while nobody listens, rather than fail.
    let options = CallOptions::new().with_wait_for_ready(true);
    let client = OrdersClient::connect(&address).await?;
    let client = client.with_options(options.with_timeout(Duration::from_secs(10)));
    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        let client = client.clone();
        customers.spawn(async move {
            let mut answers = Vec::new();
            for order in 0..ORDERS_EACH {
                answers.push(client.order(customer * ORDERS_EACH + order).await);
            }
            answers
        });
    }
    for version in 2..=4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // Announces its end, finishes what runs, and frees the address.
        server.shutdown().await;
        server = shop(version).bind(&address).await?;
        println!("version {version} serves at the same address");
    }
    let mut by_version = BTreeMap::new();
    for answer in customers.join_all().await.into_iter().flatten() {
        // Written `?`: not one of them failed.
        *by_version.entry(answer?).or_insert(0) += 1;
    }
    println!("orders by version: {by_version:?}");
    println!("none failed, {} ran", taken.load(Relaxed));
    server.shutdown().await;
    Ok(())
}
