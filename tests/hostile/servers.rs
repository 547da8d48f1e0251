//! T17: servers that do not mean well by their clients.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rpc::{CallOptions, Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use crate::common::raw;
use crate::{GO_AWAY, PING, PONG, RESPONSE, UNKNOWN, Work, ack, alone, header};

type Script = fn(DuplexStream, Vec<u8>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

fn go_away() -> Vec<u8> {
    [header(GO_AWAY, 0, 8), vec![0; 8]].concat()
}

/// Writes the same again and again, at most as much as the client takes in a second. Not quite
/// without end, or the stopped clock would never move.
async fn endless(stream: &mut DuplexStream, bytes: Vec<u8>) {
    let many = bytes.repeat(1000);
    let write = async {
        for _ in 0..200 {
            if stream.write_all(&many).await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}

/// Waits until the client hangs up.
async fn hold(stream: &mut DuplexStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

const SCRIPTS: [(&str, Script); 13] = [
    ("hangs up", |_, _| Box::pin(async {})),
    ("says nothing", |mut stream, _| {
        Box::pin(async move { hold(&mut stream).await })
    }),
    ("garbage", |mut stream, _| {
        Box::pin(async move { endless(&mut stream, vec![0xa5; 100]).await })
    }),
    ("an ack without end", |mut stream, mut ack| {
        Box::pin(async move {
            ack[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, vec![0; 100]).await;
        })
    }),
    ("accepts and hangs up", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
        })
    }),
    ("garbage after the ack", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, vec![0xa5; 100]).await;
        })
    }),
    ("unknown frames without end", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, header(UNKNOWN, 0, 0)).await;
        })
    }),
    ("answers to nobody", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, header(RESPONSE, 0x7000_0001, 0)).await;
        })
    }),
    ("pongs without end", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, [header(PONG, 0, 8), vec![0; 8]].concat()).await;
        })
    }),
    ("go-away at once", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&[ack, go_away()].concat()).await;
            hold(&mut stream).await;
        })
    }),
    ("go-away without end", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, go_away()).await;
        })
    }),
    ("an answer of 4 GiB", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            let _ = stream.write_all(&header(RESPONSE, 16, u32::MAX)).await;
            endless(&mut stream, vec![0; 100]).await;
        })
    }),
    ("frames of a client", |mut stream, ack| {
        Box::pin(async move {
            let _ = stream.write_all(&ack).await;
            endless(&mut stream, raw::request(1, 0, 7, 0)).await;
        })
    }),
];

/// Each call ends in time with an error, and the client does not hammer a server like this.
#[tokio::test(start_paused = true)]
async fn t17_no_server_keeps_a_call_beyond_its_deadline_or_a_client_connecting() {
    let ack = ack().await;
    for (name, script) in SCRIPTS {
        let (client, wires, mut exchange) = alone();
        let served = ack.clone();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let server = tokio::spawn(async move {
            // More would be hammering; the test says so below.
            while counted.load(SeqCst) < 500 {
                let stream = exchange.next().await;
                counted.fetch_add(1, SeqCst);
                tokio::spawn(script(stream, served.clone()));
            }
        });
        const TIMEOUT: Duration = Duration::from_secs(2);
        let begin = Instant::now();
        let status = client.with_timeout(TIMEOUT).echo(1).await.unwrap_err();
        assert!(
            begin.elapsed() <= TIMEOUT + Duration::from_millis(5),
            "{name}"
        );
        let expected = [Code::Unavailable, Code::DeadlineExceeded];
        assert!(expected.contains(&status.code()), "{name}: {status}");

        tries.store(0, SeqCst);
        let patient = CallOptions::new()
            .with_wait_for_ready(true)
            .with_timeout(Duration::from_millis(3500));
        let patient = client.with_options(patient);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(30) {
            let call = Instant::now();
            let status = patient.echo(2).await.unwrap_err();
            assert!(
                call.elapsed() <= Duration::from_millis(3505),
                "{name}: {status}"
            );
            // A caller that is told at once does not ask again at once.
            sleep(Duration::from_millis(100)).await;
        }
        let count = tries.load(SeqCst);
        println!("{name}: {count} connections in 30 s");
        assert!(count <= 40, "{name}: {count} connections");
        server.abort();
        drop(wires);
    }
}

/// Pings that want answers that nobody reads.
#[tokio::test(start_paused = true)]
async fn t11_answers_to_pings_do_not_pile_up_for_a_server_that_does_not_read() {
    let ack = ack().await;
    let (client, _, mut exchange) = alone();
    let call = tokio::spawn(async move { client.wait().await });
    let mut stream = exchange.next().await;
    stream.write_all(&ack).await.unwrap();
    let pings = [header(PING, 0, 8), vec![0; 8]].concat().repeat(1000);
    for _ in 0..1000 {
        let write = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&pings));
        if !matches!(write.await, Ok(Ok(()))) {
            break;
        }
    }
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest));
    let _ = read.await;
    println!("{} bytes were waiting", rest.len());
    // The pipe holds 64 KiB of them.
    assert!(rest.len() <= 2 * 64 * 1024, "{}", rest.len());
    call.abort();
}
