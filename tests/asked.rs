//! How often a service is asked for a handler.

mod common;

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;

use futures_util::future::join_all;
use rpc::__private::Incoming;
use rpc::{Channel, Interceptor, Server, Service, ServiceDescriptor};

use common::{Count, network, soon};

#[rpc::service]
trait Work {
    async fn short(&self, number: u64) -> rpc::Result<u64>;
    async fn long(&self, number: u64) -> rpc::Result<u64>;
}

struct Worker;

impl Work for Worker {
    async fn short(&self, number: u64) -> rpc::Result<u64> {
        Ok(number)
    }
    async fn long(&self, number: u64) -> rpc::Result<u64> {
        let kept = [number; 128];
        ready(()).await;
        Ok(black_box(&kept)[0])
    }
}

/// Stands for the service.
#[derive(Clone)]
struct StandIn {
    service: WorkServer<Worker>,
    asked: Count,
    is_constant: bool,
}

impl Service for StandIn {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.service.descriptor()
    }

    fn dispatch(&self, call: Incoming<'_>) {
        self.asked.add();
        self.service.dispatch(call);
    }

    fn is_constant(&self) -> bool {
        self.is_constant
    }
}

struct Idle;

impl Interceptor for Idle {}

/// A client that is connected, with what counts.
async fn serve(is_constant: bool, intercepted: bool) -> (WorkClient, Count, Server) {
    let service = WorkServer::new(Worker);
    assert!(service.is_constant());
    let asked = Count::default();
    let builder = Server::builder().add_service(StandIn {
        service,
        asked: asked.clone(),
        is_constant,
    });
    let builder = match intercepted {
        true => builder.interceptor(Idle),
        false => builder,
    };
    let (wires, exchange) = network(|_, ends| ends);
    let server = builder.serve(exchange).unwrap();
    let channel = Channel::builder().with_connector(Arc::new(wires));
    let client = WorkClient::new(channel);
    soon(client.long(0)).await.unwrap();
    assert_eq!(asked.get(), 1);
    (client, asked, server)
}

#[tokio::test]
async fn a_constant_one_once_for_calls_that_arrive_one_after_the_other() {
    for (is_constant, intercepted, expected) in [
        (true, false, 1),
        (false, false, 4),
        (true, true, 4),
        (false, true, 4),
    ] {
        let (client, asked, _server) = serve(is_constant, intercepted).await;
        for number in 0..4 {
            assert_eq!(soon(client.short(number)).await, Ok(number));
        }
        assert_eq!(asked.get() - 1, expected, "{is_constant} {intercepted}");
    }
}

#[tokio::test]
async fn each_time_if_its_handlers_are_too_long_for_an_idle_connection() {
    let (client, asked, _server) = serve(true, false).await;
    for number in 0..4 {
        assert_eq!(soon(client.long(number)).await, Ok(number));
    }
    assert_eq!(asked.get() - 1, 4);
}

#[tokio::test]
async fn once_for_plain_calls_that_arrive_together_and_again_behind_metadata() {
    for (is_constant, intercepted) in [(true, false), (false, false), (true, true), (false, true)] {
        let (client, asked, _server) = serve(is_constant, intercepted).await;
        let named = client.with_metadata("tenant", "acme").unwrap();
        for (second, mut expected) in [(&client, 2), (&named, 3)] {
            let before = asked.get();
            // The first is written at once, by its caller, and arrives ahead of the others.
            let clients = [&client, second, &client, &client, &client];
            let calls = (0..)
                .zip(clients)
                .map(|(number, client)| client.short(number));
            let answers = soon(join_all(calls)).await;
            assert_eq!(answers, [0, 1, 2, 3, 4].map(Ok));
            expected -= usize::from(is_constant && !intercepted);
            assert_eq!(
                asked.get() - before,
                expected,
                "{is_constant} {intercepted}"
            );
        }
    }
}
