//! Connections that do nothing: what do they cost in memory?

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Load, Outcome, payload};
use crate::{Client, Peer, Result, Usage};

/// Opens one connection, waits for the word, opens the others; all stay open. Each makes one call,
/// so that it is a connection on which something has happened.
pub(super) async fn run<P: Peer>(
    server: SocketAddr,
    load: &Load,
    wait_for_go: impl Fn() -> Result<()>,
) -> Result<Outcome> {
    let payload = payload(load.bytes);
    let first = open::<P>(server, &payload).await?;
    wait_for_go()?;
    let before = Usage::now();
    let mut clients = vec![first];
    while clients.len() <= load.connections {
        clients.push(open::<P>(server, &payload).await?);
    }
    let outcome = Outcome {
        calls: load.connections as u64,
        usage: Usage::now().since(before),
        ..Outcome::default()
    };
    // For as long as the process lives.
    std::mem::forget(clients);
    Ok(outcome)
}

async fn open<P: Peer>(server: SocketAddr, payload: &Bytes) -> Result<P::Client> {
    let client = P::connect(server).await?;
    client.echo(payload).await?;
    Ok(client)
}
