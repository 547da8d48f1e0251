//! Callers that make one call after the other: how many calls a second?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::tally::Tally;
use crate::Client;

/// Reading the clock twice a call would cost the fastest peer a tenth of its speed.
const TIMED_ONE_IN: u64 = 16;

pub(super) async fn run<C: Client>(
    callers: impl Iterator<Item = Caller<C>>,
    in_flight: usize,
    window: Duration,
) -> Tally {
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = callers.collect();
    let timed_one_in = if callers.len() * in_flight == 1 {
        1
    } else {
        TIMED_ONE_IN
    };
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for caller in callers {
        for _ in 0..in_flight {
            tasks.push(tokio::spawn(one_after_another(
                caller.clone(),
                over.clone(),
                timed_one_in,
            )));
        }
    }
    tokio::time::sleep(window).await;
    let seconds = begin.elapsed().as_secs_f64();
    over.store(true, Relaxed);

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

async fn one_after_another<C: Client>(
    caller: Caller<C>,
    over: Arc<AtomicBool>,
    timed_one_in: u64,
) -> Tally {
    let mut tally = Tally::default();
    for number in 0.. {
        let timed = number % timed_one_in == 0;
        let begin = timed.then(Instant::now);
        let outcome = caller.call().await;
        // What ends after the window does not count: the slow would profit.
        if over.load(Relaxed) {
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
