//! Many clients, many calls.

use futures_util::future::{join_all, poll_immediate};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::{raw, soon, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// Each client needs two file descriptors in this process.
fn clients_at_most() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    (soft.unwrap_or(1024).saturating_sub(200) / 2).min(1000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s0_3_a_thousand_clients_and_bad_ones_among_them() {
    let count = clients_at_most();
    println!("{count} clients");
    let server = builder(&Worker::default())
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let uri = server.uri().to_owned();
    let clients = (0..count as u64).map(|nonce| {
        let uri = uri.clone();
        tokio::spawn(async move {
            if nonce % 50 == 49 {
                let address = uri.strip_prefix("tcp://").unwrap();
                let mut bad = TcpStream::connect(address).await.unwrap();
                let bytes = [raw::hello(1, 1), vec![0xff; 100]].concat();
                bad.write_all(&bytes).await.unwrap();
                return None;
            }
            let client = WorkClient::connect(&uri).await.unwrap();
            for _ in 0..3 {
                let (answer, padding) = client.echo(nonce, vec![nonce as u8]).await.unwrap();
                assert_eq!((answer, padding), (nonce, vec![nonce as u8]));
            }
            Some(client)
        })
    });
    let clients: Vec<_> = soon(join_all(clients))
        .await
        .into_iter()
        .map(|c| c.unwrap())
        .collect();
    let good = clients.iter().flatten().count();
    assert_eq!(good, count - count / 50);
    // S2-2: a connection each; the bad ones are closed, and their sockets with them.
    until(|| server.connection_count() == good).await;
    let calls = clients
        .iter()
        .flatten()
        .map(|client| client.echo(1, vec![]));
    assert!(
        soon(join_all(calls))
            .await
            .into_iter()
            .all(|answer| answer.is_ok())
    );
    assert_eq!(
        server.method_stats("Work.echo").unwrap().calls,
        4 * good as u64
    );
    drop(clients);
    until(|| server.connection_count() == 0).await;
}

/// T6, S1-18, S1-25: no answer is lost, doubled, or given to another call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t6_every_call_gets_its_own_answer() {
    const TASKS: u64 = 64;
    const EACH: u64 = 1000;
    let (client, wires, server) = pair(builder(&Worker::default()), |_, ends| ends);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for call in 0..EACH {
                    let nonce = task << 32 | call;
                    // Replies of all lengths: copied into the slot, and not.
                    let padding = vec![(task ^ call) as u8; (nonce % 97) as usize];
                    if call % 10 == 9 {
                        let status = client.fail(nonce).await.unwrap_err();
                        assert_eq!(status.message(), nonce.to_string());
                        continue;
                    }
                    let answer = client.echo(nonce, padding.clone()).await.unwrap();
                    assert_eq!(answer, (nonce, padding));
                }
            })
        })
        .collect();
    soon(join_all(tasks))
        .await
        .into_iter()
        .for_each(|task| task.unwrap());
    assert_eq!(wires.opened(), 1);
    until(|| server.stats().iter().all(|stats| stats.in_flight == 0)).await;
    let calls: u64 = server.stats().iter().map(|stats| stats.calls).sum();
    assert_eq!(calls, TASKS * EACH);
}

/// The same while a third of the callers give up at a random moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t6_calls_given_up_do_not_disturb_the_others() {
    let (client, wires, server) = pair(builder(&Worker::default()), |_, ends| ends);
    let tasks: Vec<_> = (0..64_u64)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for call in 0..200_u64 {
                    let nonce = task << 32 | call;
                    let mut echo = Box::pin(client.echo(nonce, vec![task as u8; 60]));
                    if (task + call).is_multiple_of(3) {
                        for _ in 0..call % 4 {
                            if poll_immediate(&mut echo).await.is_some() {
                                break;
                            }
                            tokio::task::yield_now().await;
                        }
                        continue;
                    }
                    assert_eq!(echo.await.unwrap(), (nonce, vec![task as u8; 60]));
                }
            })
        })
        .collect();
    soon(join_all(tasks))
        .await
        .into_iter()
        .for_each(|task| task.unwrap());
    assert_eq!(wires.opened(), 1);
    until(|| server.stats().iter().all(|stats| stats.in_flight == 0)).await;
}
