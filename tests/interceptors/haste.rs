//! Interceptors that do their work as they make their future, and wait for nothing.

use std::future::{Future, ready};
use std::hint::spin_loop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::{CallInfo, Channel, Code, Interceptor, Server, Status};

use crate::common::network;
use crate::ways::{Mark, Ways as _, WaysClient, server};

/// Does something about calls of `later`.
#[derive(Clone, Copy)]
struct Hasty(fn());

impl Interceptor for Hasty {
    fn before(&self, call: &mut CallInfo) -> impl Future<Output = Result<(), Status>> + Send {
        if call.method() == "later" {
            (self.0)();
        }
        ready(Ok(()))
    }
}

/// A client with two interceptors at one end, which has made a call.
async fn client(on_client: bool, mark: &Mark, hasty: Hasty) -> (WaysClient, Server) {
    let (mut server, mut channel) = (server(), Channel::builder());
    if on_client {
        channel = channel.interceptor(mark.clone()).interceptor(hasty);
    } else {
        server = server.interceptor(mark.clone()).interceptor(hasty);
    }
    let (wires, exchange) = network(|_, ends| ends);
    let server = server.serve(exchange).unwrap();
    let client = WaysClient::new(channel.with_connector(Arc::new(wires)));
    client.echo(Vec::new()).await.unwrap();
    mark.check(1, 0).await;
    (client, server)
}

#[tokio::test]
async fn t14_a_panic_in_the_making_of_a_future_ends_its_call_and_others_are_told() {
    for on_client in [true, false] {
        let (mark, hasty) = (Mark::new("c", false), Hasty(|| panic!("as asked")));
        let (client, _server) = client(on_client, &mark, hasty).await;
        let status = client.later().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "an interceptor panicked");
        assert!(status.is_not_processed());
        mark.check(0, 1).await;
        client.echo(vec![1; 32]).await.unwrap();
        mark.check(1, 0).await;
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "real time is spent")]
async fn time_that_an_interceptor_takes_without_waiting_is_the_call_s() {
    const LIMIT: Duration = Duration::from_millis(5);
    let hasty = Hasty(|| {
        let begin = Instant::now();
        while begin.elapsed() < 2 * LIMIT {
            spin_loop();
        }
    });
    let mark = Mark::new("c", false);
    let (client, server) = client(true, &mark, hasty).await;
    let status = client.with_timeout(LIMIT).later().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.is_not_processed());
    mark.check(0, 1).await;
    let later = server
        .stats()
        .into_iter()
        .find(|method| method.path.ends_with("later"));
    assert_eq!(later.map(|method| method.calls), Some(0));
}
