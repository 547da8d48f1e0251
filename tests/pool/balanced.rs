//! Several connections to each server of a name.

use rpc::discovery::{Endpoint, Resolvers, StaticList};
use rpc::{Channel, ConnectionPool, Server, Status};

use crate::common::{unique, until};
use crate::{millis, seconds};

#[rpc::service]
trait Work {
    async fn pause(&self, millis: u64) -> rpc::Result<usize>;
}

struct Worker(usize);

impl Work for Worker {
    async fn pause(&self, millis: u64) -> rpc::Result<usize> {
        tokio::time::sleep(crate::millis(millis)).await;
        Ok(self.0)
    }
}

/// Servers, and a client of all of them with two connections to each and a place on each of those.
async fn fleet(size: usize) -> (Vec<Server>, WorkClient) {
    let mut servers = Vec::new();
    for number in 0..size {
        let builder = Server::builder().add_service(WorkServer::new(Worker(number)));
        let place = format!("mem://{}", unique("pool"));
        servers.push(builder.bind(&place).await.unwrap());
    }
    let listed = servers.iter().map(|one| Endpoint::new(one.uri()).unwrap());
    let resolvers = Resolvers::default().with("pool", StaticList::new(listed));
    let pool = ConnectionPool::new()
        .with_max_connections(2)
        .with_calls_per_connection_max(1)
        .with_idle_timeout(seconds(10));
    let builder = Channel::builder().resolvers(resolvers.unwrap());
    let channel = builder.connection_pool(pool).connect_lazy("pool://work");
    (servers, WorkClient::new(channel.unwrap()))
}

fn pause(client: &WorkClient, millis: u64) -> tokio::task::JoinHandle<Result<usize, Status>> {
    let client = client.clone();
    tokio::spawn(async move { client.pause(millis).await })
}

/// S0-12, S0-13: who finds a server full goes to another, and waits when all are.
#[tokio::test(start_paused = true)]
async fn s0_12_a_full_server_is_passed_over_until_all_are() {
    let (servers, client) = fleet(3).await;
    for _ in 0..50 {
        client.pause(0).await.unwrap();
    }
    let calls: Vec<_> = (0..30).map(|_| pause(&client, 1_000)).collect();
    tokio::time::sleep(millis(500)).await;
    let stats = client.channel().stats();
    assert_eq!((stats.connections.open, stats.connections.in_use), (6, 6));
    assert_eq!(stats.connections.waiting, 24);
    for (server, endpoint) in servers.iter().zip(&stats.endpoints) {
        assert_eq!(server.load().calls_in_flight, 2);
        assert_eq!(endpoint.connections.open, 2);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for server in &servers {
        let load = server.load();
        assert_eq!((load.connections, load.calls_refused), (2, 0));
    }
    let now = client.channel().stats().connections;
    assert_eq!((now.open, now.idle, now.waiting), (6, 6, 0));
    // Nobody calls: all of them expire.
    tokio::time::sleep(seconds(15)).await;
    assert_eq!(client.channel().stats().connections.open, 0);
    until(|| servers.iter().all(|one| one.load().connections == 0)).await;
    client.pause(0).await.unwrap();
}

/// A server that goes takes its connections along, and its calls go elsewhere.
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_leaves_no_caller_behind() {
    let (mut servers, client) = fleet(3).await;
    for _ in 0..50 {
        client.pause(0).await.unwrap();
    }
    let calls: Vec<_> = (0..30).map(|_| pause(&client, 100)).collect();
    tokio::time::sleep(millis(50)).await;
    let gone = servers.remove(0);
    gone.shutdown().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let stats = client.channel().stats();
    assert_eq!(stats.endpoints[0].connections.open, 0);
    assert_eq!(stats.connections.waiting, 0);
}
