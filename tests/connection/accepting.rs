//! Accepting connections when the system does not want to.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::transport::{Duplex, Listener};
use rpc::{Peer, async_trait};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{Exchange, network, soon, until};
use crate::{Work, WorkClient, Worker, builder};

/// Fails as often as it was told, then accepts.
struct Failing {
    errors: VecDeque<io::Error>,
    asked: Arc<Mutex<Vec<Instant>>>,
    then: Exchange,
}

#[async_trait]
impl Listener for Failing {
    async fn accept(&mut self) -> io::Result<Duplex> {
        self.asked.lock().unwrap().push(Instant::now());
        match self.errors.pop_front() {
            Some(error) => Err(error),
            None => self.then.accept().await,
        }
    }
    fn target(&self) -> String {
        "test://failing".into()
    }
}

const EMFILE: i32 = 24;

#[tokio::test(start_paused = true)]
async fn s0_4_accept_errors_pause_the_server_and_do_not_end_it() {
    let (wires, then) = network(|_, ends| ends);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kinds = (0..11).map(|index| match index % 2 {
        0 => io::Error::from_raw_os_error(EMFILE),
        _ => io::ErrorKind::ConnectionAborted.into(),
    });
    let listener = Failing {
        errors: kinds.collect(),
        asked: asked.clone(),
        then,
    };
    let _server = builder(&Worker::default()).serve(listener).unwrap();
    let channel = rpc::Channel::builder().with_connector(Arc::new(wires));
    let client = WorkClient::new(channel);
    client.echo(1, vec![]).await.unwrap();

    let asked = asked.lock().unwrap();
    let pauses: Vec<_> = asked
        .windows(2)
        .map(|w| (w[1] - w[0]).as_millis())
        .collect();
    assert_eq!(
        pauses[..11],
        [5, 10, 20, 40, 80, 160, 320, 500, 500, 500, 500]
    );
}

/// Connections that are reset before anybody looked at them keep nobody waiting.
#[tokio::test]
async fn s0_3_visitors_that_vanish_do_not_slow_the_next() {
    let server = builder(&Worker::default())
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.uri().strip_prefix("tcp://").unwrap().to_owned();
    for _ in 0..64 {
        let stream = TcpStream::connect(&address).await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    let begin = Instant::now();
    let client = soon(WorkClient::connect(server.uri())).await.unwrap();
    client.echo(1, vec![]).await.unwrap();
    assert!(
        begin.elapsed() < Duration::from_millis(500),
        "{:?}",
        begin.elapsed()
    );
    until(|| server.connection_count() == 1).await;
}

/// A listener whose author made a mistake.
struct Panicking {
    panics: usize,
    /// In the call, before there is a future.
    early: bool,
    then: Exchange,
}

impl Panicking {
    fn count_down(&mut self) {
        if self.panics > 0 {
            self.panics -= 1;
            panic!("a listener that panics");
        }
    }
}

impl Listener for Panicking {
    fn accept<'l, 'f>(&'l mut self) -> Pin<Box<dyn Future<Output = io::Result<Duplex>> + Send + 'f>>
    where
        'l: 'f,
        Self: 'f,
    {
        if self.early {
            self.count_down();
        }
        Box::pin(async {
            self.count_down();
            self.then.accept().await
        })
    }
    fn target(&self) -> String {
        "test://panicking".into()
    }
}

#[tokio::test(start_paused = true)]
async fn s0_4_a_listener_that_panics_does_not_end_the_server() {
    for early in [false, true] {
        let (wires, then) = network(|_, ends| ends);
        let listener = Panicking {
            panics: 3,
            early,
            then,
        };
        let server = builder(&Worker::default()).serve(listener).unwrap();
        let channel = rpc::Channel::builder().with_connector(Arc::new(wires));
        let client = WorkClient::new(channel);
        soon(client.echo(1, vec![])).await.unwrap();
        soon(server.shutdown()).await;
    }
}

/// A stream that panics when it is dropped.
struct Grenade<T>(T);

impl<T> Drop for Grenade<T> {
    fn drop(&mut self) {
        panic!("a stream that panics");
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Grenade<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

/// Gives the first so many connections a reader that panics when it is dropped.
struct Mined {
    left: usize,
    then: Exchange,
}

#[async_trait]
impl Listener for Mined {
    async fn accept(&mut self) -> io::Result<Duplex> {
        if self.left == 0 {
            return self.then.accept().await;
        }
        let (reader, writer) = tokio::io::split(self.then.next().await);
        self.left -= 1;
        let peer = Peer::from_uri("test://client");
        Ok(Duplex::new(Grenade(reader), writer, peer))
    }
    fn target(&self) -> String {
        "test://mined".into()
    }
}

/// More than are told why, so that some are dropped where they were accepted.
const TURNED_AWAY: usize = 300;

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_when_it_is_turned_away_does_not_end_the_server() {
    let (wires, then) = network(|_, ends| ends);
    let listener = Mined {
        left: TURNED_AWAY,
        then,
    };
    let server = builder(&Worker::default()).connections_max(1);
    let server = server.serve(listener).unwrap();
    let mut streams = Vec::new();
    for _ in 0..TURNED_AWAY {
        streams.push(wires.dial().await);
    }
    until(|| server.load().connections_refused == TURNED_AWAY as u64 - 1).await;
    drop(streams);
    until(|| server.connection_count() == 0).await;
    let channel = rpc::Channel::builder().with_connector(Arc::new(wires));
    let client = WorkClient::new(channel);
    soon(client.echo(1, vec![])).await.unwrap();
}

/// A socket whose owner is busy is not taken from it, and asking does not hold up the runtime.
#[cfg(unix)]
#[tokio::test]
async fn a_socket_with_a_full_queue_is_in_use() {
    let path = crate::common::socket_path();
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let _busy = socket.listen(1).unwrap();
    let mut crowd = Vec::new();
    while let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
        crowd.push(stream);
        assert!(crowd.len() < 10, "the queue is not full");
    }
    let (sender, bound) = std::sync::mpsc::sync_channel(1);
    let runtime = tokio::runtime::Handle::current();
    let asked = path.clone();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        sender.send(rpc::transport::UnixListener::bind(asked).map(drop))
    });
    let refused = bound
        .recv_timeout(Duration::from_secs(10))
        .expect("it blocks");
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    std::fs::remove_file(path).unwrap();
}
