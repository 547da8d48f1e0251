//! The service of these tests, and of the streams in `tests/suite.rs`.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::{StreamExt as _, stream};
use rpc::{Code, Context, Status, Streaming};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// An alias: streams are found by type, not by spelling.
pub(crate) type Numbers = Streaming<u64>;

/// How an upload ended, as its handler saw it: a code and a text, if it was an error.
pub(crate) type End = Option<(u8, String)>;

/// What is current while a stream is polled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    pub(crate) has_deadline: bool,
    pub(crate) tenant: Option<String>,
    /// The trace, without its span.
    pub(crate) trace: Option<String>,
}

impl Surroundings {
    pub(crate) fn current() -> Self {
        let context = Context::current();
        let trace = context.trace_parent().map(|trace| trace.to_string());
        Self {
            has_deadline: context.remaining().is_some(),
            tenant: context.metadata().get("tenant").map(str::to_owned),
            trace: trace.map(|trace| trace[..35].to_owned()),
        }
    }
}

/// A number that cannot always be serialized.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) enum Fragile {
    Whole,
    Fails,
    Panics,
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole => serializer.serialize_unit_variant("Fragile", 0, "Whole"),
            Self::Fails => Err(S::Error::custom("it is fragile")),
            Self::Panics => panic!("secret of the serializer"),
        }
    }
}

/// Two streams in one value: a message has room for one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Twins {
    pub(crate) first: Numbers,
    pub(crate) second: Numbers,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum EvenError {
    Odd(u64),
    Call(String),
}

