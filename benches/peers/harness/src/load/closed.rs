//! Callers that make one call after the other: how many calls a second?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Operation;
use super::caller::Caller;
use super::tally::Tally;
use crate::{Client, Result};

/// Reading the clock twice a call would cost the fastest peer a tenth of its speed.
const TIMED_ONE_IN: u64 = 16;

pub(super) async fn run<C: Client>(
    callers: impl Iterator<Item = Caller<C>>,
    in_flight: usize,
    window: Duration,
) -> Tally {
    let callers: Vec<_> = callers.map(Arc::new).collect();
    let pace = Pace {
        over: Arc::new(AtomicBool::new(false)),
        timed_one_in: if callers.len() * in_flight == 1 {
            1
        } else {
            TIMED_ONE_IN
        },
    };
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for caller in &callers {
        for _ in 0..in_flight {
            tasks.push(spawn(caller.clone(), pace.clone()));
        }
    }
    tokio::time::sleep(window).await;
    let seconds = begin.elapsed().as_secs_f64();
    pace.over.store(true, Relaxed);

    let mut all = Tally::default();
    for task in tasks {
        match task.await {
            Ok(tally) => all.add(tally),
            Err(error) => all.note_failure(error.into()),
        }
    }
    all.seconds = seconds;
    all
}

/// Starts a task that makes one call after the other.
///
/// Why a type of task for each operation? There are up to a thousand, and one that has room for any call
/// fills the cache with what is not the peer's.
fn spawn<C: Client>(caller: Arc<Caller<C>>, pace: Pace) -> JoinHandle<Tally> {
    match caller.operation() {
        Operation::Echo => tokio::spawn(pace.repeat(caller, Caller::echo)),
        Operation::Record => tokio::spawn(pace.repeat(caller, Caller::record)),
        Operation::Work(work) => {
            let call = async move |caller: &Caller<C>| caller.work(work).await;
            tokio::spawn(pace.repeat(caller, call))
        }
        Operation::Items(_) | Operation::Nothing => tokio::spawn(pace.repeat(caller, Caller::call)),
    }
}

/// How long calls are made, and which of them are timed.
#[derive(Clone)]
struct Pace {
    over: Arc<AtomicBool>,
    timed_one_in: u64,
}

impl Pace {
    #[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
    fn repeat<C: Client>(
        self,
        caller: Arc<Caller<C>>,
        call: impl AsyncFn(&Caller<C>) -> Result<u64>,
    ) -> impl Future<Output = Tally> {
        async move {
            let mut tally = Tally::default();
            for number in 0.. {
                let timed = number % self.timed_one_in == 0;
                let begin = timed.then(Instant::now);
                let outcome = call(&caller).await;
                // What ends after the window does not count: the slow would profit.
                if self.over.load(Relaxed) {
                    break;
                }
                match outcome {
                    Ok(count) => tally.calls += count,
                    Err(error) => {
                        tally.note_failure(error);
                        // A peer that fails at once would spin.
                        break;
                    }
                }
                if let Some(begin) = begin {
                    tally.note_latency(begin.elapsed());
                }
            }
            tally
        }
    }
}
