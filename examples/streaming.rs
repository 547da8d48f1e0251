//! Streams of values: from the server, from the client, and both ways at once.
//!
//! Run it with `cargo run --example streaming`.

use futures_util::{StreamExt, stream};
use rpc::{Channel, Server, Streaming};

#[rpc::service]
trait Numbers {
    /// Counts to `end`.
    async fn count(&self, end: u64) -> rpc::Result<Streaming<u64>>;
    /// Adds up what is sent.
    async fn sum(&self, numbers: Streaming<u64>) -> rpc::Result<u64>;
    /// Answers each number with its square.
    async fn square(&self, numbers: Streaming<u64>) -> rpc::Result<Streaming<u64>>;
}

struct Mathematician;

impl Numbers for Mathematician {
    async fn count(&self, end: u64) -> rpc::Result<Streaming<u64>> {
        Ok(Streaming::new(stream::iter(1..=end)))
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> rpc::Result<u64> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }

    async fn square(&self, numbers: Streaming<u64>) -> rpc::Result<Streaming<u64>> {
        let squares = numbers.map(|number| Ok(number?.pow(2)));
        Ok(Streaming::try_new(squares))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .add_service(NumbersServer::new(Mathematician))
        .bind("tcp://127.0.0.1:0")
        .await?;
    let client = NumbersClient::new(Channel::connect(server.uri()).await?);

    // The server sends.
    let mut counted = client.count(5).await?;
    while let Some(number) = counted.next().await {
        println!("counted {}", number?);
    }

    // The client sends; the answer comes at the end.
    let sum = client.sum(Streaming::new(stream::iter(1..=100))).await?;
    println!("1 + 2 + .. + 100 = {sum}");

    // Both at once: what is sent next may depend on what came.
    let (sender, numbers) = Streaming::channel(1);
    let mut squares = client.square(numbers).await?;
    let mut number = 2;
    while number < 1000 {
        sender.send(number).await?;
        let square = squares.next().await.ok_or("the server stopped")??;
        println!("{number} squared is {square}");
        number = square;
    }
    drop(sender);
    assert!(squares.next().await.is_none());

    // As a callback: a task of its own calls back with the result, and nobody waits here.
    let back = |result: rpc::Result<u64>| println!("called back with {result:?}");
    let numbers = Streaming::new(stream::iter([3, 4]));
    let calling = tokio::spawn(async move { back(client.sum(numbers).await) });
    Ok(calling.await?)
}
