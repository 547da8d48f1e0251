//! How long bodies take: `cargo bench -p rpc-core --bench codec`.
//!
//! Fails if a byte string of 64 KiB is not ten times faster than the same bytes one by one. Each
//! figure is the best of many rounds: the machine can only add to it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rpc_core::codec::{Argument, AsBytes, Codec, DecodeLimits};
use serde::{Deserialize, Serialize};

const BLOB_BYTES: usize = 64 << 10;
const RATIO_MIN: f64 = 10.0;

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct ElementWise(Vec<u8>);

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    age: u16,
    active: bool,
    scores: Vec<i32>,
    boss: Option<Box<Self>>,
}

fn main() {
    blob();
    for codec in [Codec::Bincode, Codec::Json] {
        users(&codec);
    }
    users_by_the_crate();
}

/// An argument and a reply of 64 KiB, in bincode.
fn blob() {
    let (codec, limits) = (Codec::Bincode, DecodeLimits::default());
    let bytes: Vec<u8> = (0..BLOB_BYTES).map(|index| (index % 256) as u8).collect();
    let names = &["blob"];
    let whole = (Argument(&bytes).wire(),);
    let single = (ElementWise(bytes.clone()),);

    let mut out = Vec::with_capacity(2 * BLOB_BYTES);
    let argument = best(|| {
        out.clear();
        codec.encode_arguments(names, black_box(&whole), &mut out)
    });
    let element_wise = best(|| {
        out.clear();
        codec.encode_arguments(names, black_box(&single), &mut out)
    });
    compare("64 KiB argument, encode", argument, element_wise);
    let argument = best(|| codec.decode_arguments::<(Vec<u8>,)>(names, black_box(&out), &limits));
    let element_wise =
        best(|| codec.decode_arguments::<(ElementWise,)>(names, black_box(&out), &limits));
    compare("64 KiB argument, decode", argument, element_wise);

    let reply = best(|| {
        out.clear();
        codec.encode(black_box(&bytes), &mut out)
    });
    let element_wise = best(|| {
        out.clear();
        codec.encode(black_box(&single.0), &mut out)
    });
    compare("64 KiB reply, encode", reply, element_wise);
    let reply = best(|| codec.decode::<Vec<u8>>(black_box(&out), &limits));
    let element_wise = best(|| codec.decode::<ElementWise>(black_box(&out), &limits));
    compare("64 KiB reply, decode", reply, element_wise);
}

fn compare(what: &str, whole: Duration, element_wise: Duration) {
    let ratio = element_wise.as_secs_f64() / whole.as_secs_f64();
    println!("{what:<26} {whole:>9.1?}, one by one {element_wise:>9.1?}: {ratio:.0} times faster");
    if cfg!(debug_assertions) {
        println!("(not optimized: the ratio is not checked)");
    } else {
        assert!(ratio >= RATIO_MIN, "{what}: only {ratio:.1} times faster");
    }
}

fn some_users() -> Vec<User> {
    let user = |id: u64| User {
        id: id << 20,
        name: format!("user number {id}"),
        age: 30,
        active: true,
        scores: (0..8).map(|score| score * 1000).collect(),
        boss: None,
    };
    let with_boss = |id| User {
        boss: Some(Box::new(user(id + 1))),
        ..user(id)
    };
    (0..100).map(with_boss).collect()
}

/// A hundred structs, as services send them.
fn users(codec: &Codec) {
    let (users, limits) = (some_users(), DecodeLimits::default());
    let mut out = Vec::new();
    let encode = best(|| {
        out.clear();
        codec.encode(black_box(&users), &mut out)
    });
    let decode = best(|| codec.decode::<Vec<User>>(black_box(&out), &limits));
    report(codec.name(), out.len(), encode, decode);
}

/// The same through the bincode crate, without our limits.
fn users_by_the_crate() {
    let (users, config) = (some_users(), bincode::config::standard());
    let mut out = vec![0; 1 << 16];
    let mut length = 0;
    let encode = best(|| {
        length = bincode::serde::encode_into_slice(black_box(&users), &mut out, config)?;
        Ok::<_, bincode::error::EncodeError>(())
    });
    out.truncate(length);
    let decode =
        best(|| bincode::serde::borrow_decode_from_slice::<Vec<User>, _>(black_box(&out), config));
    report("the crate", length, encode, decode);
}

fn report(name: &str, length: usize, encode: Duration, decode: Duration) {
    println!(
        "200 users, {name:<9} {length:>6} bytes: encode {encode:>8.1?}, decode {decode:>8.1?}"
    );
}

/// The shortest of 300 rounds.
#[expect(clippy::disallowed_methods, reason = "the time is what is measured")]
fn best<T, E: std::fmt::Debug>(mut work: impl FnMut() -> Result<T, E>) -> Duration {
    let mut round = || {
        let start = Instant::now();
        let result = black_box(work());
        let took = start.elapsed();
        drop(result.expect("the benchmark encodes what it decodes"));
        took
    };
    (0..300).map(|_| round()).min().unwrap_or_default()
}
