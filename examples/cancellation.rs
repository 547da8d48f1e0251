//! A call that is dropped at the root stops its work on every server below, down to the leaf.
//!
//! Run it with `cargo run --example cancellation`.

use std::error::Error;
use std::time::{Duration, Instant};

use rpc::{Context, InCurrentContext, Server};
use tokio::sync::mpsc;

#[rpc::service]
trait Search {
    /// Digs deeper and deeper.
    async fn dig(&self) -> rpc::Result<()>;
}

struct Hop {
    depth: usize,
    next: Option<SearchClient>,
    news: mpsc::Sender<String>,
}

/// Reports that the handler that holds it is over.
struct Shovel(String, mpsc::Sender<String>);

impl Drop for Shovel {
    fn drop(&mut self) {
        let _ = self.1.try_send(format!("{} stopped", self.0));
    }
}

impl Search for Hop {
    async fn dig(&self) -> rpc::Result<()> {
        let _shovel = Shovel(format!("hop {}", self.depth), self.news.clone());
        if let Some(next) = &self.next {
            // Dropped with this handler, and that cancels it on the next hop.
            return next.dig().await;
        }
        // What a handler spawns is not dropped with it: it has to ask.
        let news = self.news.clone();
        let helper = async move {
            let _ = news.send("the leaf is digging".into()).await;
            Context::current().cancelled().await;
            let _ = news.send("the leaf's helper was told".into()).await;
        };
        tokio::spawn(helper.in_current_context());
        std::future::pending().await
    }
}

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    reason = "the time is shown, not decided on"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let (news, mut reports) = mpsc::channel(16);
    let (mut servers, mut next) = (Vec::new(), None);
    for depth in (1..=4).rev() {
        let news = news.clone();
        let hop = SearchServer::new(Hop { depth, next, news });
        let server = Server::builder().add_service(hop);
        servers.push(server.bind("tcp://127.0.0.1:0").await?);
        next = Some(SearchClient::connect(servers[4 - depth].uri()).await?);
    }
    let root = next.ok_or("four hops")?;
    let call = tokio::spawn(async move { root.dig().await });
    println!("{}", reports.recv().await.ok_or("no news")?);

    println!("the root drops its future");
    let begin = Instant::now();
    call.abort();
    // Four handlers and one helper.
    for _ in 0..5 {
        let report = tokio::time::timeout(Duration::from_secs(5), reports.recv()).await?;
        println!("  {:>6.1?}  {}", begin.elapsed(), report.ok_or("no news")?);
    }
    Ok(())
}
