//! Raw bytes of 32 KiB and more are not copied in user space. What is written lies where its producer
//! made it; what is read is read to where its consumer finds it, but for what comes with the head of
//! the message, before it is known where it belongs.

use std::sync::{Arc, Mutex};

use futures_util::stream;
use rpc::{Bytes, Channel, Server, Streaming};

use super::watched::{MEDIA, Medium, Watch, road};

#[rpc::service]
trait Depot {
    async fn store(&self, parts: Streaming<Bytes>) -> rpc::Result<u64>;
    async fn fetch(&self, count: u64, bytes: usize) -> rpc::Result<Streaming<Bytes>>;
    async fn echo(&self, body: Bytes) -> rpc::Result<Bytes>;
}

/// Keeps all it is given.
#[derive(Clone, Default)]
struct Storing(Arc<Mutex<Vec<Bytes>>>);

impl Depot for Storing {
    async fn store(&self, mut parts: Streaming<Bytes>) -> rpc::Result<u64> {
        let mut bytes = 0;
        while let Some(part) = parts.next().await {
            let part = part?;
            bytes += part.len() as u64;
            self.0.lock().unwrap().push(part);
        }
        Ok(bytes)
    }
    async fn fetch(&self, count: u64, bytes: usize) -> rpc::Result<Streaming<Bytes>> {
        let part = Bytes::from(vec![7; bytes]);
        let parts = (0..count).map(move |_| part.clone());
        Ok(Streaming::new(stream::iter(parts)))
    }
    async fn echo(&self, body: Bytes) -> rpc::Result<Bytes> {
        self.0.lock().unwrap().push(body.clone());
        Ok(body)
    }
}

impl Storing {
    fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A client and a server, and what passes between them.
struct Scene {
    client: DepotClient,
    /// What the server was given.
    stored: Storing,
    at_client: Watch,
    at_server: Watch,
    _server: Server,
}

impl Scene {
    async fn open(medium: Medium) -> Self {
        let road = road(medium).await;
        let stored = Storing::default();
        let server = Server::builder().add_service(DepotServer::new(stored.clone()));
        let server = server.serve(road.listener).unwrap();
        let channel = Channel::builder().with_connector(road.connector);
        let client = DepotClient::new(channel);
        assert_eq!(client.echo(Bytes::new()).await.unwrap(), Bytes::new());
        Self {
            client,
            stored,
            at_client: road.client,
            at_server: road.server,
            _server: server,
        }
    }

    fn forget(&self) {
        self.at_client.clear();
        self.at_server.clear();
        self.stored.take();
    }
}

const LENGTHS: [usize; 7] = [
    32 * 1024,
    40 * 1024,
    64 * 1024,
    65 * 1024,
    100_000,
    1 << 20,
    3 << 20,
];

/// How many items of this length are sent.
const fn count_of(length: usize) -> usize {
    if length < 1 << 20 { 64 } else { 8 }
}

/// What is said of so many bytes beside them: headers, lengths, credits and reports.
const fn said_of(bytes: usize) -> usize {
    64 * bytes.div_ceil(64 * 1024)
}

/// How much of so many bytes may be copied: what is read with their head, and with that of each piece.
const fn copied_of(bytes: usize) -> usize {
    512 + 64 * bytes.div_ceil(16 * 1024)
}

fn assert_read_in_place(watch: &Watch, items: &[Bytes]) {
    for item in items {
        let copied = item.len() - watch.read.in_place(item);
        assert!(
            copied <= copied_of(item.len()),
            "{copied} of {}",
            item.len()
        );
        assert!(*item == vec![7; item.len()]);
    }
}

#[tokio::test]
async fn items_of_bytes_are_written_from_where_they_are() {
    let scene = Scene::open(Medium::Memory).await;
    for length in LENGTHS {
        scene.forget();
        let count = count_of(length);
        let items: Vec<_> = (0..count).map(|_| Bytes::from(vec![7; length])).collect();
        let parts = Streaming::new(stream::iter(items.clone()));
        let stored = scene.client.store(parts).await.unwrap();
        assert_eq!(stored, (count * length) as u64);
        let written = &scene.at_client.written;
        let in_place: usize = items.iter().map(|item| written.in_place(item)).sum();
        let elsewhere = written.total() - in_place;
        assert!(elsewhere <= count * said_of(length), "{elsewhere}");
    }
}

#[tokio::test]
async fn bodies_of_bytes_are_written_from_where_they_are() {
    let scene = Scene::open(Medium::Memory).await;
    for length in LENGTHS {
        scene.forget();
        let body = Bytes::from(vec![7; length]);
        scene.client.echo(body.clone()).await.unwrap();
        let written = &scene.at_client.written;
        // The reply is reported as it is read.
        let elsewhere = written.total() - written.in_place(&body);
        assert!(elsewhere <= 4 * said_of(length), "{elsewhere}");
    }
}

#[tokio::test]
async fn bodies_of_bytes_are_read_to_where_they_stay() {
    for medium in MEDIA {
        let scene = Scene::open(medium).await;
        for length in LENGTHS {
            // The first finds no memory of another that it could use.
            for _ in 0..3 {
                scene.forget();
                let body = Bytes::from(vec![7; length]);
                let reply = scene.client.echo(body).await.unwrap();
                assert_read_in_place(&scene.at_client, &[reply]);
                assert_read_in_place(&scene.at_server, &scene.stored.take());
            }
        }
    }
}

#[tokio::test]
async fn items_of_bytes_are_read_to_where_they_stay() {
    for medium in MEDIA {
        let scene = Scene::open(medium).await;
        for length in LENGTHS {
            scene.forget();
            let count = count_of(length);
            let mut parts = scene.client.fetch(count as u64, length).await.unwrap();
            let mut items = Vec::new();
            while let Some(item) = parts.next().await {
                items.push(item.unwrap());
            }
            assert_eq!(items.len(), count);
            assert_read_in_place(&scene.at_client, &items);

            scene.forget();
            let parts = Streaming::new(stream::iter(items));
            scene.client.store(parts).await.unwrap();
            let stored = scene.stored.take();
            assert_eq!(stored.len(), count);
            assert_read_in_place(&scene.at_server, &stored);
        }
    }
}
