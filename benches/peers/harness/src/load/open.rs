//! Calls that begin when their time has come, whether those before them have ended or not.
//!
//! Why? A caller that waits for its answer begins its next call late when the server is slow, and
//! so does not see most of what the slowness costs (coordinated omission). Here the arrivals are
//! random and independent (exponential gaps from a fixed seed, the same for every peer), and a
//! latency is counted from when its call should have begun, not from when it did.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::Operation;
use super::caller::Caller;
use super::tally::Tally;
use super::ticker::Ticker;
use crate::{Client, Result};

const SEED: u64 = 0x5eed;
/// Calls under way; more wait, and their latency grows all the same.
const UNDER_WAY_MAX: usize = 5_000;
/// For those under way at the end; what takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run<C: Client>(
    callers: impl Iterator<Item = Caller<C>>,
    rate: f64,
    window: Duration,
) -> Tally {
    // A clone of some clients copies more than a pointer; a program would share it.
    let callers: Vec<_> = callers.map(Arc::new).collect();
    let all = Arc::new(Mutex::new(Tally::default()));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    let end = begin + window;
    if let Err(error) = arrivals(&callers, rate, begin..end, &all, &mut tasks).await {
        all.lock().unwrap().note_failure(error.into());
    }
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, rest).await.is_err() {
        let mut all = all.lock().unwrap();
        for _ in 0..tasks.len() {
            all.note_failure("no answer".into());
        }
    }
    let mut tally = std::mem::take(&mut *all.lock().unwrap());
    tally.seconds = window.as_secs_f64();
    tally
}

async fn arrivals<C: Client>(
    callers: &[Arc<Caller<C>>],
    rate: f64,
    window: std::ops::Range<Instant>,
    all: &Arc<Mutex<Tally>>,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<()> {
    let mut ticker = Ticker::new()?;
    let mut random = Rng::with_seed(SEED);
    let mut due = window.start;
    for number in 0_u64.. {
        // The gaps of a Poisson process.
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        if due >= window.end {
            break;
        }
        ticker.wait_until(due).await?;
        while tasks.try_join_next().is_some() {}
        while tasks.len() >= UNDER_WAY_MAX {
            tasks.join_next().await;
        }
        let caller = callers[number as usize % callers.len()].clone();
        spawn(caller, number, due, all.clone(), tasks);
    }
    Ok(())
}

/// Starts a task that makes one call.
///
/// Why a type of task for each operation? One that has room for any call is allocated for each, and beyond
/// a kilobyte, that takes an allocator several times as long, for what is not the peer's.
fn spawn<C: Client>(
    caller: Arc<Caller<C>>,
    number: u64,
    due: Instant,
    all: Arc<Mutex<Tally>>,
    tasks: &mut JoinSet<()>,
) {
    if let Some(work) = caller.odd_one(number) {
        let call = async move |caller: &Caller<C>| caller.work(work).await;
        tasks.spawn(one_call(caller, call, None, all));
        return;
    }
    let due = Some(due);
    match caller.operation() {
        Operation::Echo => tasks.spawn(one_call(caller, Caller::echo, due, all)),
        Operation::Record => tasks.spawn(one_call(caller, Caller::record, due, all)),
        Operation::Work(work) => {
            let call = async move |caller: &Caller<C>| caller.work(work).await;
            tasks.spawn(one_call(caller, call, due, all))
        }
        Operation::Items(_) | Operation::Nothing => {
            tasks.spawn(one_call(caller, Caller::call, due, all))
        }
    };
}

/// Its latency counts if it was `due`.
#[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
fn one_call<C: Client>(
    caller: Arc<Caller<C>>,
    call: impl AsyncFn(&Caller<C>) -> Result<u64>,
    due: Option<Instant>,
    all: Arc<Mutex<Tally>>,
) -> impl Future<Output = ()> {
    async move {
        let outcome = call(&caller).await;
        let latency = due.map(|due| due.elapsed());
        let mut all = all.lock().unwrap();
        match outcome {
            Ok(count) => all.calls += count,
            Err(error) => return all.note_failure(error),
        }
        if let Some(latency) = latency {
            all.note_latency(latency);
        }
    }
}
