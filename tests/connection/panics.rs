//! T14: panics whose value panics once more when it is dropped.

use std::io;
use std::panic::panic_any;
use std::sync::Arc;

use rpc::transport::{Connector, Duplex};
use rpc::{Answered, CallInfo, Channel, Code, Interceptor, Server, Status, async_trait};
use serde::{Deserialize, Serialize, Serializer};

use crate::common::{network, soon};

/// Panics when it is dropped, with another of its kind until there are none left.
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

#[derive(Debug, Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic_any(Bomb(3))
    }
}

#[rpc::service]
trait Bombs {
    async fn echo(&self, number: u64) -> rpc::Result<u64>;
    async fn at_once(&self) -> rpc::Result<()>;
    async fn later(&self) -> rpc::Result<()>;
    async fn reply(&self) -> rpc::Result<Unspeakable>;
    async fn argument(&self, it: Unspeakable) -> rpc::Result<()>;
}

struct Bomber;

impl Bombs for Bomber {
    async fn echo(&self, number: u64) -> rpc::Result<u64> {
        Ok(number)
    }
    async fn at_once(&self) -> rpc::Result<()> {
        panic_any(Bomb(3))
    }
    async fn later(&self) -> rpc::Result<()> {
        tokio::task::yield_now().await;
        panic_any(Bomb(3))
    }
    async fn reply(&self) -> rpc::Result<Unspeakable> {
        Ok(Unspeakable)
    }
    async fn argument(&self, _: Unspeakable) -> rpc::Result<()> {
        Ok(())
    }
}

/// Panics before calls whose metadata asks for it, and after those.
struct Fuse;

impl Interceptor for Fuse {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        if call.metadata().get("bomb") == Some("before") {
            panic_any(Bomb(3));
        }
        Ok(())
    }
    fn after(&self, call: &CallInfo, _: Answered) {
        if call.metadata().get("bomb") == Some("after") {
            panic_any(Bomb(3));
        }
    }
}

#[tokio::test]
async fn t14_a_panic_whose_value_panics_fails_its_call_alone() {
    for intercepted in [false, true] {
        let (wires, exchange) = network(|_, ends| ends);
        let mut builder = Server::builder().add_service(BombsServer::new(Bomber));
        if intercepted {
            builder = builder.interceptor(Fuse);
        }
        let _server = builder.serve(exchange).unwrap();
        let channel = Channel::builder().with_connector(Arc::new(wires.clone()));
        let client = BombsClient::new(channel.clone());
        for round in 0..3 {
            let failures = [
                soon(client.at_once()).await.unwrap_err(),
                soon(client.later()).await.unwrap_err(),
                soon(client.reply()).await.unwrap_err(),
                soon(client.argument(Unspeakable)).await.unwrap_err(),
            ];
            for status in failures {
                assert_eq!(status.code(), Code::Internal, "{status}");
            }
            assert_eq!(soon(client.echo(round)).await.unwrap(), round);
        }
        if intercepted {
            let before = BombsClient::new(channel.with_metadata("bomb", "before").unwrap());
            let status = soon(before.echo(1)).await.unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{status}");
            let after = BombsClient::new(channel.with_metadata("bomb", "after").unwrap());
            assert_eq!(soon(after.echo(2)).await.unwrap(), 2);
        }
        assert_eq!(wires.opened(), 1, "the connection did not notice");
    }
}

#[derive(Debug)]
struct Mine;

#[async_trait]
impl Connector for Mine {
    async fn connect(&self) -> io::Result<Duplex> {
        panic_any(Bomb(3))
    }
    fn target(&self) -> String {
        "test://mine".into()
    }
}

#[tokio::test]
async fn t14_a_connector_whose_panic_panics_fails_the_call() {
    let client = BombsClient::new(Channel::builder().with_connector(Arc::new(Mine)));
    let status = soon(client.echo(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// Makes calls whose arguments panic.
#[derive(Clone)]
pub(crate) struct Exploding(BombsClient);

impl Exploding {
    pub(crate) async fn explode(&self) -> rpc::Result<()> {
        self.0.argument(Unspeakable).await
    }
}

pub(crate) fn bombs(channel: &Channel) -> Exploding {
    Exploding(BombsClient::new(channel.clone()))
}
