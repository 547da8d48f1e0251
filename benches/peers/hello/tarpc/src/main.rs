//! The hello world of a user, as the README and the example service have it, over TCP.

use futures::{StreamExt, future};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};

#[tarpc::service]
trait Greeter {
    async fn hello(name: String) -> String;
}

#[derive(Clone)]
struct Polite;

impl Greeter for Polite {
    async fn hello(self, _: context::Context, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = listener.local_addr();
    tokio::spawn(
        listener
            .filter_map(|transport| future::ready(transport.ok()))
            .map(BaseChannel::with_defaults)
            .for_each_concurrent(None, |channel| {
                channel.execute(Polite.serve()).for_each(|response| async {
                    tokio::spawn(response);
                })
            }),
    );
    let transport = tcp::connect(address, Bincode::default).await?;
    let client = GreeterClient::new(client::Config::default(), transport).spawn();
    println!(
        "{}",
        client.hello(context::current(), "Ann".to_owned()).await?
    );
    Ok(())
}
