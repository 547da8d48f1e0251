//! Raw bytes of 16 KiB and more are not copied in user space on their way out: what is written lies
//! where its producer made it. On their way in they are read to where their consumer finds them, but for
//! what comes with the first read, before it is known what it is, and for those of more than 64 KiB,
//! whose memory grows as they come and not on the word of a length (`[frame.memory]`): what was there
//! before it grew the last time may have been moved.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_util::stream;
use rpc::{Bytes, Channel, Server, Streaming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::common::network;

#[rpc::service]
trait Depot {
    async fn store(&self, parts: Streaming<Bytes>) -> rpc::Result<u64>;
    async fn fetch(&self, count: u64, bytes: usize) -> rpc::Result<Streaming<Bytes>>;
    async fn echo(&self, body: Bytes) -> rpc::Result<Bytes>;
}

struct Storing;

impl Depot for Storing {
    async fn store(&self, mut parts: Streaming<Bytes>) -> rpc::Result<u64> {
        let mut bytes = 0;
        while let Some(part) = parts.next().await {
            bytes += part?.len() as u64;
        }
        Ok(bytes)
    }
    async fn fetch(&self, count: u64, bytes: usize) -> rpc::Result<Streaming<Bytes>> {
        let part = Bytes::from(vec![7; bytes]);
        let parts = (0..count).map(move |_| part.clone());
        Ok(Streaming::new(stream::iter(parts)))
    }
    async fn echo(&self, body: Bytes) -> rpc::Result<Bytes> {
        Ok(body)
    }
}

/// Where the bytes lay that the client wrote or read, in order.
type Places = Arc<Mutex<Vec<Range<usize>>>>;

/// Notes where the bytes lie that pass.
struct Watched<T> {
    inner: T,
    places: Places,
}

impl<T> Watched<T> {
    fn note(&self, bytes: &[u8]) {
        let start = bytes.as_ptr().addr();
        let place = start..start + bytes.len();
        self.places.lock().unwrap().push(place);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, out))?;
        self.note(&out.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.note(&bytes[..written]);
        Poll::Ready(Ok(written))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// How many bytes passed that lay in none of these, nor in the place of a byte that passed before.
/// They were copied on their way, or are headers and lengths. All of `kept` are still alive, so nothing
/// else lies there.
fn passed_elsewhere(places: &Places, kept: &[Bytes]) -> usize {
    let places = std::mem::take(&mut *places.lock().unwrap());
    let passed: usize = places.iter().map(Range::len).sum();
    let mut in_place = 0;
    for bytes in kept {
        let start = bytes.as_ptr().addr();
        let end = start + bytes.len();
        let within: BTreeSet<_> = (places.iter())
            .map(|place| (place.start.max(start), place.end.min(end)))
            .filter(|(from, to)| from < to)
            .collect();
        let mut reached = start;
        for (from, to) in within {
            in_place += to.saturating_sub(from.max(reached));
            reached = reached.max(to);
        }
    }
    passed - in_place
}

async fn watched() -> (Server, DepotClient, Places, Places) {
    let (read, written) = (Places::default(), Places::default());
    let (reads, writes) = (read.clone(), written.clone());
    let (wires, exchange) = network(move |_, (reader, writer)| {
        let reader = Watched {
            inner: reader,
            places: reads.clone(),
        };
        let writer = Watched {
            inner: writer,
            places: writes.clone(),
        };
        (Box::new(reader), Box::new(writer))
    });
    let server = Server::builder().add_service(DepotServer::new(Storing));
    let server = server.serve(exchange).unwrap();
    let client = DepotClient::new(Channel::builder().with_connector(Arc::new(wires)));
    assert_eq!(client.echo(Bytes::new()).await.unwrap(), Bytes::new());
    read.lock().unwrap().clear();
    written.lock().unwrap().clear();
    (server, client, read, written)
}

const COUNT: usize = 64;
const LENGTHS: [usize; 4] = [16 * 1024, 64 * 1024, 100_000, 1 << 20];

/// What is said of so many bytes beside them: headers, lengths, credits and reports.
const fn said_of(bytes: usize) -> usize {
    64 * bytes.div_ceil(64 * 1024)
}

#[tokio::test]
async fn items_of_bytes_are_written_from_where_they_are() {
    let (_server, client, _, written) = watched().await;
    for length in LENGTHS {
        let items: Vec<_> = (0..COUNT).map(|_| Bytes::from(vec![7; length])).collect();
        let parts = Streaming::new(stream::iter(items.clone()));
        let stored = client.store(parts).await.unwrap();
        assert_eq!(stored, (COUNT * length) as u64);
        let elsewhere = passed_elsewhere(&written, &items);
        assert!(elsewhere <= COUNT * said_of(length), "{elsewhere}");
    }
}

#[tokio::test]
async fn bodies_of_bytes_are_written_from_where_they_are() {
    let (_server, client, _, written) = watched().await;
    for length in LENGTHS {
        let body = Bytes::from(vec![7; length]);
        client.echo(body.clone()).await.unwrap();
        // The reply is reported as it is read.
        let elsewhere = passed_elsewhere(&written, &[body]);
        assert!(elsewhere <= 4 * said_of(length), "{elsewhere}");
    }
}

#[tokio::test]
async fn items_of_bytes_are_read_to_where_they_stay() {
    let (_server, client, read, _) = watched().await;
    for length in LENGTHS {
        let mut parts = client.fetch(COUNT as u64, length).await.unwrap();
        let mut items = Vec::new();
        while let Some(item) = parts.next().await {
            items.push(item.unwrap());
        }
        assert_eq!(items.len(), COUNT);
        let elsewhere = passed_elsewhere(&read, &items);
        let grows = length > 64 * 1024;
        let moved = if grows {
            length.next_power_of_two() / 2
        } else {
            0
        };
        let most = COUNT * (moved + said_of(length)) + 2 * 64 * 1024;
        assert!(elsewhere <= most, "{elsewhere} of {COUNT} of {length}");
    }
}
