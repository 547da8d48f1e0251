//! What surrounds a call: inherited, scoped, carried into tasks, traced across processes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use rpc::{
    CallInfo, Channel, Context, InCurrentContext, Interceptor, Server, Status, TraceParent,
    capture_metadata,
};

use common::{Wires, network, unique};

/// What a handler sees of its call.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Seen {
    /// `traceparent` and `tracestate` as they came.
    parent: Option<String>,
    state: Option<String>,
    /// The span of the call itself.
    own: Option<String>,
    tenant: Option<String>,
    peer: Option<String>,
    left: Option<Duration>,
}

impl Seen {
    fn now() -> Self {
        let context = Context::current();
        let text = |key| context.metadata().get(key).map(str::to_owned);
        Self {
            parent: text("traceparent"),
            state: text("tracestate"),
            own: context.trace_parent().map(|trace| trace.to_string()),
            tenant: text("tenant"),
            peer: context.peer().map(ToString::to_string),
            left: context.remaining(),
        }
    }

    fn parent(&self) -> TraceParent {
        self.parent.as_ref().unwrap().parse().unwrap()
    }

    fn own(&self) -> TraceParent {
        self.own.as_ref().unwrap().parse().unwrap()
    }
}

#[rpc::service]
trait Look {
    /// What is seen here, and on all hops below.
    async fn down(&self) -> rpc::Result<Vec<Seen>>;
    /// The same from a task that the handler spawned.
    async fn spawned(&self) -> rpc::Result<(Seen, Seen)>;
    /// Answers with metadata, from within a scope of its own.
    async fn respond(&self, fails: bool) -> rpc::Result<()>;
}

struct Station(Option<LookClient>);

impl Look for Station {
    async fn down(&self) -> rpc::Result<Vec<Seen>> {
        let mut seen = vec![Seen::now()];
        if let Some(next) = &self.0 {
            seen.extend(next.down().await?);
        }
        Ok(seen)
    }
    async fn spawned(&self) -> rpc::Result<(Seen, Seen)> {
        let carried = async {
            tokio::task::yield_now().await;
            Seen::now()
        };
        let carried = tokio::spawn(carried.in_current_context());
        let left_behind = tokio::spawn(async { Seen::now() });
        Ok((carried.await.unwrap(), left_behind.await.unwrap()))
    }
    async fn respond(&self, fails: bool) -> rpc::Result<()> {
        let add = |key, value| Context::current().add_response_metadata(key, value);
        add("outer", "1").unwrap();
        let inner = Context::current().with_timeout(Duration::from_secs(1));
        inner.scope(async { add("inner", "2") }).await.unwrap();
        add("UPPER", "refused").unwrap_err();
        if fails {
            return Err(Status::aborted("no"));
        }
        Ok(())
    }
}

