//! The service of the simulations: methods of every kind, whose handlers tell the ledger.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::{Context, Status};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::parts::{Checked, Parts, parts};

#[rpc::service]
pub(crate) trait Work {
    async fn once(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)>;
    #[rpc(idempotent)]
    async fn again(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)>;
    async fn fail(&self, nonce: u64, millis: u64) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note(&self, nonce: u64, millis: u64) -> rpc::Result<()>;
    /// So many parts, one in each so many milliseconds.
    async fn download(&self, nonce: u64, millis: u64, count: usize) -> rpc::Result<Parts>;
    /// How many parts there were.
    async fn upload(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<(u64, usize)>;
    /// The parts themselves, as they come.
    async fn echo(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<Parts>;
}

/// The handlers of one host.
pub(crate) struct Worker {
    pub(crate) host: String,
    pub(crate) ledger: Ledger,
}

/// Takes down when a handler is dropped or ends.
struct Watch {
    ledger: Ledger,
    nonce: u64,
    deadline: Option<Instant>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // In a crash there is no clock any more.
        if Handle::try_current().is_err() {
            return;
        }
        if let Some(deadline) = self.deadline {
            let late = Instant::now().saturating_duration_since(deadline);
            self.ledger.overdue(self.nonce, late);
        }
    }
}

impl Worker {
    /// A handler begins; what is given is to last as long as its call.
    fn begin(&self, nonce: u64) -> Watch {
        self.ledger.execute(nonce, &self.host);
        let deadline = Context::current().deadline();
        Watch {
            ledger: self.ledger.clone(),
            nonce,
            deadline: deadline.map(|deadline| Instant::from_std(deadline.instant())),
        }
    }

    async fn work(&self, nonce: u64, millis: u64) {
        let _watch = self.begin(nonce);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

impl Work for Worker {
    async fn once(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)> {
        self.work(nonce, millis).await;
        Ok((nonce, padding.len()))
    }
    async fn again(&self, nonce: u64, millis: u64, padding: Vec<u8>) -> rpc::Result<(u64, usize)> {
        self.work(nonce, millis).await;
        Ok((nonce, padding.len()))
    }
    async fn fail(&self, nonce: u64, millis: u64) -> rpc::Result<()> {
        self.work(nonce, millis).await;
        Err(Status::aborted(nonce.to_string()))
    }
    async fn note(&self, nonce: u64, millis: u64) -> rpc::Result<()> {
        self.work(nonce, millis).await;
        Ok(())
    }
    async fn download(&self, nonce: u64, millis: u64, count: usize) -> rpc::Result<Parts> {
        Ok(parts(nonce, count, millis, self.begin(nonce)))
    }
    async fn upload(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<(u64, usize)> {
        let _watch = self.begin(nonce);
        let mut checked = Checked::new(nonce, count, self.ledger.clone());
        checked.all(parts).await?;
        Ok((nonce, count))
    }
    async fn echo(&self, nonce: u64, count: usize, parts: Parts) -> rpc::Result<Parts> {
        let watch = self.begin(nonce);
        let mut checked = Checked::new(nonce, count, self.ledger.clone());
        Ok(Parts::try_new(parts.inspect(move |part| {
            let _ = &watch;
            if let Ok(part) = part {
                checked.part(part);
            }
        })))
    }
}
