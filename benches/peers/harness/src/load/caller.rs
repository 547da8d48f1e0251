//! One call of the load, whichever it is.

use bytes::Bytes;

use super::{Load, Operation};
use crate::{Client, Result, Work};

/// Makes the calls of one connection.
pub(super) struct Caller<C> {
    client: C,
    operation: Operation,
    one_percent: Option<Work>,
    payload: Bytes,
}

impl<C: Client> Caller<C> {
    pub(super) fn new(client: C, load: &Load, payload: Bytes) -> Self {
        Self {
            client,
            operation: load.operation,
            one_percent: load.one_percent,
            payload,
        }
    }

    /// The work of the call with this number, if it is one of the hundred that does other work.
    pub(super) fn odd_one(&self, number: u64) -> Option<Work> {
        self.one_percent.filter(|_| number % 100 == 99)
    }

    pub(super) const fn operation(&self) -> Operation {
        self.operation
    }

    /// Makes one call, whichever. Tells how many it counts for: 1, or the items of a stream.
    pub(super) async fn call(&self) -> Result<u64> {
        match self.operation {
            Operation::Echo => self.echo().await,
            Operation::Work(work) => self.work(work).await,
            Operation::Record => self.record().await,
            Operation::Items(count) => self.items(count).await,
            Operation::Nothing => Ok(0),
        }
    }

    #[expect(clippy::manual_async_fn, reason = "it would keep `self` twice")]
    pub(super) fn echo(&self) -> impl Future<Output = Result<u64>> + Send {
        async move {
            let reply = self.client.echo(&self.payload).await?;
            self.expect_length(reply.as_ref())
        }
    }

    pub(super) async fn work(&self, work: Work) -> Result<u64> {
        let reply = self.client.work(work, &self.payload).await?;
        self.expect_length(reply.as_ref())
    }

    pub(super) async fn record(&self) -> Result<u64> {
        let items = self.client.record().await?;
        expect(items == 10, "items are missing")
    }

    async fn items(&self, count: u32) -> Result<u64> {
        let came = self.client.items(count, &self.payload).await?;
        expect(came == count, "items are missing").map(|_| came.into())
    }

    fn expect_length(&self, reply: &[u8]) -> Result<u64> {
        let same = reply.len() == self.payload.len();
        expect(same, "the reply is too short or too long")
    }
}

fn expect(is_so: bool, else_what: &str) -> Result<u64> {
    is_so.then_some(1).ok_or_else(|| else_what.into())
}
