//! When replies leave. Alone in its process, because it counts on a processor that no other connection
//! keeps busy.

mod common;

use std::num::NonZero;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::soon;
use rpc::{Channel, Server, Status};
use tokio::sync::Notify;

/// The handlers of two calls that came together run one after the other: the first for longer than its
/// reply is kept, the second until the client has that reply.
#[tokio::test]
async fn a_reply_does_not_wait_for_calls_behind_it_if_the_client_can_use_it() {
    if std::thread::available_parallelism().map_or(1, NonZero::get) == 1 {
        println!("skipped: with one processor, no client can do anything meanwhile");
        return;
    }
    let (has_reply, is_here) = mpsc::sync_channel(1);
    let (begun, is_here) = (Arc::new(Notify::new()), Mutex::new(is_here));
    let begin = begun.clone();
    let task = || format!("{:?}", tokio::task::try_id());
    let builder = Server::builder()
        .add_function("Test.wait", move |()| {
            begin.notify_one();
            std::future::pending::<Result<(), Status>>()
        })
        .add_function("Test.work", move |()| async move {
            std::thread::sleep(Duration::from_millis(1));
            Ok::<_, Status>(task())
        })
        .add_function("Test.see", move |()| {
            let seen = is_here.lock().unwrap().recv_timeout(Duration::from_secs(5));
            std::future::ready(
                seen.map(|()| task())
                    .map_err(|_| Status::internal("it was kept")),
            )
        });
    // On a thread of its own, which the last handler holds up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.spawn(async { builder.bind("tcp://127.0.0.1:0").await });
    let server = server.await.unwrap().unwrap();
    let channel = Channel::connect(server.uri()).await.unwrap();
    // With company, requests leave together.
    let company = {
        let channel = channel.clone();
        tokio::spawn(async move { channel.call::<_, ()>("Test.wait", &()).await })
    };
    soon(begun.notified()).await;
    let work = async {
        let task: String = channel.call("Test.work", &()).await.unwrap();
        has_reply.send(()).unwrap();
        task
    };
    let see = async { channel.call::<_, String>("Test.see", &()).await };
    let (working, seeing) = soon(async { tokio::join!(work, see) }).await;
    assert_eq!(Ok(working), seeing, "one task ran both");
    company.abort();
    drop(server);
    runtime.shutdown_background();
}
