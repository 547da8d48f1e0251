//! The hello world of a user, as the README has it.

use rpc::Server;

#[rpc::service]
trait Greeter {
    async fn hello(&self, name: &str) -> rpc::Result<String>;
}

struct Polite;

impl Greeter for Polite {
    async fn hello(&self, name: &str) -> rpc::Result<String> {
        Ok(format!("Hello, {name}!"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = GreeterServer::new(Polite);
    let server = Server::builder()
        .add_service(service)
        .bind("tcp://127.0.0.1:0")
        .await?;
    let client = GreeterClient::connect(server.uri()).await?;
    println!("{}", client.hello("Ann").await?);
    Ok(())
}
