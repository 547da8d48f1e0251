//! What the guide shows, in a crate that denies every warning of rustc and clippy.
#![deny(warnings, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A typed error.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody has this id.
    Unknown(u64),
    /// The call itself failed.
    Call(String),
}
impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl std::error::Error for LookupError {}
impl From<rpc::Status> for LookupError {
    fn from(status: rpc::Status) -> Self {
        Self::Call(status.to_string())
    }
}

/// A reply.
pub type Reply<T> = Result<T, LookupError>;

/// Greets.
///
/// In two paragraphs.
#[rpc::service]
pub trait Greeter {
    /// Greets one person.
    async fn hello(&self, name: String) -> rpc::Result<String>;
    /// Looks up.
    #[rpc(idempotent, timeout = "500ms")]
    async fn lookup(&self, id: u64) -> Result<String, LookupError>;
    /// Through an alias.
    async fn aliased(&self, id: &[u8], text: &str, list: &[u32], one: &(u8, u8)) -> Reply<Vec<u8>>;
    /// Nobody waits.
    #[rpc(oneway)]
    async fn audit(&self, line: String) -> rpc::Result<()>;
    /// Old.
    #[deprecated]
    #[must_use]
    async fn old(&self) -> rpc::Result<()>;
    /// Never there.
    #[cfg(any())]
    async fn absent(&self, of: NoSuchType) -> rpc::Result<()>;
    /// Always there.
    #[cfg(test)]
    #[rpc(name = "here")]
    async fn present(&self) -> rpc::Result<()>;
}

/// An implementation.
#[derive(Debug)]
#[non_exhaustive]
pub struct Polite;

impl Greeter for Polite {
    async fn hello(&self, name: String) -> rpc::Result<String> {
        Ok(format!("Hello, {name}!"))
    }
    async fn lookup(&self, id: u64) -> Result<String, LookupError> {
        Err(LookupError::Unknown(id))
    }
    async fn aliased(&self, id: &[u8], _: &str, _: &[u32], _: &(u8, u8)) -> Reply<Vec<u8>> {
        Ok(id.to_vec())
    }
    async fn audit(&self, _: String) -> rpc::Result<()> {
        Ok(())
    }
    async fn old(&self) -> rpc::Result<()> {
        Ok(())
    }
    async fn present(&self) -> rpc::Result<()> {
        Ok(())
    }
}

fn sendable<T: Send + Sync + 'static>(_: &T) {}
fn is_send(_: impl Send) {}

async fn through_the_trait(greeter: &impl Greeter) -> rpc::Result<String> {
    greeter.hello("Ann".to_owned()).await
}

/// Uses everything once.
#[allow(dead_code)]
async fn use_it() -> Result<(), Box<dyn std::error::Error>> {
    let server = GreeterServer::from_arc(Arc::new(Polite)).clone();
    sendable(&server);
    println!("{server:?}");
    let client = GreeterClient::connect("tcp://127.0.0.1:1").await?;
    let client = client
        .with_timeout(Duration::from_secs(1))
        .with_metadata("k", "v")?;
    is_send(through_the_trait(&client));
    client.hello("Ann".to_owned()).await?;
    client.aliased(&[1], "a", &[1], &(1, 2)).await?;
    sendable(&GreeterClient::connect_lazy(String::from(
        "tcp://127.0.0.1:1",
    ))?);
    let _ = GreeterClient::new(client.channel().clone()).clone();
    Ok(())
}

#[test]
fn s1_7_a_service_describes_itself() {
    let service = GreeterClient::DESCRIPTOR;
    assert_eq!(service.docs, "Greets.\n\nIn two paragraphs.");
    let names: Vec<_> = service.methods.iter().map(|method| method.name).collect();
    assert_eq!(
        names,
        ["hello", "lookup", "aliased", "audit", "old", "here"]
    );
    let _ = GreeterServer::new(Polite);
}

/// Where lints are forbidden, nothing can be allowed any more: generated code has to do without.
mod forbidding {
    #![forbid(dead_code, unused, clippy::all, clippy::pedantic)]
    #![forbid(
        clippy::unwrap_used,
        clippy::impl_trait_in_params,
        clippy::absolute_paths
    )]

    use rpc::{Result, Streaming};

    #[rpc::service]
    pub(super) trait Strict {
        async fn hello(&self, name: String, greeting: &str) -> Result<String>;
        #[rpc(oneway)]
        async fn note(&self, line: String) -> Result<()>;
        async fn sum(&self, numbers: Streaming<u64>) -> Result<Streaming<u64>>;
    }

    pub(super) struct Answers;

    pub(super) async fn greet(client: &StrictClient) -> Result<String> {
        client.hello("Ada".to_owned(), "Hello").await
    }

    impl Strict for Answers {
        async fn hello(&self, name: String, greeting: &str) -> Result<String> {
            Ok(format!("{greeting}, {name}"))
        }
        async fn note(&self, _line: String) -> Result<()> {
            Ok(())
        }
        async fn sum(&self, numbers: Streaming<u64>) -> Result<Streaming<u64>> {
            Ok(numbers)
        }
    }
}

#[tokio::test]
async fn a_service_in_a_crate_that_forbids_lints() {
    let service = forbidding::StrictServer::new(forbidding::Answers);
    let server = rpc::Server::builder().add_service(service);
    let server = server.bind("mem://forbidding").await.unwrap();
    let client = forbidding::StrictClient::connect("mem://forbidding");
    let answer = forbidding::greet(&client.await.unwrap()).await;
    assert_eq!(answer.unwrap(), "Hello, Ada");
    server.shutdown().await;
}

/// What goes wrong in a handler that calls others needs no words of its own.
#[tokio::test]
async fn errors_of_the_framework_become_a_status() {
    async fn connects(target: &str) -> rpc::Result<GreeterClient> {
        Ok(GreeterClient::connect(target).await?)
    }
    fn says(key: &str, value: &str) -> rpc::Result<rpc::CallOptions> {
        Ok(rpc::CallOptions::new().with_metadata(key, value)?)
    }
    let status = connects("mem://nobody-there").await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::Unavailable);
    assert!(status.message().contains("mem://nobody-there"), "{status}");
    let source = std::error::Error::source(&status);
    assert!(source.unwrap().is::<rpc::Error>());
    let status = connects("nowhere").await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::Internal);
    let status = says("not a key", "v").unwrap_err();
    assert_eq!(status.code(), rpc::Code::InvalidArgument);
    let status = says("k", &"v".repeat(10_000)).unwrap_err();
    assert_eq!(status.code(), rpc::Code::ResourceExhausted);
}
