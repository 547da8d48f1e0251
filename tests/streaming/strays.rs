//! What goes astray: wake-ups, panics, streams that meet on one thread.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rpc::{Channel, Server, Status, Streaming};
use serde::{Deserialize, Deserializer, Serialize};

use tokio::io::AsyncWriteExt as _;

use super::contract::Alive;
use crate::common::{network, raw, soon, until};

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
    /// Endless items of 64 KiB.
    async fn pour(&self) -> rpc::Result<Streaming<Vec<u8>>>;
    /// No items and no end.
    async fn rest(&self) -> rpc::Result<Streaming<u64>>;
}

#[derive(Clone, Default)]
struct Service {
    /// Streams at rest.
    resting: Arc<AtomicUsize>,
}

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

    async fn pour(&self) -> rpc::Result<Streaming<Vec<u8>>> {
        Ok(Streaming::new(stream::repeat(vec![7; 64 * 1024])))
    }

    async fn rest(&self) -> rpc::Result<Streaming<u64>> {
        let alive = Alive::new(&self.resting);
        Ok(Streaming::new(stream::pending().inspect(move |_| {
            let _ = &alive;
        })))
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
    let server = Server::builder().add_service(StraysServer::new(Service::default()));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = StraysClient::connect(server.uri()).await.unwrap();
    let secret = Streaming::new(stream::iter([1, 2, 3]));
    let exploded: Result<(), Status> = soon(client.explode(Bomb, secret)).await;
    assert_eq!(exploded.unwrap_err().code(), rpc::Code::Internal);
    let other = without_items::StraysClient::connect(server.uri()).await;
    let heard = soon(other.unwrap().hear(())).await;
    assert_eq!(heard.unwrap_err().code(), rpc::Code::InvalidArgument);
}

/// Time that stands still moves on by itself once nothing is left to do.
#[tokio::test(start_paused = true)]
async fn a_stream_of_long_items_rests_while_its_peer_takes_nothing() {
    let (wires, exchange) = network(|_, ends| ends);
    let server = Server::builder().add_service(StraysServer::new(Service::default()));
    let _server = server.serve(exchange).unwrap();
    let mut peer = wires.dial().await;
    let method = rpc::MethodId::of("Strays", "pour").number();
    peer.write_all(&raw::hello(1, 1)).await.unwrap();
    peer.write_all(&raw::request(1, 0, method, 0))
        .await
        .unwrap();
    let (timer, late) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(10));
        let _ = timer.send(());
    });
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(1)) => {}
        _ = late => panic!("the server never comes to rest"),
    }
}

/// No answer is on its way any more that would make the client look at its cancels.
#[tokio::test(start_paused = true)]
async fn a_cancel_that_has_to_wait_is_sent_when_its_time_comes() {
    const AT_ONCE: usize = 100;
    let (wires, exchange) = network(|_, ends| ends);
    let service = Service::default();
    let resting = || service.resting.load(SeqCst);
    let server = Server::builder().add_service(StraysServer::new(service.clone()));
    let _server = server.serve(exchange).unwrap();
    let client = StraysClient::new(Channel::builder().with_connector(Arc::new(wires)));
    let mut streams = Vec::new();
    for _ in 0..=AT_ONCE {
        streams.push(client.rest().await.unwrap());
    }
    let last = streams.pop();
    drop(streams);
    until(|| resting() == 1).await;
    // The answers to the cancels are read.
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(last);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(resting(), 0);
}

#[tokio::test]
async fn a_channel_as_large_as_can_be_is_one() {
    let (sender, mut stream) = Streaming::channel(usize::MAX);
    sender.send(1).await.unwrap();
    drop(sender);
    assert_eq!(stream.next().await.unwrap().unwrap(), 1);
    assert!(stream.next().await.is_none());
}

/// Drops a stream when it is woken, at once.
struct Dropper(Mutex<Option<Streaming<u64>>>);

impl Wake for Dropper {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[rpc::service]
trait Leaving {
    async fn leave(&self, items: Streaming<u64>) -> rpc::Result<u64>;
}

struct Leaver;

impl Leaving for Leaver {
    async fn leave(&self, mut items: Streaming<u64>) -> rpc::Result<u64> {
        tokio::task::yield_now().await;
        let dropper = Arc::new(Dropper(Mutex::default()));
        let waker = Waker::from(dropper.clone());
        let polled = items.poll_next_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "{polled:?}");
        *dropper.0.lock().unwrap() = Some(items);
        Ok(7)
    }
}

/// Who still waits for items when the call is answered is woken, and may use the connection.
#[tokio::test]
async fn whoever_is_woken_by_the_end_of_a_call_may_drop_its_stream() {
    let (wires, exchange) = network(|_, ends| ends);
    let builder = Server::builder().add_service(LeavingServer::new(Leaver));
    let _server = builder.serve(exchange).unwrap();
    let channel = Channel::builder().with_connector(Arc::new(wires));
    let client = LeavingClient::new(channel);
    for _ in 0..2 {
        let (_sender, items) = Streaming::channel(1);
        assert_eq!(soon(client.leave(items)).await, Ok(7));
    }
}
