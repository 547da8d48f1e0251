//! What a stream takes of memory whose consumer stands still: its window and little more at the
//! consumer's side, a batch and little more at the producer's, however much there is to send.
//!
//! Both sides are threads of their own, and each counts what it allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

use futures_util::StreamExt as _;
use rpc::Streaming;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::contract::{Flowing, Flows as _, FlowsClient, builder};

/// The window of a stream, as shipped.
const WINDOW_BYTES: u64 = 257 * 1024;
const SURPLUS_BYTES: u64 = 64 * 1024;
/// What the source would give in the end.
const SOURCE_BYTES: usize = 10_000_000_000;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a server on a thread of its own; told to stop, it gives the most that it had allocated since
/// it was told to count.
struct Counted {
    uri: String,
    count: oneshot::Sender<()>,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<u64>,
}

fn serve(flowing: &Flowing) -> Counted {
    let (tell, told) = mpsc::sync_channel(1);
    let (count, counting) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let builder = builder(flowing);
    let thread = thread::spawn(move || {
        let runtime = runtime();
        let server = runtime.block_on(async {
            let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
            tell.send(server.uri().to_owned()).unwrap();
            counting.await.unwrap();
            server
        });
        let used = allocation_counter::measure(|| runtime.block_on(stopped).unwrap());
        drop(server);
        used.bytes_max
    });
    Counted {
        uri: told.recv().unwrap(),
        count,
        stop,
        thread,
    }
}

/// Opens a stream with `open`, waits until its producer stands still, and gives what the server and
/// the client had allocated at the most.
fn blocked<S>(
    open: impl AsyncFn(&FlowsClient) -> S,
    flowing: &Flowing,
    made: &AtomicUsize,
) -> [u64; 2] {
    let server = serve(flowing);
    let runtime = runtime();
    let client = runtime.block_on(async {
        let client = FlowsClient::connect(&server.uri).await.unwrap();
        // What a connection needs once is not the stream's.
        for _ in 0..10 {
            client.add(1, 2).await.unwrap();
        }
        client
    });
    server.count.send(()).unwrap();
    let used = allocation_counter::measure(|| {
        runtime.block_on(async {
            let stream = open(&client).await;
            let (mut quiet, mut before) = (0, 0);
            while quiet < 50 {
                client.add(1, 2).await.unwrap();
                let now = made.load(SeqCst);
                quiet = if now == before && now > 0 {
                    quiet + 1
                } else {
                    0
                };
                before = now;
            }
            drop(stream);
        });
    });
    server.stop.send(()).unwrap();
    [server.thread.join().unwrap(), used.bytes_max]
}

#[test]
fn a_stream_that_nobody_reads_takes_a_window_at_the_client() {
    for bytes in [32, 1000, 64 * 1024] {
        let flowing = Flowing::default();
        let open = async |client: &FlowsClient| client.endless_of(bytes).await.unwrap();
        let [server, client] = blocked(open, &flowing, &flowing.made);
        println!("items of {bytes} bytes, unread: server {server}, client {client} bytes");
        assert!(client <= WINDOW_BYTES + SURPLUS_BYTES, "{client}");
        assert!(server <= WINDOW_BYTES + SURPLUS_BYTES, "{server}");
    }
}

#[test]
fn an_upload_that_nobody_reads_takes_a_window_at_the_server() {
    for bytes in [32, 1000, 64 * 1024] {
        let (flowing, made) = (Flowing::default(), Arc::new(AtomicUsize::new(0)));
        let open = async |client: &FlowsClient| {
            let made = made.clone();
            let parts = futures_util::stream::repeat_with(move || {
                made.fetch_add(1, SeqCst);
                vec![7_u8; bytes]
            });
            let parts = Streaming::new(parts.take(SOURCE_BYTES / bytes));
            let client = client.clone();
            let task = tokio::spawn(async move { client.ignore_parts(parts).await });
            task.abort_handle()
        };
        let [server, client] = blocked(open, &flowing, &made);
        println!("items of {bytes} bytes, ignored: server {server}, client {client} bytes");
        assert!(client <= WINDOW_BYTES + SURPLUS_BYTES, "{client}");
        assert!(server <= WINDOW_BYTES + SURPLUS_BYTES, "{server}");
    }
}
