//! Deploys under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rpc::Status;
use tokio::task::JoinSet;

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;

/// Calls without end from so many tasks, each with a nonce of its own.
struct Load {
    tasks: JoinSet<Vec<Status>>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Load {
    fn start(client: &GreeterClient) -> Self {
        let (stop, calls) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (client, stop, calls) = (client.clone(), stop.clone(), calls.clone());
            tasks.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    let nonce = calls.fetch_add(1, SeqCst);
                    failed.extend(client.hello(nonce).await.err());
                    tokio::time::sleep(millis(1)).await;
                }
                failed
            });
        }
        Self { tasks, stop, calls }
    }

    async fn end(self) -> (u64, Vec<Status>) {
        self.stop.store(true, SeqCst);
        let failed = self.tasks.join_all().await;
        (
            self.calls.load(SeqCst),
            failed.into_iter().flatten().collect(),
        )
    }
}

/// F2: each of three servers is stopped gently and started again three times, under load and with a
/// long call on each connection; no method is idempotent.
#[tokio::test(start_paused = true)]
async fn f2_nine_restarts_fail_and_repeat_no_call() {
    let mut crew = Crew::of(3).await;
    for number in 0..3 {
        crew.mood(number).delay.store(2, SeqCst);
    }
    let client = crew.client();
    let load = Load::start(&client);
    tokio::time::sleep(millis(500)).await;
    let mut long = JoinSet::new();
    for _ in 0..3 {
        for number in 0..3 {
            for _ in 0..6 {
                let client = client.clone();
                long.spawn(async move { client.pause(1_000).await });
            }
            tokio::time::sleep(millis(100)).await;
            crew.retire(number).await;
            tokio::time::sleep(millis(300)).await;
            crew.start(number).await;
            let before = crew.calls(number);
            tokio::time::sleep(seconds(2)).await;
            assert!(crew.calls(number) > before, "{number} is not used again");
        }
    }
    let (calls, failed) = load.end().await;
    let long = long.join_all().await;
    let long_failed = long.iter().filter(|answer| answer.is_err()).count();
    println!(
        "F2: {calls} calls and {} long ones over nine restarts: {} and {long_failed} failed",
        long.len(),
        failed.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed, such as {}",
        failed.len(),
        failed[0]
    );
    assert_eq!(long_failed, 0);
    assert!(calls > 10_000, "{calls}");
    assert_eq!(
        (crew.ledger.executed() as u64, crew.ledger.most()),
        (calls, 1)
    );
}
