//! Types as users write them, and random values of them.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use rpc_core::codec::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) fn codecs() -> [Codec; 2] {
    [Codec::Bincode, Codec::Json]
}

pub(crate) fn encoded<T: Serialize + 'static>(codec: &Codec, value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    codec.encode(value, &mut body).unwrap();
    body
}

pub(crate) fn decoded<T: DeserializeOwned + 'static>(
    codec: &Codec,
    body: &[u8],
) -> Result<T, CodecError> {
    codec.decode(body, &DecodeLimits::default())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    id: u64,
    name: String,
    emails: Vec<String>,
    boss: Option<Box<Self>>,
    scores: BTreeMap<String, i32>,
    seen: (i16, char),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Nothing,
    Circle(f64),
    Line(i32, i32),
    Named { label: String, parts: Vec<Self> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wrapped(pub(crate) u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Everything {
    integers: (u8, i8, u16, i16, u32, i32, u64, i64, u128, i128),
    floats: (f32, f64),
    flag: bool,
    unit: (),
    unit_struct: Unit,
    wrapped: Wrapped,
    char: char,
    text: String,
    bytes: Vec<u8>,
    array: [u16; 3],
    maybe: Option<Option<u8>>,
    users: Vec<User>,
    shapes: Vec<Shape>,
    result: Result<u32, String>,
    lookup: BTreeMap<u32, Vec<bool>>,
}

pub(crate) fn user() -> impl Strategy<Value = User> {
    let leaf = (
        any::<u64>(),
        ".{0,8}",
        prop::collection::vec(".{0,4}", 0..3),
        prop::collection::btree_map("[a-z]{1,3}", any::<i32>(), 0..3),
        any::<(i16, char)>(),
    )
        .prop_map(|(id, name, emails, scores, seen)| User {
            id,
            name,
            emails,
            boss: None,
            scores,
            seen,
        });
    leaf.clone().prop_recursive(4, 8, 1, move |inner| {
        (leaf.clone(), inner).prop_map(|(user, boss)| User {
            boss: Some(Box::new(boss)),
            ..user
        })
    })
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        prop::num::f64::NORMAL.prop_map(Shape::Circle),
        any::<(i32, i32)>().prop_map(|(from, to)| Shape::Line(from, to)),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        (".{0,4}", prop::collection::vec(inner, 0..4))
            .prop_map(|(label, parts)| Shape::Named { label, parts })
    })
}

pub(crate) fn everything() -> impl Strategy<Value = Everything> {
    let numbers = any::<(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128)>();
    let plain = (
        numbers,
        (prop::num::f32::NORMAL, prop::num::f64::NORMAL),
        any::<(bool, char, u32, [u16; 3])>(),
        (".{0,300}", prop::collection::vec(any::<u8>(), 0..300)),
        // `Some(None)` is `null` in JSON, as `None` is.
        any::<Option<u8>>().prop_map(|maybe| maybe.map(Some)),
    );
    let nested = (
        prop::collection::vec(user(), 0..3),
        prop::collection::vec(shape(), 0..3),
        any::<Result<u32, String>>(),
        prop::collection::btree_map(
            any::<u32>(),
            prop::collection::vec(any::<bool>(), 0..3),
            0..3,
        ),
    );
    (plain, nested).prop_map(|(plain, (users, shapes, result, lookup))| {
        let (integers, floats, (flag, char, wrapped, array), (text, bytes), maybe) = plain;
        Everything {
            integers,
            floats,
            flag,
            unit: (),
            unit_struct: Unit,
            wrapped: Wrapped(wrapped),
            char,
            text,
            bytes,
            array,
            maybe,
            users,
            shapes,
            result,
            lookup,
        }
    })
}

/// One fixed value, the same in every run.
pub(crate) fn example() -> Everything {
    let boss = User {
        id: u64::MAX,
        name: "Zoë".to_owned(),
        emails: vec![],
        boss: None,
        scores: BTreeMap::new(),
        seen: (-1, 'ß'),
    };
    let user = User {
        id: 7,
        name: "Ann".to_owned(),
        emails: vec!["ann@example.org".to_owned(), String::new()],
        boss: Some(Box::new(boss)),
        scores: BTreeMap::from([("chess".to_owned(), -40), ("go".to_owned(), 70_000)]),
        seen: (300, '🦀'),
    };
    Everything {
        integers: (
            255,
            -128,
            250,
            -126,
            251,
            i32::MIN,
            1 << 40,
            i64::MIN,
            u128::MAX,
            i128::MIN,
        ),
        floats: (1.5, -0.1),
        flag: true,
        unit: (),
        unit_struct: Unit,
        wrapped: Wrapped(65_536),
        char: 'x',
        text: "a text of more than 250 bytes ".repeat(10),
        bytes: (0..=255).collect(),
        array: [1, 251, u16::MAX],
        maybe: Some(Some(3)),
        users: vec![user],
        shapes: vec![
            Shape::Nothing,
            Shape::Circle(0.5),
            Shape::Named {
                label: "group".to_owned(),
                parts: vec![Shape::Line(1, -1)],
            },
        ],
        result: Err("no".to_owned()),
        lookup: BTreeMap::from([(1, vec![true]), (300, vec![])]),
    }
}

/// A list as a chain of boxes: each link is one level of `Option` and one of the struct.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) next: Option<Box<Self>>,
}

/// Sequences in sequences, nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Nest {
    pub(crate) inner: Vec<Self>,
}

pub(crate) type Lookup = HashMap<String, Vec<u64>>;
