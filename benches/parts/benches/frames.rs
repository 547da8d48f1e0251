//! Bytes to frames and back.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parts::{BATCH, SMALL, criterion};
use rpc_core::connection::{ClientConfig, ClientConnection, RequestHead};
use rpc_core::wire::{Decoder, Frame, Header, Kind};
use rpc_core::{CodecId, MESSAGE_BYTES_MAX, MethodId};

/// Responses, one behind the other.
fn frames(count: usize, body_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for call in 1..=count {
        let mut header = Header::new(Kind::Response, call as u32);
        header.length = body_bytes as u32;
        bytes.extend_from_slice(&header.to_bytes());
        bytes.resize(bytes.len() + body_bytes, 7);
    }
    bytes
}

/// Tells how many frames ended in these bytes.
fn decode(decoder: &mut Decoder, mut bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(frame) = decoder.next(&mut bytes).expect("it is legal") {
        whole += usize::from(matches!(black_box(frame), Frame::Whole(..)));
    }
    whole
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX as usize);
    let small = frames(BATCH, SMALL);
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("decode 64 of one read", |bencher| {
        bencher.iter(|| assert_eq!(decode(&mut decoder, black_box(&small)), BATCH));
    });
    group.throughput(Throughput::Elements(1));
    let one = frames(1, SMALL);
    let (begin, end) = one.split_at(one.len() / 2);
    group.bench_function("decode one of two reads", |bencher| {
        bencher.iter(|| {
            assert_eq!(decode(&mut decoder, black_box(begin)), 0);
            assert_eq!(decode(&mut decoder, black_box(end)), 1);
        });
    });
    let large = frames(1, 64 << 10);
    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("decode 64 KiB of many reads", |bencher| {
        bencher.iter(|| {
            let reads = black_box(&large).chunks(16 << 10);
            let whole: usize = reads.map(|read| decode(&mut decoder, read)).sum();
            assert_eq!(whole, 1);
        });
    });
    group.finish();
}

/// Of oneway requests, as these are frames and nothing else: no call is kept.
fn encoding(criterion: &mut Criterion) {
    let config = ClientConfig::new(CodecId::BINCODE.number());
    let mut client: ClientConnection<()> = ClientConnection::new(config, Instant::now());
    let body = [7; SMALL];
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("encode 64", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                let head = RequestHead::new(MethodId::from_number(7));
                let started = client.start_oneway(head, |out| {
                    out.extend_from_slice(black_box(&body));
                    Ok(())
                });
                started.expect("the client takes calls");
            }
            let written = client.outgoing().chunk().len();
            client.outgoing().advance(written);
        });
    });
    group.finish();
}

criterion_group!(name = group; config = criterion(); targets = decoding, encoding);
criterion_main!(group);
