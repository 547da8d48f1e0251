//! Load on a server: what to call, how often at once, for how long.

mod caller;
mod closed;
mod idle;
mod open;
mod tally;
mod ticker;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Client, Peer, Result, Usage, Work};
use caller::Caller;
use tally::Tally;

/// What the runner asks of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub operation: Operation,
    /// Of the payload.
    pub bytes: usize,
    pub connections: usize,
    /// Calls at once, on each connection; each begins when the one before it ended.
    pub in_flight: usize,
    /// Calls per second on one connection, however many are under way; instead of `in_flight`.
    pub rate: Option<f64>,
    /// One call in a hundred does this instead, and is not among the latencies.
    pub one_percent: Option<Work>,
    pub warm_up_ms: u64,
    pub window_ms: u64,
}

/// Which call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Echo,
    Record,
    Work(Work),
    /// Streams of this many items.
    Items(u32),
    /// None: connections that are open, and no more.
    Nothing,
}

/// What a client saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Calls that ended well within the window, or items of streams.
    pub calls: u64,
    pub failed: u64,
    /// The first failure, in the peer's words.
    pub failure: Option<String>,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// What the client used within the window.
    pub usage: Usage,
}

/// Connects, warms up, waits for the word, and measures.
pub(crate) async fn run<P: Peer>(
    server: SocketAddr,
    load: Load,
    wait_for_go: impl Fn() -> Result<()> + Send + 'static,
) -> Result<Outcome> {
    if load.operation == Operation::Nothing {
        return idle::run::<P>(server, &load, wait_for_go).await;
    }
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(P::connect(server).await?);
    }
    let payload = payload(load.bytes);
    check(&clients, &load, &payload).await?;
    measure(&clients, &load, &payload, load.warm_up_ms)
        .await
        .first_failure()?;
    wait_for_go()?;
    let before = Usage::now();
    let tally = measure(&clients, &load, &payload, load.window_ms).await;
    Ok(tally.into_outcome(Usage::now().since(before)))
}

async fn measure<C: Client>(clients: &[C], load: &Load, payload: &Bytes, millis: u64) -> Tally {
    let window = Duration::from_millis(millis);
    let callers = clients
        .iter()
        .map(|client| Caller::new(client.clone(), load, payload.clone()));
    match load.rate {
        Some(rate) => open::run(callers, rate, window).await,
        None => closed::run(callers, load.in_flight, window).await,
    }
}

/// Text, for the sake of peers that send text. It is never freed: a count of those who hold it would be
/// one that all callers share, and no peer's.
fn payload(bytes: usize) -> Bytes {
    let text: Vec<u8> = b"0123456789abcdef"
        .iter()
        .copied()
        .cycle()
        .take(bytes)
        .collect();
    Bytes::from_static(text.leak())
}

/// What comes back is what was sent; later only its length is looked at.
async fn check<C: Client>(clients: &[C], load: &Load, payload: &Bytes) -> Result<()> {
    for client in clients {
        if client.echo(payload).await?.as_ref() != payload {
            return Err("what came back is not what was sent".into());
        }
        let caller = Caller::new(client.clone(), load, payload.clone());
        caller.call().await?;
    }
    Ok(())
}
