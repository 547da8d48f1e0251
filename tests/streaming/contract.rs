//! The service of these tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::{StreamExt as _, stream};
use rpc::{Status, Streaming};

/// An alias: streams are found by type, not by spelling.
pub(crate) type Numbers = Streaming<u64>;

#[rpc::service]
pub(crate) trait Flows {
    /// The numbers below `end`.
    async fn count(&self, end: u64) -> rpc::Result<Numbers>;
    /// The sum of all that is sent.
    async fn sum(&self, numbers: Numbers) -> rpc::Result<u64>;
    /// Each number doubled, as it comes.
    async fn double(&self, numbers: Numbers) -> rpc::Result<Numbers>;
    /// The items before `at`, then an error.
    async fn fail_at(&self, at: u64) -> rpc::Result<Numbers>;
    /// The items before `at`, then a panic.
    async fn panic_at(&self, at: u64) -> rpc::Result<Numbers>;
    /// Numbers without end, and how far their producer is ahead is counted.
    async fn endless(&self) -> rpc::Result<Streaming<Vec<u8>>>;
    /// Takes this many numbers and answers without the others.
    async fn take(&self, numbers: Numbers, most: u64) -> rpc::Result<Vec<u64>>;
    /// A reply with a stream inside of it.
    async fn labelled(&self, label: String, parts: u64) -> rpc::Result<(String, Numbers)>;
    /// Whatever was sent, as long as it is.
    async fn echo(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<Streaming<Vec<u8>>>;
    /// No streams at all.
    async fn add(&self, a: u64, b: u64) -> rpc::Result<u64>;
}

#[derive(Clone, Default)]
pub(crate) struct Flowing {
    /// Items that producers of endless streams have made.
    pub(crate) made: Arc<AtomicUsize>,
    /// Endless streams that are alive.
    pub(crate) alive: Arc<AtomicUsize>,
}

/// Counts itself.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Flows for Flowing {
    async fn count(&self, end: u64) -> rpc::Result<Numbers> {
        Ok(Streaming::new(stream::iter(0..end)))
    }

    async fn sum(&self, mut numbers: Numbers) -> rpc::Result<u64> {
        let mut sum = 0_u64;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }

    async fn double(&self, numbers: Numbers) -> rpc::Result<Numbers> {
        let doubled = numbers.map(|number| Ok(number? * 2));
        Ok(Streaming::try_new(doubled))
    }

    async fn fail_at(&self, at: u64) -> rpc::Result<Numbers> {
        let items = stream::iter(0..at).map(Ok);
        let error = Status::data_loss("that was all");
        Ok(Streaming::try_new(
            items.chain(stream::once(async { Err(error) })),
        ))
    }

    async fn panic_at(&self, at: u64) -> rpc::Result<Numbers> {
        let items = stream::iter(0..).map(move |number| {
            assert!(number < at, "the item is one too many");
            number
        });
        Ok(Streaming::new(items))
    }

    async fn endless(&self) -> rpc::Result<Streaming<Vec<u8>>> {
        let (made, alive) = (self.made.clone(), Alive::new(&self.alive));
        let items = stream::repeat_with(move || {
            let _ = &alive;
            made.fetch_add(1, SeqCst);
            vec![7; 1000]
        });
        Ok(Streaming::new(items))
    }

    async fn take(&self, mut numbers: Numbers, most: u64) -> rpc::Result<Vec<u64>> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < most
            && let Some(number) = numbers.next().await
        {
            taken.push(number?);
        }
        Ok(taken)
    }

    async fn labelled(&self, label: String, parts: u64) -> rpc::Result<(String, Numbers)> {
        Ok((label, Streaming::new(stream::iter(0..parts))))
    }

    async fn echo(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<Streaming<Vec<u8>>> {
        Ok(parts)
    }

    async fn add(&self, a: u64, b: u64) -> rpc::Result<u64> {
        Ok(a + b)
    }
}

/// A server of them, and a client.
pub(crate) async fn connect() -> (rpc::Server, FlowsClient, Flowing) {
    let flowing = Flowing::default();
    let builder = rpc::Server::builder().add_service(FlowsServer::new(flowing.clone()));
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = FlowsClient::connect(server.uri()).await.unwrap();
    (server, client, flowing)
}

/// All items of a stream, and how it ended.
pub(crate) async fn collect<T: serde::de::DeserializeOwned + 'static>(
    mut stream: Streaming<T>,
) -> (Vec<T>, Option<Status>) {
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => items.push(item),
            Err(status) => return (items, Some(status)),
        }
    }
    (items, None)
}
