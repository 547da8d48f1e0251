//! Metadata in both directions, the context of a call, and an interceptor that counts and rejects.
//!
//! Run it with `cargo run --example metadata`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rpc::{Answered, CallInfo, Context, Interceptor, Server, Status};

#[rpc::service]
trait Notes {
    /// Keeps a note and says how long it is.
    async fn add(&self, text: &str) -> rpc::Result<usize>;
}

struct Board;

impl Notes for Board {
    async fn add(&self, text: &str) -> rpc::Result<usize> {
        let context = Context::current();
        let tenant = context.metadata().get("tenant").unwrap_or("nobody");
        println!("  handler: {text:?} from tenant {tenant}");
        context.add_response_metadata("stored-for", tenant)?;
        Ok(text.len())
    }
}

/// Rejects calls without a tenant before their arguments are decoded, and counts the others.
#[derive(Clone, Default)]
struct Reception {
    answered: Arc<AtomicU64>,
}

impl Interceptor for Reception {
    async fn before(&self, call: &mut CallInfo) -> rpc::Result<()> {
        let context = Context::current();
        if context.metadata().get("tenant").is_some() {
            return Ok(());
        }
        let method = call.method();
        let reason = format!("{method} wants to know your tenant");
        Err(Status::unauthenticated(reason))
    }

    fn after(&self, _: &CallInfo, answered: Answered) {
        if answered == Answered::Reply {
            self.answered.fetch_add(1, Relaxed);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let reception = Reception::default();
    let server = Server::builder()
        .add_service(NotesServer::new(Board))
        .interceptor(reception.clone())
        .bind("tcp://127.0.0.1:0")
        .await?;
    let client = NotesClient::connect(server.uri()).await?;

    println!("without a tenant");
    println!("  caller: {}", client.add("lost").await.unwrap_err());

    println!("with a tenant");
    let client = client.with_metadata("tenant", "acme")?;
    let (length, metadata) = rpc::capture_metadata(client.add("buy milk")).await;
    println!("  caller: {} bytes, response {metadata:?}", length?);

    println!("answered: {}", reception.answered.load(Relaxed));
    server.shutdown().await;
    Ok(())
}
