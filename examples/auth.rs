//! A token on every call: the client's interceptor adds it, the server's asks for it before a byte
//! of the body is decoded.
//!
//! Run it with `cargo run --example auth`.

use std::error::Error;
use std::hint::black_box;

use rpc::{CallInfo, Channel, Context, Interceptor, Server, Status};

#[rpc::service]
trait Diary {
    /// Whose diary this is.
    async fn owner(&self) -> rpc::Result<String>;
}

struct Shelf;

impl Diary for Shelf {
    async fn owner(&self) -> rpc::Result<String> {
        let context = Context::current();
        Ok(context.metadata().get("user").unwrap_or("?").to_owned())
    }
}

/// Adds a token to each call of a channel.
struct Bearer(&'static str);

impl Interceptor for Bearer {
    async fn before(&self, call: &mut CallInfo) -> rpc::Result<()> {
        Ok(call.metadata_mut().insert("authorization", self.0)?)
    }
}

/// Lets those through whose token it knows, and says who they are.
struct Doorman(Vec<(&'static str, &'static str)>);

impl Interceptor for Doorman {
    async fn before(&self, call: &mut CallInfo) -> rpc::Result<()> {
        let token = call.metadata().get("authorization");
        let token = token.ok_or_else(|| Status::unauthenticated("a token is needed"))?;
        let known = self.0.iter().find(|(known, _)| is_same(known, token));
        let (_, user) = known.ok_or_else(|| Status::unauthenticated("an unknown token"))?;
        // In place of whatever a caller says about itself.
        Ok(call.metadata_mut().insert("user", user)?)
    }
}

/// Takes as long for a wrong token as for a right one of the same length.
fn is_same(one: &str, other: &str) -> bool {
    let bytes = one.bytes().zip(other.bytes());
    let differences = bytes.fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    one.len() == other.len() && differences == 0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let doorman = Doorman(vec![("Bearer 4711", "Ann"), ("Bearer 0815", "Bob")]);
    let server = Server::builder()
        .add_service(DiaryServer::new(Shelf))
        .interceptor(doorman)
        .bind("tcp://127.0.0.1:0")
        .await?;
    let stranger = DiaryClient::connect(server.uri()).await?;
    println!("nobody:      {}", stranger.owner().await.unwrap_err());
    for token in ["Bearer 4711", "Bearer 0815", "Bearer 1234"] {
        let channel = Channel::builder().interceptor(Bearer(token));
        let client = DiaryClient::new(channel.connect(server.uri()).await?);
        match client.with_metadata("user", "root")?.owner().await {
            Ok(owner) => println!("{token}: the diary of {owner}"),
            Err(status) => println!("{token}: {status}"),
        }
    }
    server.shutdown().await;
    Ok(())
}
