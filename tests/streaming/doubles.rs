//! Streams where no server is: test doubles, recorders, and codecs that are chosen.

use std::sync::Arc;

use futures_util::stream;
use rpc::{Codec, InProcess, Invoke, Request, Response, Status, Streaming, async_trait};

use super::contract::{Flowing, Flows as _, FlowsClient, builder, collect};
use crate::common::{Count, soon};

/// Passes calls on and counts those that have streams.
#[derive(Clone, Debug)]
struct Recorder {
    inner: Arc<InProcess>,
    uploads: Count,
    replies: Count,
}

#[async_trait]
impl Invoke for Recorder {
    async fn invoke(&self, request: Request) -> Result<Response, Status> {
        if request.items.is_some() {
            self.uploads.add();
        }
        let response = self.inner.invoke(request).await?;
        if response.items.is_some() {
            self.replies.add();
        }
        Ok(response)
    }
}

#[tokio::test]
async fn a_double_passes_streams_on() {
    let recorder = Recorder {
        inner: Arc::new(builder(&Flowing::default()).in_process().unwrap()),
        uploads: Count::default(),
        replies: Count::default(),
    };
    let client = FlowsClient::new(rpc::Channel::from_invoke(recorder.clone()));
    let numbers = || Streaming::new(stream::iter(0..100));
    assert_eq!(soon(client.sum(numbers())).await.unwrap(), 4950);
    let counted = client.count(100).await.unwrap();
    assert_eq!(soon(collect(counted)).await.0.len(), 100);
    let doubled = client.double(numbers()).await.unwrap();
    assert_eq!(soon(collect(doubled)).await.0[99], 198);
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    assert_eq!((recorder.uploads.get(), recorder.replies.get()), (2, 2));
}

/// A double that does not know of streams drops the items of a call, and answers without any.
#[derive(Debug)]
struct Deaf;

#[async_trait]
impl Invoke for Deaf {
    async fn invoke(&self, _: Request) -> Result<Response, Status> {
        Ok(Response::default())
    }
}

#[tokio::test]
async fn a_double_without_streams_hangs_nobody() {
    let client = FlowsClient::new(rpc::Channel::from_invoke(Deaf));
    let (sender, numbers) = Streaming::channel(1);
    let status = soon(client.double(numbers)).await.unwrap_err();
    assert_eq!(status.code(), rpc::Code::Internal, "{status}");
    soon(sender.closed()).await;
}

#[tokio::test]
async fn items_travel_in_the_codec_of_the_connection() {
    let flowing = Flowing::default();
    let server = builder(&flowing).bind("tcp://127.0.0.1:0").await.unwrap();
    let channel = rpc::Channel::builder().codec(Codec::Json);
    let client = FlowsClient::new(channel.connect(server.uri()).await.unwrap());
    let doubled = client.double(Streaming::new(stream::iter(0..10_000))).await;
    let (items, status) = soon(collect(doubled.unwrap())).await;
    assert!(status.is_none(), "{status:?}");
    assert!(items.into_iter().eq((0..10_000).map(|number| number * 2)));
    let (_, parts) = client.labelled("a".into(), 5).await.unwrap();
    assert_eq!(soon(collect(parts)).await.0, [0, 1, 2, 3, 4]);
}

/// Functions are methods too.
#[tokio::test]
async fn a_function_takes_and_gives_streams() {
    let builder = rpc::Server::builder()
        .add_function("Plain.echo", |(numbers,): (Streaming<u64>,)| async move {
            Ok::<_, Status>(numbers)
        });
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let channel = rpc::Channel::connect(server.uri()).await.unwrap();
    let numbers = Streaming::new(stream::iter(0..100_u64));
    let echoed: Streaming<u64> = channel.call("Plain.echo", &(&numbers,)).await.unwrap();
    assert!(soon(collect(echoed)).await.0.into_iter().eq(0..100));
}
