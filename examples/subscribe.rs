//! Server push: clients subscribe to a topic and are told what is published, until they go.
//!
//! Run it with `cargo run --example subscribe`.

use std::collections::HashMap;
use std::sync::Mutex;

use rpc::{Channel, Sender, Server, Streaming};

#[rpc::service]
trait News {
    async fn subscribe(&self, topic: String) -> rpc::Result<Streaming<String>>;
    /// Tells how many subscribers there were.
    async fn publish(&self, topic: String, headline: String) -> rpc::Result<usize>;
}

#[derive(Default)]
struct Agency {
    subscribers: Mutex<HashMap<String, Vec<Sender<String>>>>,
}

impl Agency {
    /// A subscriber that lets so many headlines wait is dropped rather than waited for.
    const BACKLOG_MAX: usize = 16;
}

impl News for Agency {
    async fn subscribe(&self, topic: String) -> rpc::Result<Streaming<String>> {
        let (sender, headlines) = Streaming::channel(Self::BACKLOG_MAX);
        let mut subscribers = self.subscribers.lock().unwrap();
        subscribers.entry(topic).or_default().push(sender);
        Ok(headlines)
    }

    async fn publish(&self, topic: String, headline: String) -> rpc::Result<usize> {
        let mut subscribers = self.subscribers.lock().unwrap();
        let Some(senders) = subscribers.get_mut(&topic) else {
            return Ok(0);
        };
        // Those who have gone, and those who do not keep up, are forgotten.
        senders.retain(|sender| sender.try_send(headline.clone()) == Ok(None));
        Ok(senders.len())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .add_service(NewsServer::new(Agency::default()))
        .bind("tcp://127.0.0.1:0")
        .await?;
    let reader = NewsClient::new(Channel::connect(server.uri()).await?);
    let writer = NewsClient::new(Channel::connect(server.uri()).await?);

    let mut weather = reader.subscribe("weather".into()).await?;
    let mut sports = reader.subscribe("sports".into()).await?;
    for headline in ["It rains", "It still rains"] {
        let told = writer.publish("weather".into(), headline.into()).await?;
        println!("told {told} subscriber: {headline}");
    }
    writer.publish("sports".into(), "Rained off".into()).await?;

    for _ in 0..2 {
        let headline = weather.next().await.ok_or("the server stopped")??;
        println!("weather: {headline}");
    }
    let headline = sports.next().await.ok_or("the server stopped")??;
    println!("sports: {headline}");

    // Who drops the stream has unsubscribed: the server's sender learns of it.
    drop(weather);
    while writer.publish("weather".into(), "Sun!".into()).await? > 0 {}
    println!("nobody listens to the weather any more");
    Ok(())
}
