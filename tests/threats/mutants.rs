//! A recorded conversation, damaged, against a server at work.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rpc::transport::{Connector, Duplex, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::stage::{Pipes, Stage, Target as _, TargetClient};

const MUTANTS: usize = 2_000;

/// Keeps what is written.
struct Recorder<W> {
    inner: W,
    tape: Arc<Mutex<Vec<u8>>>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Recorder<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.tape.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Connects through a pipe and records what the client writes.
#[derive(Debug)]
struct Recording {
    pipes: Pipes,
    tape: Arc<Mutex<Vec<u8>>>,
}

#[rpc::async_trait]
impl Connector for Recording {
    async fn connect(&self) -> io::Result<Duplex> {
        let (reader, inner) = tokio::io::split(self.pipes.connect().await);
        let tape = self.tape.clone();
        let writer = Recorder { inner, tape };
        Ok(Duplex::new(reader, writer, Peer::from_uri("pipe://")))
    }

    fn target(&self) -> String {
        "pipe://".to_owned()
    }
}

/// What a client writes in a conversation with calls of every kind.
async fn record(pipes: &Pipes) -> Vec<u8> {
    let tape = Arc::<Mutex<Vec<u8>>>::default();
    let connector = Recording {
        pipes: pipes.clone(),
        tape: tape.clone(),
    };
    let channel = rpc::Channel::builder().with_connector(Arc::new(connector));
    let client = TargetClient::new(channel.clone());
    client.echo(1).await.unwrap();
    let tagged = client.with_metadata("tenant", "a").unwrap();
    tagged.text("tagged".to_owned()).await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    client.with_timeout(hour).number(-1_000_000).await.unwrap();
    client.texts(vec!["a".to_owned(); 20]).await.unwrap();
    client.bytes(vec![7; 2_000]).await.unwrap();
    client.note("oneway".to_owned()).await.unwrap();
    channel
        .call_raw("Target.unknown", [1, 2])
        .await
        .unwrap_err();
    channel.call_raw("Target.truth", [2]).await.unwrap_err();
    tokio::select! {
        biased;
        _ = client.wait() => unreachable!("it waits for ever"),
        _ = client.echo(2) => {}
    }
    client.echo(3).await.unwrap();
    let tape = tape.lock().unwrap().clone();
    assert!(tape.len() > 2_000);
    tape
}

/// Numbers that look random and are the same each time: xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Integers on which arithmetic may trip.
const TRIPS: [u32; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    4 << 20,
    (4 << 20) + 1,
    (64 << 20) + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

fn mutant(whole: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    // Most spare the hello, or few would come past it.
    let spared = if numbers.below(10) == 0 { 0 } else { 24 };
    for _ in 0..1 + numbers.below(3) {
        let at = spared + numbers.below(bytes.len() - spared);
        let end = (at + 1 + numbers.below(40)).min(bytes.len());
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.below(256) as u8,
            2 => {
                let trip = TRIPS[numbers.below(TRIPS.len())].to_le_bytes();
                let width = [1, 2, 4][numbers.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&trip[..width]);
            }
            3 => bytes.truncate(at.max(spared + 1)),
            4 => drop(bytes.drain(at..end)),
            _ => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
        if bytes.len() <= spared + 1 {
            break;
        }
    }
    bytes
}

#[test]
fn t16_mutants_of_a_conversation_harm_nobody() {
    // [conn.error] [frame.chunks]
    let stage = Stage::new();
    let counted = stage.attack(async {
        let whole = record(&stage.pipes).await;
        let mut numbers = Numbers(16);
        let mut answers = 0;
        for _ in 0..MUTANTS {
            let mut bytes = mutant(&whole, &mut numbers);
            if numbers.below(2) == 0 {
                bytes.truncate(1 + numbers.below(bytes.len()));
            }
            let stream = stage.pipes.connect().await;
            let (mut reader, mut writer) = tokio::io::split(stream);
            let write = async {
                for piece in bytes.chunks(1 + numbers.below(bytes.len())) {
                    // The server may have closed by now.
                    if writer.write_all(piece).await.is_err() {
                        break;
                    }
                }
                let _ = writer.shutdown().await;
            };
            let mut answer = Vec::new();
            let (_, read) = tokio::join!(write, reader.read_to_end(&mut answer));
            read.unwrap();
            answers += usize::from(answer.len() > 100);
        }
        println!("{answers} of {MUTANTS} mutants were answered");
        assert!((MUTANTS / 4..MUTANTS).contains(&answers), "{answers}");
    });
    println!("{} bytes left", counted.bytes_current);
    assert!(counted.bytes_current <= 1 << 20, "{counted:?}");
}
