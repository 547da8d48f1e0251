//! Streams that keep what is written until they are flushed, as TLS does when its socket is full.

use std::sync::Arc;

use futures_util::future::join_all;
use rpc::Channel;
use tokio::io::BufWriter;

use crate::common::{network, soon};
use crate::{Work, WorkClient, Worker, builder};

#[tokio::test(start_paused = true)]
async fn what_is_written_to_a_stream_that_buffers_arrives() {
    let (wires, exchange) = network(|_, (reader, writer)| {
        let buffered = BufWriter::with_capacity(1 << 20, writer);
        (reader, Box::new(buffered))
    });
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let client = WorkClient::new(Channel::builder().with_connector(Arc::new(wires)));
    // More than the pipe below holds: flushing has to wait for the server.
    for length in [0, 1000, 300_000] {
        let calls = (0..4).map(|nonce| client.echo(nonce, vec![7; length]));
        for answer in soon(join_all(calls)).await {
            assert_eq!(answer.unwrap().1.len(), length);
        }
    }
}