/// As many servers in a row, and a client of the first.
fn hops(count: usize) -> (LookClient, Vec<Wires>, Vec<Server>) {
    let (mut wires, mut servers, mut next) = (Vec::new(), Vec::new(), None);
    for _ in 0..count {
        let (ours, exchange) = network(|_, ends| ends);
        let builder = Server::builder().add_service(LookServer::new(Station(next.take())));
        servers.push(builder.serve(exchange).unwrap());
        let channel = Channel::builder().with_connector(Arc::new(ours.clone()));
        next = Some(LookClient::new(channel));
        wires.push(ours);
    }
    (next.unwrap(), wires, servers)
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Each hop's parent is the span of the hop before it, all in one trace.
#[tokio::test]
async fn s3_8_a_trace_flows_from_caller_to_callee_to_its_callee() {
    let (client, _wires, _servers) = hops(3);
    let root: TraceParent = TRACE.parse().unwrap();
    let context = Context::new().with_trace_parent(root);
    let seen = context.scope(client.down()).await.unwrap();
    assert_eq!(seen.len(), 3);
    let mut caller = root;
    for (hop, seen) in seen.iter().enumerate() {
        assert_eq!(
            seen.parent(),
            caller,
            "hop {hop}: the parent is the caller's span"
        );
        let own = seen.own();
        assert_eq!(own.trace_id(), root.trace_id(), "hop {hop}");
        assert_eq!(own.flags(), 1, "hop {hop}: sampled");
        assert_ne!(
            own.span_id(),
            caller.span_id(),
            "hop {hop}: a span of its own"
        );
        caller = own;
    }
    // Without a trace nothing is made up.
    for seen in client.down().await.unwrap() {
        assert_eq!((seen.parent, seen.own), (None, None));
    }
}

/// A caller that is no rpc program starts the trace with metadata; vendor data is handed on.
#[tokio::test]
async fn s3_8_trace_state_is_forwarded_as_it_came() {
    let (client, _wires, _servers) = hops(3);
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    let client = client.with_metadata("traceparent", TRACE).unwrap();
    let client = client.with_metadata("tracestate", state).unwrap();
    let client = client.with_metadata("tenant", "acme").unwrap();
    let seen = client.down().await.unwrap();
    assert_eq!(seen[0].parent.as_deref(), Some(TRACE));
    assert_eq!(seen[1].parent(), seen[0].own());
    assert_eq!(seen[2].parent(), seen[1].own());
    assert!(seen.iter().all(|seen| seen.state.as_deref() == Some(state)));
    // Other metadata is between two parties.
    let tenants: Vec<_> = seen.iter().map(|seen| seen.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some("acme"), None, None]);
}

#[tokio::test]
async fn s3_8_metadata_that_was_said_wins_over_the_context() {
    let (client, _wires, _servers) = hops(1);
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let said = client.with_metadata("traceparent", other).unwrap();
    let context = Context::new().with_trace_parent(TRACE.parse().unwrap());
    let (said, inherited) = context
        .scope(async { (said.down().await, client.down().await) })
        .await;
    assert_eq!(said.unwrap()[0].parent.as_deref(), Some(other));
    assert_eq!(inherited.unwrap()[0].parent.as_deref(), Some(TRACE));
}

#[tokio::test]
async fn s3_8_a_malformed_trace_is_not_continued() {
    let (client, _wires, _servers) = hops(2);
    for bad in [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        &TRACE.to_uppercase(),
        &format!("{TRACE}-00"),
        &TRACE[..54],
    ] {
        let client = client.with_metadata("traceparent", bad).unwrap();
        let client = client.with_metadata("tracestate", "a=1").unwrap();
        let seen = client.down().await.unwrap();
        assert_eq!(seen[0].parent.as_deref(), Some(bad), "as it came");
        assert_eq!(seen[0].own, None, "{bad}");
        assert_eq!((&seen[1].parent, &seen[1].state), (&None, &None), "{bad}");
    }
}

