//! A registry, three servers that enter themselves, and somebody who watches: servers come, stop and
//! die, and the registry itself is restarted without its memory.
//!
//! Run it with `cargo run --example registry`.

use std::error::Error;
use std::time::Duration;

use rpc::Server;
use rpc::discovery::{Attributes, Watch};
use rpc::registry::{EmbeddedRegistry, RemoteRegistry, resolvers};

#[rpc::service]
trait Greeter {
    async fn hello(&self) -> rpc::Result<String>;
}

struct Polite(&'static str);

impl Greeter for Polite {
    async fn hello(&self) -> rpc::Result<String> {
        Ok(format!("Hello from {}!", self.0))
    }
}

/// The registry is a service as any other: it runs inside any server, or alone as here.
async fn registry(target: &str) -> Result<Server, rpc::Error> {
    let registry = EmbeddedRegistry::builder()
        .writer("fleet", "a secret token")
        .allow_local()
        .ttl(Duration::from_secs(1)..=Duration::from_secs(2))
        .build();
    let builder = Server::builder().add_service(registry.service());
    builder.bind(target).await
}

async fn greeter(registry: &RemoteRegistry, version: &'static str) -> Result<Server, rpc::Error> {
    let attributes = Attributes::new().with_version(version);
    Server::builder()
        .add_service(GreeterServer::new(Polite(version)))
        .register(registry.clone(), "greeter", attributes)
        .registration_ttl(Duration::from_secs(1))
        .bind("tcp://127.0.0.1:0")
        .await
}

/// Waits until the list has this many servers, and calls each.
async fn show(watch: &mut Watch, what: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut snapshot = watch.ready().await?;
    while snapshot.len() != count {
        snapshot = watch.changed().await;
    }
    println!("{what}:");
    for endpoint in snapshot.endpoints() {
        let client = GreeterClient::connect(endpoint.address()).await?;
        println!("  {}", client.hello().await?);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = registry("tcp://127.0.0.1:0").await?;
    let place = first.uri().to_owned();
    let entrance = RemoteRegistry::new(&place)?.with_token("a secret token");
    let name = place.replace("tcp://", "registry://") + "/greeter";
    let mut watch = resolvers().watch(&name)?;

    let one = greeter(&entrance, "version 1").await?;
    let two = greeter(&entrance, "version 2").await?;
    let _three = greeter(&entrance, "version 3").await?;
    show(&mut watch, "three servers", 3).await?;
    one.shutdown().await;
    show(&mut watch, "one was stopped, and left", 2).await?;
    first.shutdown().await;
    let _second = registry(&place).await?;
    show(&mut watch, "the registry died, and was started again", 2).await?;
    drop(two);
    show(&mut watch, "one died, and was forgotten", 1).await
}
