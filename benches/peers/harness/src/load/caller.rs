//! One call of the load, whichever it is.

use bytes::Bytes;

use super::{Load, Operation};
use crate::{Client, Result, Work};

/// Makes the calls of one connection.
#[derive(Clone)]
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

    /// Makes one call. Tells how many it counts for: 1, or the items of a stream.
    #[inline]
    pub(super) async fn call(&self) -> Result<u64> {
        match self.operation {
            Operation::Echo => {
                let reply = self.client.echo(&self.payload).await?;
                self.expect_length(reply.as_ref())
            }
            Operation::Work(work) => self.work(work).await,
            Operation::Record => {
                let items = self.client.record().await?;
                (items == 10)
                    .then_some(1)
                    .ok_or_else(|| "items are missing".into())
            }
            Operation::Items(count) => {
                let came = self.client.items(count, &self.payload).await?;
                (came == count)
                    .then_some(came.into())
                    .ok_or_else(|| "items are missing".into())
            }
            Operation::Nothing => Ok(0),
        }
    }

    pub(super) async fn work(&self, work: Work) -> Result<u64> {
        let reply = self.client.work(work, &self.payload).await?;
        self.expect_length(reply.as_ref())
    }

    fn expect_length(&self, reply: &[u8]) -> Result<u64> {
        let same = reply.len() == self.payload.len();
        same.then_some(1)
            .ok_or_else(|| "the reply is too short or too long".into())
    }
}
