//! Bytes that are no honest frames: lengths that lie, ids that come again.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::raw::{self, Raw};
use crate::stage::Stage;

const LIMIT: u32 = 4 << 20;
/// The aim is 50 ms; a busy machine may take a few times longer.
const ANSWER_MAX: Duration = Duration::from_millis(500);

#[test]
fn t1_a_length_without_a_body_is_refused_at_once_and_costs_nothing() {
    // [frame.oversized] [frame.memory]
    let stage = Stage::new();
    for length in [LIMIT + 1, 64 << 20, (64 << 20) + 1, 1 << 31, u32::MAX] {
        let counted = stage.attack(async {
            let stream = TcpStream::connect(stage.address()).await.unwrap();
            let mut peer = Raw::open(stream).await;
            let start = Instant::now();
            peer.write(&raw::request_header(1, "Target.bytes", length))
                .await;
            if length <= 64 << 20 {
                let refusal = peer.read().await.unwrap();
                let seen = (refusal.kind, refusal.call, refusal.extra);
                assert_eq!(seen, (raw::ERROR, 1, raw::RESOURCE_EXHAUSTED));
            } else {
                peer.assert_closed().await;
            }
            let took = start.elapsed();
            println!("{length:>10}: {took:?}");
            assert!(took <= ANSWER_MAX, "{length}: {took:?}");
        });
        println!("{length:>10}: {} bytes at the most", counted.bytes_max);
        assert!(counted.bytes_max <= 1 << 20, "{length}: {counted:?}");
    }
}

#[test]
fn t1_a_thousand_claims_of_4_mib_are_believed_for_64_kib_each() {
    // [frame.memory]
    let stage = Stage::new();
    let counted = stage.attack(async {
        let mut peers = Vec::new();
        for _ in 0..1000 {
            let mut peer = Raw::open(stage.pipes.connect().await).await;
            peer.write(&raw::request_header(1, "Target.bytes", LIMIT))
                .await;
            peer.write(&[0]).await;
            peers.push(peer);
        }
    });
    println!("{} MiB at the most", counted.bytes_max >> 20);
    assert!(counted.bytes_max <= 100 << 20, "{counted:?}");
}

#[test]
fn t6_an_id_that_does_not_rise_closes_its_connection_only() {
    // [call.id] [conn.error]
    let stage = Stage::new();
    let wait = |call| raw::request(call, "Target.wait", &[]);
    let echo = |call| raw::request(call, "Target.echo", &[7]);
    let cases = [
        ("of a running call", [wait(5), wait(5)].concat()),
        ("of an ended call", [echo(5), echo(5)].concat()),
        ("below an earlier one", [wait(5), echo(4)].concat()),
        ("zero", echo(0)),
        (
            "half the numbers ahead",
            [echo(1), echo(0x8000_0001)].concat(),
        ),
    ];
    for (name, bytes) in cases {
        stage.attack(async {
            let stream = TcpStream::connect(stage.address()).await.unwrap();
            let mut peer = Raw::open(stream).await;
            peer.write(&bytes).await;
            println!("{name}");
            let mut last = None;
            while let Some(frame) = peer.read().await {
                let reply = (frame.kind, &*frame.body) == (raw::RESPONSE, &[7]);
                assert!(reply || frame.kind == raw::GO_AWAY, "{name}: {frame:?}");
                last = Some(frame.kind);
            }
            assert_eq!(last, Some(raw::GO_AWAY), "{name}");
        });
    }
    // The handlers that waited are gone with their connections.
    let wait = stage.server.method_stats("Target.wait").unwrap();
    assert_eq!((wait.calls, wait.in_flight), (2, 0));
}

#[test]
fn t1_a_connection_that_goes_on_after_a_refusal_still_works() {
    // [frame.oversized]: the body comes after all, and is skipped.
    let stage = Stage::new();
    let counted = stage.attack(async {
        let mut peer = Raw::open(stage.pipes.connect().await).await;
        let length = LIMIT + 1;
        peer.write(&raw::request_header(1, "Target.bytes", length))
            .await;
        let refusal = peer.read().await.unwrap();
        assert_eq!(refusal.extra, raw::RESOURCE_EXHAUSTED);
        let mut rest = length as usize;
        while rest > 0 {
            let part = rest.min(16 * 1024);
            peer.stream
                .write_all(&[0; 16 * 1024][..part])
                .await
                .unwrap();
            rest -= part;
        }
        peer.write(&raw::request(2, "Target.echo", &[7])).await;
        let reply = peer.read().await.unwrap();
        assert_eq!((reply.kind, reply.call), (raw::RESPONSE, 2), "{reply:?}");
    });
    assert!(counted.bytes_max <= 1 << 20, "{counted:?}");
}
