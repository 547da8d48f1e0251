//! What streams carry; what a small call waits beside them is measured by `behind.rs`.
//!
//! `cargo bench --bench streams` takes seconds. Client and server have a thread each and share one
//! connection over loopback TCP. A bare loop that sends the same items over a socket, without calls,
//! credit or an end, takes turns with the streams: the ratios hold, the absolute figures drift.
//!
//! How far can it go? The floor is one thread that polls the same streams, encodes their items behind
//! their lengths and decodes them again, in memory: what each item takes with no transport at all.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time")]

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::Instant;

use bytes::Buf;
use futures_util::stream;
use rpc::codec::Codec;
use rpc::{Bytes, Server, Streaming};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 5;
const SMALL_BYTES: usize = 32;
const SMALL_ITEMS: usize = 1_000_000;
const LARGE_BYTES: usize = 64 * 1024;
const LARGE_ITEMS: usize = 16_000;

type Small = [u8; SMALL_BYTES];

/// A small item that is no array.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Tick {
    id: u64,
    price: f64,
    size: u32,
    buys: bool,
}

impl Tick {
    fn new(n: u64) -> Self {
        Self {
            id: n,
            price: n as f64,
            size: 100,
            buys: true,
        }
    }
}

#[rpc::service]
trait Flow {
    async fn small(&self, items: u64) -> rpc::Result<Streaming<Small>>;
    async fn ticks(&self, items: u64) -> rpc::Result<Streaming<Tick>>;
    async fn sent(&self, items: u64) -> rpc::Result<Streaming<Tick>>;
    async fn large(&self, items: u64) -> rpc::Result<Streaming<Bytes>>;
}

struct Flowing;
impl Flow for Flowing {
    async fn small(&self, items: u64) -> rpc::Result<Streaming<Small>> {
        Ok(Streaming::new(
            stream::iter(0..items).map_item(|n| [n as u8; SMALL_BYTES]),
        ))
    }
    async fn ticks(&self, items: u64) -> rpc::Result<Streaming<Tick>> {
        Ok(Streaming::new(stream::iter(0..items).map_item(Tick::new)))
    }
    async fn sent(&self, items: u64) -> rpc::Result<Streaming<Tick>> {
        let (sender, stream) = Streaming::channel(1024);
        tokio::spawn(async move {
            for n in 0..items {
                if sender.send(Tick::new(n)).await.is_err() {
                    break;
                }
            }
        });
        Ok(stream)
    }
    async fn large(&self, items: u64) -> rpc::Result<Streaming<Bytes>> {
        let item = Bytes::from(vec![7; LARGE_BYTES]);
        Ok(Streaming::new(
            stream::iter(0..items).map_item(move |_| item.clone()),
        ))
    }
}

/// `map` and `next`, with the trait in scope here alone.
trait MapItem: futures_util::Stream + Sized {
    async fn next_item(self: &mut Pin<&mut Self>) -> Option<Self::Item> {
        futures_util::StreamExt::next(self).await
    }
    fn map_item<T>(self, map: impl FnMut(Self::Item) -> T) -> impl futures_util::Stream<Item = T> {
        futures_util::StreamExt::map(self, map)
    }
}
impl<S: futures_util::Stream> MapItem for S {}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Items a second of a stream of the product.
async fn streamed(client: &FlowClient, size: usize) -> f64 {
    let begin = Instant::now();
    let items = if size == SMALL_BYTES {
        let mut stream = client.small(SMALL_ITEMS as u64).await.unwrap();
        let mut items = 0;
        while let Some(item) = stream.next().await {
            assert_eq!(item.unwrap()[0], items as u8);
            items += 1;
        }
        assert_eq!(items, SMALL_ITEMS);
        items
    } else {
        let mut stream = client.large(LARGE_ITEMS as u64).await.unwrap();
        let mut items = 0;
        while let Some(item) = stream.next().await {
            assert_eq!(item.unwrap().len(), LARGE_BYTES);
            items += 1;
        }
        assert_eq!(items, LARGE_ITEMS);
        items
    };
    items as f64 / begin.elapsed().as_secs_f64()
}

