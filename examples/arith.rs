//! Two services on one server, a typed error with a code, over TCP and over a Unix socket.
//!
//! Run it with `cargo run --example arith`.

use rpc::{Channel, Code, ErrorCode, Server, Status};
use serde::{Deserialize, Serialize};
use std::{error::Error, fmt};

#[rpc::service]
trait Arith {
    async fn divide(&self, a: i32, b: i32) -> Result<i64, MathError>;
}

#[rpc::service(name = "text.Words")]
trait Words {
    async fn count(&self, text: &str) -> rpc::Result<usize>;
}

/// What a caller of `divide` can tell apart; a call that is lost on its way needs a place too.
#[derive(Debug, Serialize, Deserialize)]
enum MathError {
    DividedByZero { dividend: i32 },
    Call(Status),
}

impl fmt::Display for MathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Error for MathError {}

impl From<Status> for MathError {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

/// For callers that do not know the type; without this the code is `Unknown`.
impl ErrorCode for MathError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

struct Office;

impl Arith for Office {
    async fn divide(&self, a: i32, b: i32) -> Result<i64, MathError> {
        let quotient = i64::from(a).checked_div(b.into());
        quotient.ok_or(MathError::DividedByZero { dividend: a })
    }
}

impl Words for Office {
    async fn count(&self, text: &str) -> rpc::Result<usize> {
        Ok(text.split_whitespace().count())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::temp_dir().join(format!("arith-{}.sock", std::process::id()));
    let socket = format!("unix://{}", socket.display());
    for target in ["tcp://127.0.0.1:0", &socket] {
        let server = Server::builder().add_service(ArithServer::new(Office));
        let server = server.add_service(WordsServer::new(Office));
        let server = server.bind(target).await?; // Port 0: the system chooses.
        println!("over {}", server.uri());
        let channel = Channel::connect(server.uri()).await?; // One connection for both clients.
        let arith = ArithClient::new(channel.clone());
        println!("  42 / 6: {}", arith.divide(42, 6).await?);
        println!("  42 / 0: {:?}", arith.divide(42, 0).await.unwrap_err());
        let words = WordsClient::new(channel);
        println!("  words:  {}", words.count("one trait, both ends").await?);
        server.shutdown().await;
    }
    Ok(())
}
