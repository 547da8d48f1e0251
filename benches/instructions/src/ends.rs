//! The two ends of the connection, each a process with one thread.

use bytes::Bytes;
use rpc::Server;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};

use crate::Result;

const PAYLOAD: [u8; 32] = [7; 32];

#[rpc::service]
trait Bench {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes>;
}

struct Echo;

impl Bench for Echo {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes> {
        Ok(payload)
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Serves until standard input ends; says so on standard output once it does.
pub(crate) fn serve(target: &str) -> Result<()> {
    runtime()?.block_on(async {
        let service = BenchServer::new(Echo);
        let _server = Server::builder().add_service(service).bind(target).await?;
        println!("listening");
        tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
}

/// So many callers, each of which makes so many calls.
pub(crate) fn call(target: &str, in_flight: u32, rounds: u32) -> Result<()> {
    runtime()?.block_on(async {
        let client = BenchClient::connect(target).await?;
        let callers = (0..in_flight).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..rounds {
                    let reply = client.echo(Bytes::from_static(&PAYLOAD)).await?;
                    assert_eq!(reply, PAYLOAD[..]);
                }
                Ok::<_, rpc::Status>(())
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await??;
        }
        Ok(())
    })
}
