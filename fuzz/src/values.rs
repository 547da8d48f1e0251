//! Both codecs, on types that are hard to read safely.

use std::collections::{BTreeMap, HashMap};

use rpc_core::codec::{Codec, DecodeLimits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    name: String,
    left: Option<Box<Self>>,
    children: Vec<Self>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Number(i64),
    Line(i32, u128),
    Named { label: String, parts: Vec<Self> },
    Bytes(Vec<u8>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i32),
    Text(String),
    Row(Vec<Self>),
}

/// The first byte chooses the type.
pub fn bincode(data: &[u8]) {
    any(&Codec::Bincode, data);
}

/// The first byte chooses the type.
pub fn json(data: &[u8]) {
    any(&Codec::Json, data);
}

fn any(codec: &Codec, data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    match choice % 16 {
        0 => there_and_back::<Tree>(codec, body),
        1 => there_and_back::<Vec<()>>(codec, body),
        2 => there_and_back::<Vec<Unit>>(codec, body),
        3 => there_and_back::<BTreeMap<String, Shape>>(codec, body),
        4 => there_and_back::<HashMap<u64, Vec<String>>>(codec, body),
        5 => there_and_back::<String>(codec, body),
        6 => there_and_back::<Shape>(codec, body),
        7 => there_and_back::<Vec<Option<Vec<u8>>>>(codec, body),
        8 => there_and_back::<(u8, i16, u32, i64, u128, bool, char)>(codec, body),
        9 => there_and_back::<Vec<[u64; 4]>>(codec, body),
        10 => there_and_back::<Option<Option<Box<Shape>>>>(codec, body),
        11 => there_and_back::<BTreeMap<i8, ()>>(codec, body),
        12 if matches!(codec, Codec::Json) => there_and_back::<Untagged>(codec, body),
        13 => floats(codec, body),
        14 => arguments(codec, body),
        _ => there_and_back::<Vec<u8>>(codec, body),
    }
}

fn limits() -> DecodeLimits {
    DecodeLimits::default()
        .with_depth_max(64)
        .with_element_bytes_max(4 << 20)
}

/// What can be read can be written, and is read again as the same.
fn there_and_back<T>(codec: &Codec, body: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
{
    let Ok(value) = codec.decode::<T>(body, &limits()) else {
        return;
    };
    let mut out = Vec::new();
    codec
        .encode(&value, &mut out)
        .expect("what was read can be written");
    let again = codec.decode::<T>(&out, &limits());
    assert_eq!(again.as_ref().ok(), Some(&value), "{again:?}");
    let mut once_more = Vec::new();
    codec.encode(&value, &mut once_more).expect("as before");
    assert_eq!(out, once_more);
}

/// Floats are compared by their bits; JSON has no infinity and no NaN.
fn floats(codec: &Codec, body: &[u8]) {
    let Ok(values) = codec.decode::<Vec<f64>>(body, &limits()) else {
        return;
    };
    let mut out = Vec::new();
    if codec.encode(&values, &mut out).is_err() {
        assert!(values.iter().any(|value| !value.is_finite()));
        return;
    }
    let Ok(again) = codec.decode::<Vec<f64>>(&out, &limits()) else {
        assert!(values.iter().any(|value| !value.is_finite()));
        return;
    };
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again), bits(&values));
}

fn arguments(codec: &Codec, body: &[u8]) {
    let names = &["who", "shapes", "times"];
    let read = codec.decode_arguments::<(String, Vec<Shape>, u32)>(names, body, &limits());
    drop(read);
    drop(codec.decode_arguments::<()>(&[], body, &limits()));
}
