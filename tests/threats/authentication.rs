//! Who may call is decided before anything of the call is read: T25.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rpc::{CallInfo, Code, Interceptor, Server, Status};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::raw::{self, Raw};

/// The median of twenty.
const ANSWER_MAX: Duration = Duration::from_millis(5);
const BODY_BYTES: u32 = 4 << 20;
const CHUNK_BYTES: usize = 64 << 10;

static DECODED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Serialize)]
struct Load;

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        Ok(Self)
    }
}

#[rpc::service]
trait Safe {
    async fn store(&self, load: Load) -> rpc::Result<()>;
}

struct Counting(Arc<AtomicUsize>);

impl Safe for Counting {
    async fn store(&self, _: Load) -> rpc::Result<()> {
        self.0.fetch_add(1, SeqCst);
        Ok(())
    }
}

struct Nobody;

impl Interceptor for Nobody {
    async fn before(&self, _: &mut CallInfo) -> Result<(), Status> {
        Err(Status::unauthenticated("nobody may"))
    }
}

#[tokio::test]
async fn t25_a_stranger_is_refused_at_the_header_of_its_4_mib() {
    // [frame.pieces]
    let ran = Arc::new(AtomicUsize::new(0));
    let builder = Server::builder()
        .interceptor(Nobody)
        .add_service(SafeServer::new(Counting(ran.clone())));
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.uri().trim_start_matches("tcp://").to_owned();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut peer = Raw::open(stream).await;
    let mut took = Vec::new();
    for call in 1..=20 {
        let start = Instant::now();
        peer.write(&raw::request_in_pieces(call, "Safe.store", BODY_BYTES))
            .await;
        let refusal = peer.read().await.unwrap();
        took.push(start.elapsed());
        assert_eq!((refusal.kind, refusal.call), (raw::ERROR, call));
        assert_eq!(refusal.extra, u16::from(Code::Unauthenticated.number()));
        // What is on its way all the same is dropped, and the connection goes on.
        for _ in 0..BODY_BYTES as usize / CHUNK_BYTES {
            peer.write(&raw::chunk(call, &[7; CHUNK_BYTES])).await;
        }
    }
    took.sort_unstable();
    println!(
        "refused {:?} after the header, at most {:?}",
        took[10], took[19]
    );
    assert!(took[10] <= ANSWER_MAX, "{took:?}");
    assert_eq!((ran.load(SeqCst), DECODED.load(SeqCst)), (0, 0));
}
