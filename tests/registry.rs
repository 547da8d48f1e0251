//! The embedded registry: entries and their time, who may write, who sees what when, and what a
//! registry that fails does to those who depend on it.

#[path = "registry/access.rs"]
mod access;
mod common;
#[path = "registry/watching.rs"]
mod watching;

use std::time::Duration;

use rpc::Server;
use rpc::discovery::{Attributes, Endpoint, Resolvers, Snapshot, Watch};
use rpc::registry::{
    EmbeddedRegistry, Entry, Instance, Lease, Mark, Registrar, RegistrarClient, RegistryBuilder,
    RegistryResolver, RemoteRegistry,
};
use tokio::time::Instant;

use common::unique;

const TTL: Duration = Duration::from_secs(10);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A registry for a test: everybody on this machine may write.
fn open() -> RegistryBuilder {
    EmbeddedRegistry::builder()
        .without_authentication()
        .allow_local()
}

fn instance(name: &str) -> Instance {
    Instance::new(format!("mem://{name}"), Attributes::new())
}

/// A registry in memory that a test starts, kills and starts again.
struct Place {
    uri: String,
    server: Option<Server>,
}

impl Place {
    async fn start(registry: &EmbeddedRegistry) -> Self {
        let mut place = Self {
            uri: format!("mem://{}", unique("registry")),
            server: None,
        };
        place.restart(registry).await;
        place
    }

    async fn restart(&mut self, registry: &EmbeddedRegistry) {
        let builder = Server::builder().add_service(registry.service());
        self.server = Some(builder.bind(&self.uri).await.unwrap());
    }

    /// As when its process is killed. Ready when the name is free.
    async fn kill(&mut self) {
        let server = self.server.take().unwrap();
        drop(server);
        tokio::task::yield_now().await;
    }

    fn client(&self) -> RegistrarClient {
        RegistrarClient::connect_lazy(&self.uri).unwrap()
    }

    fn watch(&self, name: &str) -> Watch {
        let resolver = RegistryResolver::at(&self.uri);
        let resolvers = Resolvers::default().with("fleet", resolver).unwrap();
        resolvers.watch(&format!("fleet://{name}")).unwrap()
    }
}

/// The addresses without `mem://`.
fn names(snapshot: &Snapshot) -> Vec<&str> {
    let endpoints = snapshot.endpoints().iter();
    let names = endpoints.map(|e| e.address().strip_prefix("mem://").unwrap());
    names.collect()
}

async fn listed(client: &RegistrarClient, name: &str) -> Vec<String> {
    let list = client.list(name.into(), String::new()).await.unwrap();
    list.into_iter().map(|i| i.address).collect()
}

/// S1-32, S2-8: entries run out unless they are renewed; the list is sorted; a service is served at
/// several addresses.
#[tokio::test(start_paused = true)]
async fn s1_32_s2_8_an_entry_stands_while_it_is_renewed() {
    let place = Place::start(&open().allow_permanent().build()).await;
    let client = place.client();
    let enter = async |name: &str, ttl| {
        let entered = client.register("greeter".into(), instance(name), ttl);
        entered.await.unwrap()
    };
    enter("b", TTL).await;
    let renewed = enter("a", TTL).await;
    enter("for-ever", Duration::ZERO).await;
    tokio::time::sleep(seconds(9)).await;
    client.renew(renewed).await.unwrap();
    assert_eq!(
        listed(&client, "greeter").await,
        ["mem://a", "mem://b", "mem://for-ever"]
    );
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(
        listed(&client, "greeter").await,
        ["mem://a", "mem://for-ever"]
    );
    client.deregister(renewed).await.unwrap();
    for gone in [
        client.renew(renewed).await,
        client.deregister(renewed).await,
    ] {
        assert_eq!(gone.unwrap_err().code(), rpc::Code::NotFound);
    }
    tokio::time::sleep(seconds(1_000)).await;
    assert_eq!(listed(&client, "greeter").await, ["mem://for-ever"]);
    assert!(listed(&client, "other").await.is_empty());
}

/// All of a long list, a page at a time.
#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let place = Place::start(&open().build()).await;
    let client = place.client();
    for number in 0..1030 {
        let entered = client.register("greeter".into(), instance(&format!("{number:04}")), TTL);
        entered.await.unwrap();
    }
    let first = client.list("greeter".into(), String::new()).await.unwrap();
    assert_eq!(first.len(), 1024);
    let last = first.last().unwrap().address.clone();
    let second = client.list("greeter".into(), last).await.unwrap();
    assert_eq!(second.len(), 6);
    let mut watch = place.watch("greeter");
    assert_eq!(watch.ready().await.unwrap().len(), 1030);
}
