//! What goes astray: wake-ups, panics, streams that meet on one thread.

use futures_util::stream;
use rpc::{Server, Status, Streaming};
use serde::{Deserialize, Deserializer, Serialize};

use crate::common::soon;

/// Panics when it is decoded.
#[derive(Debug, Serialize)]
pub(crate) struct Bomb;

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a Deserialize of the user's")
    }
}

#[rpc::service]
trait Strays {
    async fn explode(&self, bomb: Bomb, items: Streaming<u64>) -> rpc::Result<()>;
    async fn hear(&self, items: Streaming<u64>) -> rpc::Result<Vec<u64>>;
}

struct Service;

impl Strays for Service {
    async fn explode(&self, _: Bomb, _: Streaming<u64>) -> rpc::Result<()> {
        Ok(())
    }

    async fn hear(&self, mut items: Streaming<u64>) -> rpc::Result<Vec<u64>> {
        let mut heard = Vec::new();
        while let Some(item) = items.next().await {
            heard.push(item?);
        }
        Ok(heard)
    }
}

/// The service as a client sees it that sends no items.
mod without_items {
    #[rpc::service]
    pub(super) trait Strays {
        async fn hear(&self, items: ()) -> rpc::Result<Vec<u64>>;
    }
}

#[tokio::test]
async fn t14_a_panic_while_arguments_are_decoded_leaves_its_items_to_nobody() {
    use without_items::Strays as _;
    let server = Server::builder().add_service(StraysServer::new(Service));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = StraysClient::connect(server.uri()).await.unwrap();
    let secret = Streaming::new(stream::iter([1, 2, 3]));
    let exploded: Result<(), Status> = soon(client.explode(Bomb, secret)).await;
    assert_eq!(exploded.unwrap_err().code(), rpc::Code::Internal);
    let other = without_items::StraysClient::connect(server.uri()).await;
    let heard = soon(other.unwrap().hear(())).await;
    assert_eq!(heard.unwrap_err().code(), rpc::Code::InvalidArgument);
}

#[tokio::test]
async fn a_channel_as_large_as_can_be_is_one() {
    let (sender, mut stream) = Streaming::channel(usize::MAX);
    sender.send(1).await.unwrap();
    drop(sender);
    assert_eq!(stream.next().await.unwrap().unwrap(), 1);
    assert!(stream.next().await.is_none());
}