/// A request without room for the trace is sent without it.
#[tokio::test]
async fn s3_8_full_metadata_matters_more_than_its_trace() {
    let (client, _wires, _servers) = hops(1);
    let mut client = client.with_metadata("tenant", "acme").unwrap();
    for number in 1..rpc::Metadata::PAIRS_MAX {
        client = client.with_metadata(&format!("k{number}"), "v").unwrap();
    }
    let context = Context::new().with_trace_parent(TRACE.parse().unwrap());
    let seen = context.scope(client.down()).await.unwrap();
    assert_eq!(seen[0].tenant.as_deref(), Some("acme"));
    assert_eq!(seen[0].parent, None);
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_has_the_context_only_if_it_is_carried() {
    let (client, _wires, _servers) = hops(1);
    let client = client.with_metadata("tenant", "acme").unwrap();
    let client = client.with_metadata("traceparent", TRACE).unwrap();
    let client = client.with_timeout(Duration::from_secs(7));
    let (carried, left_behind) = client.spawned().await.unwrap();
    assert_eq!(left_behind, Seen::default());
    assert_eq!(carried.tenant.as_deref(), Some("acme"));
    assert_eq!(carried.peer.as_deref(), Some("test://client"));
    assert_eq!(carried.left, Some(Duration::from_secs(7)));
    assert_eq!(carried.own().trace_id(), carried.parent().trace_id());
}

#[tokio::test]
async fn scopes_nest_and_end() {
    let left = || Context::current().remaining();
    let (long, short) = (Duration::from_secs(100), Duration::from_secs(10));
    assert_eq!(left(), None);
    Context::new()
        .with_timeout(long)
        .scope(async {
            assert!(left().unwrap() > short);
            let inner = Context::current().with_timeout(short);
            inner
                .scope(async { assert!(left().unwrap() <= short) })
                .await;
            assert!(left().unwrap() > short, "the outer is back");
            // Longer than what is left is no longer.
            let longer = Context::current().with_timeout(long * 2);
            assert!(longer.remaining().unwrap() <= long);
            // A task polled in between has none of it.
            let task = tokio::spawn(async move { left() });
            assert_eq!(task.await.unwrap(), None);
        })
        .await;
    assert_eq!(left(), None);
    let context = Context::new().with_trace_parent(TRACE.parse().unwrap());
    assert_eq!(context.trace_parent().unwrap().to_string(), TRACE);
    assert!(context.peer().is_none() && context.metadata().is_empty());
    assert!(!context.is_cancelled());
}

/// A span is chosen once, also when contexts are made from the context of a call.
#[tokio::test]
async fn s3_8_contexts_made_from_one_share_its_span() {
    let server = Server::builder().add_function("Look.spans", |(): ()| async {
        let context = Context::current();
        let (one, two) = (context.with_timeout(SECOND), context.with_timeout(SECOND));
        let spans = [one, two, context].map(|c| c.trace_parent().map(|t| t.span_id()));
        rpc::Result::<Vec<Option<u64>>>::Ok(spans.to_vec())
    });
    const SECOND: Duration = Duration::from_secs(1);
    let target = format!("mem://{}", unique("spans"));
    let _server = server.bind(&target).await.unwrap();
    let channel = Channel::connect(&target).await.unwrap();
    let channel = channel.with_metadata("traceparent", TRACE).unwrap();
    let spans: Vec<Option<u64>> = channel.call("Look.spans", &()).await.unwrap();
    assert!(spans[0].is_some() && spans[0] == spans[1] && spans[1] == spans[2]);
}

/// S3-7: what the handler adds to its response reaches the caller, and only for this call.
#[tokio::test]
async fn s3_7_response_metadata_reaches_the_caller() {
    let (client, _wires, _servers) = hops(1);
    for fails in [false, true] {
        let (answer, metadata) = capture_metadata(client.respond(fails)).await;
        assert_eq!(answer.is_err(), fails);
        let pairs: Vec<_> = metadata.iter().collect();
        assert_eq!(pairs, [("outer", "1"), ("inner", "2")]);
        if let Err(status) = answer {
            assert_eq!(status.metadata(), &metadata);
        }
        let (_, metadata) = capture_metadata(client.down()).await;
        assert!(metadata.is_empty(), "of another call");
    }
}

/// Adds to the response and changes the request.
struct Both;

impl Interceptor for Both {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let context = Context::current();
        context.add_response_metadata("served-by", "a").unwrap();
        call.metadata_mut().insert("tenant", "changed").unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn an_interceptor_adds_to_the_response_and_changes_the_request() {
    let target = format!("mem://{}", unique("both"));
    let server = Server::builder().add_service(LookServer::new(Station(None)));
    let _server = server.interceptor(Both).bind(&target).await.unwrap();
    let client = LookClient::connect(&target).await.unwrap();
    let (seen, metadata) = capture_metadata(client.down()).await;
    assert_eq!(seen.unwrap()[0].tenant.as_deref(), Some("changed"));
    assert_eq!(metadata.get("served-by"), Some("a"));
}
