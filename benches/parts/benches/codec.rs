//! Values to bytes and back, in both codecs: two integers as arguments, and the structured message.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parts::criterion;
use parts::record::Record;
use rpc_core::codec::{Codec, DecodeLimits};

const NAMES: &[&str] = &["a", "b"];

fn arguments(criterion: &mut Criterion) {
    let limits = DecodeLimits::default();
    for codec in [Codec::Bincode, Codec::Json] {
        let mut group = criterion.benchmark_group(codec.name().to_owned());
        let (a, b) = (41_i64, 1_i64);
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        let encoded = codec.encode_arguments(NAMES, &(&a, &b), &mut bytes);
        encoded.expect("they have a form");
        group.bench_function("encode arguments", |bencher| {
            bencher.iter(|| {
                out.clear();
                let arguments = (black_box(&a), black_box(&b));
                codec.encode_arguments(NAMES, &arguments, &mut out)
            });
        });
        group.bench_function("decode arguments", |bencher| {
            bencher.iter(|| {
                let arguments = codec.decode_arguments(NAMES, black_box(&bytes), &limits);
                let (first, second): (i64, i64) = arguments.expect("they were encoded");
                assert_eq!((first, second), (a, b));
            });
        });
        group.finish();
    }
}

fn record(criterion: &mut Criterion) {
    let (record, limits) = (Record::sample(), DecodeLimits::default());
    for codec in [Codec::Bincode, Codec::Json] {
        let mut group = criterion.benchmark_group(codec.name().to_owned());
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        codec.encode(&record, &mut bytes).expect("it has a form");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("encode record", |bencher| {
            bencher.iter(|| {
                out.clear();
                codec.encode(black_box(&record), &mut out)
            });
        });
        group.bench_function("decode record", |bencher| {
            bencher.iter(|| codec.decode::<Record>(black_box(&bytes), &limits));
        });
        group.finish();
    }
}

criterion_group!(name = group; config = criterion(); targets = arguments, record);
criterion_main!(group);
