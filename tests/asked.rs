//! How often a service is asked for a handler.

mod common;

use std::future::{pending, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpc::__private::Incoming;
use rpc::{Channel, Code, Interceptor, Server, Service, ServiceDescriptor};
use serde::{Deserialize, Serialize, Serializer};
use tokio::time::timeout;

use common::{Count, network, soon};

#[rpc::service]
trait Work {
    async fn short(&self, number: u64) -> rpc::Result<u64>;
    async fn long(&self, number: u64) -> rpc::Result<u64>;
    async fn act(&self, number: u64, deed: Deed) -> rpc::Result<Reply>;
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Deed {
    Answer,
    Panic,
    Wait,
    /// With what panics where it is encoded.
    AnswerBadly,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Reply {
    number: u64,
    is_bad: bool,
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.is_bad, "as asked");
        (self.number, self.is_bad).serialize(serializer)
    }
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
    async fn act(&self, number: u64, deed: Deed) -> rpc::Result<Reply> {
        match deed {
            Deed::Wait => pending().await,
            Deed::Panic => panic!("as asked"),
            Deed::Answer | Deed::AnswerBadly => Ok(Reply {
                number,
                is_bad: deed == Deed::AnswerBadly,
            }),
        }
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn each_time_if_its_handlers_are_too_long_for_an_idle_connection() {
    let (client, asked, _server) = serve(true, false).await;
    for number in 0..4 {
        assert_eq!(soon(client.long(number)).await, Ok(number));
    }
    assert_eq!(asked.get() - 1, 4);
}

#[tokio::test(start_paused = true)]
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

/// What comes between two plain calls of the same method.
#[derive(Clone, Copy, Debug)]
enum Between {
    Deed(Deed),
    /// Not even decoded.
    Garbled,
    Metadata,
    Timeout,
    Other,
    OtherWithMetadata,
}

impl Between {
    async fn happen(self, client: &WorkClient) {
        let named = client.with_metadata("tenant", "acme").unwrap();
        let limited = client.with_timeout(Duration::from_secs(50));
        match self {
            Self::Deed(Deed::Answer) => act(client, 1).await,
            Self::Deed(Deed::Wait) => {
                let waited = timeout(Duration::from_millis(1), client.act(2, Deed::Wait)).await;
                assert!(waited.is_err(), "the caller gives up");
            }
            Self::Deed(deed @ (Deed::Panic | Deed::AnswerBadly)) => {
                let code = client.act(3, deed).await.map_err(|status| status.code());
                assert_eq!(code, Err(Code::Internal), "{deed:?}");
            }
            Self::Garbled => {
                let answer = client.channel().call::<_, Reply>("Work.act", &(4_u64,));
                let code = answer.await.map_err(|status| status.code());
                assert_eq!(code, Err(Code::InvalidArgument));
            }
            Self::Metadata => act(&named, 5).await,
            Self::Timeout => act(&limited, 6).await,
            Self::Other => assert_eq!(client.short(7).await, Ok(7)),
            Self::OtherWithMetadata => assert_eq!(named.short(8).await, Ok(8)),
        }
    }
}

/// Finds a call to be answered with what is its own.
async fn act(client: &WorkClient, number: u64) {
    let is_bad = false;
    let answer = client.act(number, Deed::Answer).await;
    assert_eq!(answer, Ok(Reply { number, is_bad }));
}

/// The clock stands still: however long a panic takes, its method is none that computes for long.
#[tokio::test(start_paused = true)]
async fn again_only_behind_what_leaves_no_handler_of_the_method() {
    use Between::{Garbled, Metadata, Other, OtherWithMetadata, Timeout};
    // How often for what comes between, and for the call behind it.
    let table = [
        (Between::Deed(Deed::Answer), 0, 0),
        (Between::Deed(Deed::Panic), 0, 1),
        (Between::Deed(Deed::AnswerBadly), 0, 0),
        (Between::Deed(Deed::Wait), 0, 1),
        (Garbled, 0, 0),
        (Metadata, 1, 1),
        (Timeout, 0, 0),
        (Other, 1, 1),
        (OtherWithMetadata, 1, 1),
    ];
    let (client, asked, _server) = serve(true, false).await;
    soon(act(&client, 10)).await;
    for (number, (between, expected, expected_behind)) in (11..).zip(table) {
        let before = asked.get();
        soon(between.happen(&client)).await;
        assert_eq!(asked.get() - before, expected, "{between:?}");
        soon(act(&client, number)).await;
        let behind = asked.get() - before - expected;
        assert_eq!(behind, expected_behind, "behind {between:?}");
    }
}
