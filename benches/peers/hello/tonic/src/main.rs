//! The hello world of a user, as the example has it.

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request as In, Response, Status};

mod proto {
    tonic::include_proto!("hello");
}

use proto::greeter_client::GreeterClient;
use proto::greeter_server::{Greeter, GreeterServer};
use proto::{Reply, Request};

struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn hello(&self, request: In<Request>) -> Result<Response<Reply>, Status> {
        let name = request.into_inner().name;
        let greeting = format!("Hello, {name}!");
        Ok(Response::new(Reply { greeting }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().add_service(GreeterServer::new(Polite));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let mut client = GreeterClient::connect(format!("http://{address}")).await?;
    let name = "Ann".to_owned();
    println!(
        "{}",
        client.hello(Request { name }).await?.into_inner().greeting
    );
    Ok(())
}
