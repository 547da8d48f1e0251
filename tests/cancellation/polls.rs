//! S3-7, S1-22: a call's future may be dropped after any number of polls.
//!
//! Each test drops a call after no poll, after one, and so on until it ends by itself, and lets the
//! others run for a while between two polls, so that the call is dropped at every step of its way.
//! Whenever it is, its handler has run at most once and is stopped, every place is free again, and
//! the next call works.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rpc::Channel;

use crate::common::{soon, until};
use crate::{Work, WorkClient, Worker, builder, pair};

/// How often other tasks run between two polls.
const PAUSES: [usize; 4] = [1, 2, 3, 7];
/// How often the handler waits.
const STEPS: u64 = 12;
/// No call needs as many polls.
const POLLS_MAX: usize = 200;

async fn yield_times(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Polls a call so many times; true if it has ended by then.
async fn polled(client: &WorkClient, polls: usize, pause: usize) -> bool {
    let mut call = pin!(client.steps(STEPS));
    for _ in 0..polls {
        let answer = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(answer) = answer {
            answer.expect("nothing is wrong with it");
            return true;
        }
        yield_times(pause).await;
    }
    false
}

/// Where a call begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// On a connection that is open.
    Open,
    /// With a client that has not connected yet.
    Unconnected,
    /// In line behind another call, on a connection with room for one.
    InLine,
}

/// Drops calls after every number of polls; how many polls it takes to end one.
async fn drop_after_every_poll(start: Start) -> usize {
    let worker = Worker::default();
    let room = if start == Start::InLine { 1 } else { 1024 };
    let (open, wires, server) = pair(builder(&worker).calls_per_connection_max(room)).await;
    let mut most = 0;
    for pause in PAUSES {
        for polls in 0..=POLLS_MAX {
            let begun = worker.started.get();
            let client = match start {
                Start::Unconnected => {
                    let connector = Arc::new(wires.clone());
                    WorkClient::new(Channel::builder().with_connector(connector))
                }
                Start::Open | Start::InLine => open.clone(),
            };
            let others = usize::from(start == Start::InLine);
            if others > 0 {
                let client = client.clone();
                tokio::spawn(async move { client.steps(3 * STEPS).await });
                yield_times(1).await;
            }
            let ended = polled(&client, polls, pause).await;
            // Nothing is left of it: whoever comes next finds room.
            let number = polls as u64;
            assert_eq!(soon(client.echo(number)).await, Ok(number));
            until(|| server.load().calls_in_flight == 0).await;
            assert_eq!(worker.started.get(), worker.stopped.get());
            let ran = worker.started.get() - begun - others;
            assert!(ran <= 1, "it ran {ran} times");
            if ended {
                assert_eq!(ran, 1);
                most = most.max(polls);
                break;
            }
            assert!(polls < POLLS_MAX, "the call does not end");
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn s3_7_on_a_connection_that_is_open() {
    let polls = drop_after_every_poll(Start::Open).await;
    assert!(polls >= 12, "{polls} polls do not see all of the way");
}

#[tokio::test(start_paused = true)]
async fn s3_7_before_there_is_a_connection() {
    let polls = drop_after_every_poll(Start::Unconnected).await;
    assert!(polls >= 12, "{polls} polls do not see all of the way");
}

#[tokio::test(start_paused = true)]
async fn s3_7_in_line_behind_another_call() {
    let polls = drop_after_every_poll(Start::InLine).await;
    assert!(polls >= 36, "{polls} polls do not see all of the way");
}
