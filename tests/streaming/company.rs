//! Small calls in the company of large ones, on the same connection.

use rpc::{Bytes, Channel, Server};

use crate::common::soon;

const BODY_BYTES: usize = 32 << 20;
const MESSAGE_BYTES: u32 = BODY_BYTES as u32 + 64;

/// Far below what is answered on any machine, and far above the few that come before and after a body
/// which is in their way.
const ANSWERED_MIN: usize = 20;

#[rpc::service]
trait Company {
    async fn take(&self, body: Bytes) -> rpc::Result<usize>;
    async fn give(&self, bytes: usize) -> rpc::Result<Bytes>;
    async fn small(&self) -> rpc::Result<()>;
}

struct Host;
impl Company for Host {
    async fn take(&self, body: Bytes) -> rpc::Result<usize> {
        Ok(body.len())
    }
    async fn give(&self, bytes: usize) -> rpc::Result<Bytes> {
        Ok(vec![7; bytes].into())
    }
    async fn small(&self) -> rpc::Result<()> {
        Ok(())
    }
}

async fn connect() -> (Server, CompanyClient) {
    let server = Server::builder()
        .message_bytes_max(MESSAGE_BYTES)
        .add_service(CompanyServer::new(Host));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let channel = Channel::builder().message_bytes_max(MESSAGE_BYTES);
    let client = CompanyClient::new(channel.connect(server.uri()).await.unwrap());
    (server, client)
}

/// How many small calls were answered, one after the other, while `large` was under way.
async fn answered_beside<F>(client: &CompanyClient, large: F) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let (client, large) = (client.clone(), tokio::spawn(large));
    // The future that a runtime blocks on is polled less often than its tasks are.
    let small = tokio::spawn(async move {
        let mut answered = 0;
        while !large.is_finished() {
            client.small().await.unwrap();
            answered += 1;
        }
        large.await.unwrap();
        answered
    });
    soon(small).await.unwrap()
}

#[tokio::test]
async fn small_calls_go_on_beside_a_large_request() {
    // [frame.ahead] [frame.pieces]: neither the socket nor a buffer is filled with it first.
    let (_server, client) = connect().await;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let answered = answered_beside(&client, {
        let client = client.clone();
        async move { assert_eq!(client.take(body).await.unwrap(), BODY_BYTES) }
    })
    .await;
    println!("{answered} small calls");
    assert!(answered >= ANSWERED_MIN, "{answered}");
}

#[tokio::test]
async fn small_calls_go_on_beside_a_large_reply() {
    let (_server, client) = connect().await;
    let answered = answered_beside(&client, {
        let client = client.clone();
        async move { assert_eq!(client.give(BODY_BYTES).await.unwrap().len(), BODY_BYTES) }
    })
    .await;
    println!("{answered} small calls");
    assert!(answered >= ANSWERED_MIN, "{answered}");
}

#[tokio::test]
async fn small_calls_go_on_beside_large_ones_both_ways() {
    let (_server, client) = connect().await;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let answered = answered_beside(&client, {
        let client = client.clone();
        async move {
            let (taken, given) = tokio::join!(client.take(body), client.give(BODY_BYTES));
            assert_eq!(
                (taken.unwrap(), given.unwrap().len()),
                (BODY_BYTES, BODY_BYTES)
            );
        }
    })
    .await;
    println!("{answered} small calls");
    assert!(answered >= ANSWERED_MIN, "{answered}");
}
