//! One trait is the whole contract: serve it, connect to it, call it.
//!
//! Run it with `cargo run --example quickstart`.

#[rpc::service]
trait Greeter {
    /// Greets one person.
    async fn hello(&self, name: String) -> rpc::Result<String>;
}

struct Polite;

impl Greeter for Polite {
    async fn hello(&self, name: String) -> rpc::Result<String> {
        Ok(format!("Hello, {name}!"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = rpc::Server::builder()
        .add_service(GreeterServer::new(Polite))
        .bind("tcp://127.0.0.1:0")
        .await?;
    println!("listening on {}", server.uri());

    let client = GreeterClient::connect(server.uri()).await?;
    println!("{}", client.hello("Ann".into()).await?);

    server.shutdown().await;
    Ok(())
}