/// Items a second of ticks.
async fn ticked(mut stream: Streaming<Tick>) -> f64 {
    let begin = Instant::now();
    let mut items = 0;
    while let Some(item) = stream.next().await {
        assert_eq!(item.unwrap(), Tick::new(items));
        items += 1;
    }
    assert_eq!(items, SMALL_ITEMS as u64);
    items as f64 / begin.elapsed().as_secs_f64()
}

/// Nanoseconds for each item of a stream that is encoded and decoded in memory.
async fn floor<T>(items: impl futures_util::Stream<Item = T>) -> f64
where
    T: Serialize + DeserializeOwned + 'static,
{
    const BATCH_BYTES: usize = 30 * 1024;
    let mut items = pin!(items);
    let (mut bytes, mut count, mut over) = (Vec::new(), 0, false);
    let begin = Instant::now();
    while !over {
        while bytes.len() < BATCH_BYTES {
            let Some(item) = items.next_item().await else {
                over = true;
                break;
            };
            let start = bytes.len();
            bytes.extend_from_slice(&[0; 4]);
            Codec::Bincode.encode(&item, &mut bytes).unwrap();
            let length = (bytes.len() - start - 4) as u32;
            bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        let mut rest = &bytes[..];
        while let Some((length, items)) = rest.split_first_chunk() {
            let (item, items) = items.split_at(u32::from_le_bytes(*length) as usize);
            black_box(Codec::Bincode.decode_short::<T>(item).unwrap());
            rest = items;
            count += 1;
        }
        bytes.clear();
    }
    assert_eq!(count, SMALL_ITEMS);
    begin.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// Items a second through a socket: each behind its length, written and read with buffers.
async fn bare(runtime: &Runtime, size: usize, items: usize) -> f64 {
    let bound = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await;
    let listener = bound.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let begin = Instant::now();
    let producer = runtime.spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut writer = BufWriter::with_capacity(64 * 1024, socket);
        let (length, item) = ((size as u32).to_le_bytes(), vec![7; size]);
        for _ in 0..items {
            if size < LARGE_BYTES {
                writer.write_all(&length).await.unwrap();
                writer.write_all(&item).await.unwrap();
            } else {
                // One system call for both.
                let mut entry = Buf::chain(&length[..], &item[..]);
                writer.get_mut().write_all_buf(&mut entry).await.unwrap();
            }
        }
        writer.flush().await.unwrap();
    });
    let socket = TcpStream::connect(address).await.unwrap();
    let mut reader = BufReader::with_capacity(64 * 1024, socket);
    let mut item = vec![0; size];
    for _ in 0..items {
        assert_eq!(reader.read_u32_le().await.unwrap() as usize, size);
        reader.read_exact(&mut item).await.unwrap();
        assert_eq!(item[0], 7);
    }
    producer.await.unwrap();
    items as f64 / begin.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::builder().add_service(FlowServer::new(Flowing));
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.spawn(server.bind("tcp://127.0.0.1:0")).await;
    let server = bound.unwrap().unwrap();
    let client = FlowClient::connect(server.uri()).await.unwrap();

    for (size, items) in [(SMALL_BYTES, SMALL_ITEMS), (LARGE_BYTES, LARGE_ITEMS)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(streamed(&client, size).await);
            theirs.push(bare(&runtime, size, items).await);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{size:>6} bytes: {ours:>12.0} items/s, {:>6.0} MB/s; bare loop {theirs:>12.0} items/s; {:.2} of it",
            ours * size as f64 / 1e6,
            ours / theirs
        );
    }
    let (mut ticks, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ticks.push(ticked(client.ticks(SMALL_ITEMS as u64).await.unwrap()).await);
        sent.push(ticked(client.sent(SMALL_ITEMS as u64).await.unwrap()).await);
    }
    println!(
        "structs of 4 fields: {:>12.0} items/s; sent one by one into a channel: {:>12.0} items/s",
        median(ticks),
        median(sent)
    );
    let small = stream::iter(0..SMALL_ITEMS).map_item(|n| [n as u8; SMALL_BYTES]);
    let ticks = stream::iter(0..SMALL_ITEMS as u64).map_item(Tick::new);
    println!(
        "floor: {:.1} ns for {SMALL_BYTES} bytes, {:.1} ns for a struct",
        floor(small).await,
        floor(ticks).await
    );
    runtime.shutdown_background();
}
