//! The streams of the simulation: numbered parts, checked by whoever consumes them.

use std::time::Duration;

use futures_util::stream;
use rpc::{Status, Streaming};

use crate::ledger::Ledger;

pub(crate) type Parts = Streaming<Part>;

/// The nonce of the call, the number of the part, and something to carry.
type Part = (u64, usize, Vec<u8>);

/// What the part of this number carries: most are small.
fn load(number: usize) -> usize {
    match number % 50 {
        49 => 3000,
        _ => number % 7,
    }
}

/// The parts of a call, spread over so many milliseconds; keeps `life` to its end.
pub(crate) fn parts<L: Send + 'static>(nonce: u64, count: usize, millis: u64, life: L) -> Parts {
    let pause = Duration::from_millis(millis / (1 + count as u64 / 8));
    let parts = stream::unfold((0, life), move |(number, life)| async move {
        if number == count {
            return None;
        }
        if number % 8 == 7 {
            tokio::time::sleep(pause).await;
        }
        let part = (nonce, number, vec![number as u8; load(number)]);
        Some((part, (number + 1, life)))
    });
    Streaming::new(parts)
}

/// Checks that what is consumed is a beginning of what was sent.
pub(crate) struct Checked {
    nonce: u64,
    count: usize,
    next: usize,
    ledger: Ledger,
}

impl Checked {
    pub(crate) fn new(nonce: u64, count: usize, ledger: Ledger) -> Self {
        Self {
            nonce,
            count,
            next: 0,
            ledger,
        }
    }

    pub(crate) fn part(&mut self, part: &Part) {
        let number = self.next;
        if *part != (self.nonce, number, vec![number as u8; load(number)]) || number >= self.count {
            let what = format!("{}: part {number} is {part:?}", self.nonce);
            self.ledger.violation(what);
        }
        self.next += 1;
    }

    /// Consumes all parts. An end without an error is the end of them.
    pub(crate) async fn all(&mut self, mut parts: Parts) -> Result<(), Status> {
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) => self.part(&part),
                Err(status) => {
                    if self.next > 0 {
                        self.ledger.tear(self.nonce);
                    }
                    return Err(status);
                }
            }
        }
        if self.next != self.count {
            let (nonce, next, count) = (self.nonce, self.next, self.count);
            let what = format!("{nonce}: the stream ended well after {next} of {count}");
            self.ledger.violation(what);
        }
        Ok(())
    }
}