impl fmt::Display for EvenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl std::error::Error for EvenError {}
impl From<Status> for EvenError {
    fn from(status: Status) -> Self {
        Self::Call(status.message().to_owned())
    }
}
impl rpc::ErrorCode for EvenError {
    fn code(&self) -> Code {
        Code::OutOfRange
    }
}

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
    /// The same, in items of so many bytes.
    async fn endless_of(&self, bytes: usize) -> rpc::Result<Streaming<Vec<u8>>>;
    /// Takes this many numbers and answers without the others.
    async fn take(&self, numbers: Numbers, most: u64) -> rpc::Result<Vec<u64>>;
    /// A reply with a stream inside of it.
    async fn labelled(&self, label: String, parts: u64) -> rpc::Result<(String, Numbers)>;
    /// Whatever was sent, as long as it is.
    async fn echo(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<Streaming<Vec<u8>>>;
    /// No streams at all.
    async fn add(&self, a: u64, b: u64) -> rpc::Result<u64>;
    /// What was sent, and how it ended.
    async fn heard(&self, numbers: Numbers) -> rpc::Result<(Vec<u64>, End)>;
    /// What was taken before the stream panicked or could not be encoded, and how it ended.
    async fn heard_fragile(&self, parts: Streaming<Fragile>) -> rpc::Result<(Vec<Fragile>, End)>;
    /// As many whole items as told, then a broken one.
    async fn break_at(&self, at: usize, broken: u8) -> rpc::Result<Streaming<Fragile>>;
    /// What is current when each of three items is made.
    async fn surroundings(&self) -> rpc::Result<Streaming<Surroundings>>;
    /// A stream, and metadata with the response.
    async fn tagged(&self, tag: String) -> rpc::Result<Numbers>;
    /// The halves of an even number of numbers, or an error that has a type.
    async fn halves(&self, end: u64) -> Result<Numbers, EvenError>;
    async fn twins(&self) -> rpc::Result<Twins>;
    async fn take_twins(&self, twins: Twins) -> rpc::Result<()>;
    /// Waits for the end of the upload, then says so with one item.
    async fn answer_the_end(&self, numbers: Numbers) -> rpc::Result<Numbers>;
    /// One item, then never another.
    async fn stall(&self) -> rpc::Result<Numbers>;
    /// Takes nothing, and never answers.
    async fn ignore(&self, numbers: Numbers) -> rpc::Result<()>;
    async fn ignore_parts(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<()>;
}

#[derive(Clone, Default)]
pub(crate) struct Flowing {
    /// Items that producers of endless streams have made.
    pub(crate) made: Arc<AtomicUsize>,
    /// Endless streams that are alive.
    pub(crate) alive: Arc<AtomicUsize>,
}

/// Counts itself.
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
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
        self.endless_of(1000).await
    }

    async fn endless_of(&self, bytes: usize) -> rpc::Result<Streaming<Vec<u8>>> {
        let (made, alive) = (self.made.clone(), Alive::new(&self.alive));
        let items = stream::repeat_with(move || {
            let _ = &alive;
            made.fetch_add(1, SeqCst);
            vec![7; bytes]
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

    async fn heard(&self, numbers: Numbers) -> rpc::Result<(Vec<u64>, End)> {
        Ok(heard(numbers).await)
    }

    async fn heard_fragile(&self, parts: Streaming<Fragile>) -> rpc::Result<(Vec<Fragile>, End)> {
        Ok(heard(parts).await)
    }

    async fn break_at(&self, at: usize, broken: u8) -> rpc::Result<Streaming<Fragile>> {
        let broken = [Fragile::Whole, Fragile::Fails, Fragile::Panics][usize::from(broken)];
        let items = stream::iter(std::iter::repeat_n(Fragile::Whole, at));
        Ok(Streaming::new(items.chain(stream::iter([broken]))))
    }

    async fn surroundings(&self) -> rpc::Result<Streaming<Surroundings>> {
        let items = stream::repeat_with(Surroundings::current).take(3);
        // The last one is made by another task than the first.
        Ok(Streaming::new(items.then(|seen| async {
            tokio::task::yield_now().await;
            seen
        })))
    }

    async fn tagged(&self, tag: String) -> rpc::Result<Numbers> {
        Context::current()
            .add_response_metadata("tag", &tag)
            .unwrap();
        Ok(Streaming::new(stream::iter(0..3)))
    }

    async fn halves(&self, end: u64) -> Result<Numbers, EvenError> {
        if end % 2 == 1 {
            return Err(EvenError::Odd(end));
        }
        Ok(Streaming::new(stream::iter(0..end / 2)))
    }

    async fn twins(&self) -> rpc::Result<Twins> {
        Ok(twins())
    }

    async fn take_twins(&self, _: Twins) -> rpc::Result<()> {
        Ok(())
    }

    async fn answer_the_end(&self, numbers: Numbers) -> rpc::Result<Numbers> {
        let ended = stream::once(async { heard(numbers).await.0.len() as u64 });
        Ok(Streaming::new(ended))
    }

    async fn stall(&self) -> rpc::Result<Numbers> {
        let alive = Alive::new(&self.alive);
        let stalled = stream::pending().map(move |number| {
            let _ = &alive;
            number
        });
        Ok(Streaming::new(stream::iter([7]).chain(stalled)))
    }

    async fn ignore(&self, numbers: Numbers) -> rpc::Result<()> {
        let _alive = Alive::new(&self.alive);
        let _numbers = numbers;
        std::future::pending().await
    }

    async fn ignore_parts(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<()> {
        let _parts = parts;
        std::future::pending().await
    }
}

/// Two streams that cannot travel together.
pub(crate) fn twins() -> Twins {
    Twins {
        first: Streaming::new(stream::iter(0..3)),
        second: Streaming::new(stream::iter(0..3)),
    }
}

async fn heard<T: serde::de::DeserializeOwned + 'static>(parts: Streaming<T>) -> (Vec<T>, End) {
    let (items, end) = collect(parts).await;
    let end = end.map(|status| (status.code().number(), status.message().to_owned()));
    (items, end)
}

/// A server of them, and a client.
pub(crate) async fn connect() -> (rpc::Server, FlowsClient, Flowing) {
    let flowing = Flowing::default();
    let server = builder(&flowing).bind("tcp://127.0.0.1:0").await.unwrap();
    let client = FlowsClient::connect(server.uri()).await.unwrap();
    (server, client, flowing)
}

pub(crate) fn builder(flowing: &Flowing) -> rpc::ServerBuilder {
    rpc::Server::builder().add_service(FlowsServer::new(flowing.clone()))
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
