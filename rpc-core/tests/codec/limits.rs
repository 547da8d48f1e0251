//! What hostile bodies may cost: neither the stack nor the memory nor much time.

use std::collections::{BTreeMap, HashMap, HashSet};

use rpc_core::codec::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::samples::*;

const DEPTHS: [usize; 5] = [129, 1_000, 30_000, 100_000, 4 << 20];

/// Runs on the stack of a typical worker thread.
fn on_a_small_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(test).unwrap().join().unwrap();
}

#[track_caller]
fn too_much<T: DeserializeOwned + 'static>(codec: &Codec, body: &[u8]) {
    let error = decoded::<T>(codec, body).map(|_| ()).unwrap_err();
    assert!(error.is_limit() && error.is_decode(), "{error}");
}

fn brackets(depth: usize) -> Vec<u8> {
    [vec![b'['; depth], vec![b']'; depth]].concat()
}

/// `depth` sequences, each the only element of the one before.
fn sequences(depth: usize) -> Vec<u8> {
    [vec![1; depth - 1], vec![0]].concat()
}

#[test]
fn t3_128_levels_are_read_in_every_codec_and_129_are_not() {
    on_a_small_stack(|| {
        decoded::<Nest>(&Codec::Json, &brackets(128)).unwrap();
        decoded::<Nest>(&Codec::Bincode, &sequences(128)).unwrap();
        for depth in DEPTHS {
            too_much::<Nest>(&Codec::Json, &brackets(depth));
            too_much::<Nest>(&Codec::Bincode, &sequences(depth));
        }
    });
}

#[test]
fn t3_an_argument_may_be_as_deep_as_a_reply() {
    let limits = DecodeLimits::default();
    let read = |codec: Codec, body: &[u8]| {
        let names = &["nest"];
        codec
            .decode_arguments::<(Nest,)>(names, body, &limits)
            .map(|_| ())
    };
    let named = |depth| [b"{\"nest\":".to_vec(), brackets(depth), b"}".to_vec()].concat();
    read(Codec::Bincode, &sequences(128)).unwrap();
    assert!(
        read(Codec::Bincode, &sequences(129))
            .unwrap_err()
            .is_limit()
    );
    read(Codec::Json, &named(128)).unwrap();
    let error = read(Codec::Json, &named(129)).unwrap_err();
    assert!(error.is_limit());
    assert!(
        error
            .to_string()
            .contains("argument `nest`: nested deeper than 128 levels"),
        "{error}"
    );
}

#[test]
fn t3_options_boxes_and_enums_are_levels_too() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node(Box<Self>),
        Branch { left: Box<Self> },
    }
    on_a_small_stack(|| {
        for depth in DEPTHS {
            too_much::<Chain>(&Codec::Bincode, &vec![1; depth]);
            too_much::<Tree>(&Codec::Bincode, &vec![1; depth]);
            too_much::<Tree>(&Codec::Bincode, &vec![2; depth]);
            too_much::<Chain>(&Codec::Json, "{\"next\":".repeat(depth).as_bytes());
            too_much::<Tree>(&Codec::Json, "{\"Node\":".repeat(depth).as_bytes());
            let branch = "{\"Branch\":{\"left\":".repeat(depth);
            too_much::<Tree>(&Codec::Json, branch.as_bytes());
        }
        // One level for the struct, one for its `Some`: 64 links, the same verdict in both.
        let mut chain = Chain::default();
        for _ in 0..63 {
            chain = Chain {
                next: Some(Box::new(chain)),
            };
        }
        for codec in codecs() {
            let body = encoded(&codec, &chain);
            assert_eq!(decoded::<Chain>(&codec, &body).unwrap(), chain);
            let longer = Chain {
                next: Some(Box::new(Chain {
                    next: Some(Box::new(chain.clone())),
                })),
            };
            too_much::<Chain>(&codec, &encoded(&codec, &longer));
        }
    });
}

#[test]
fn t3_wide_structs_fit_on_the_stack_too() {
    type Text = Option<String>;
    type Texts = (Text, Text, Text, Text, Text, Text, Text, Text);
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Wide {
        texts: (Texts, Texts, Texts, Texts),
        numbers: [u64; 32],
        next: Option<Box<Self>>,
    }
    on_a_small_stack(|| {
        let mut wide = Wide::default();
        for _ in 0..62 {
            wide = Wide {
                next: Some(Box::new(wide)),
                ..Wide::default()
            };
        }
        for codec in codecs() {
            let body = encoded(&codec, &wide);
            decoded::<Wide>(&codec, &body).unwrap();
        }
    });
}

#[test]
fn t3_a_type_that_recurses_without_reading_is_stopped() {
    /// In JSON, `Some` leaves no trace: nothing but the limit ends this.
    #[derive(Debug, Serialize, Deserialize)]
    struct Endless(Option<Box<Self>>);
    on_a_small_stack(|| too_much::<Endless>(&Codec::Json, b"1"));
}

#[test]
fn t3_what_is_skipped_or_buffered_is_limited_too() {
    #[derive(Debug, Deserialize)]
    struct Known {
        #[serde(rename = "known")]
        _known: u8,
    }
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        #[expect(dead_code)]
        Number(u8),
        #[expect(dead_code)]
        Nest(Nest),
    }
    on_a_small_stack(|| {
        let with = |depth| {
            let skipped = String::from_utf8(brackets(depth)).unwrap();
            format!("{{\"unknown\":{skipped},\"known\":1}}").into_bytes()
        };
        // The struct is the first level.
        decoded::<Known>(&Codec::Json, &with(127)).unwrap();
        decoded::<serde_json::Value>(&Codec::Json, &brackets(128)).unwrap();
        for depth in DEPTHS {
            too_much::<Known>(&Codec::Json, &with(depth - 1));
            too_much::<Known>(&Codec::Json, &[b"{\"u\":".repeat(depth)].concat());
            too_much::<serde_json::Value>(&Codec::Json, &brackets(depth));
            too_much::<Untagged>(&Codec::Json, &brackets(depth));
        }
    });
}

#[test]
fn t2_what_is_skipped_is_not_charged() {
    #[derive(Debug, Deserialize)]
    struct Known {}
    let skipped = format!("{{\"unknown\":[{}0]}}", "0,".repeat(200_000));
    decoded::<Known>(&Codec::Json, skipped.as_bytes()).unwrap();
}

#[test]
fn t2_elements_of_no_size_are_counted() {
    for codec in codecs() {
        let body = encoded(&codec, &vec![(); 65_535]);
        assert_eq!(decoded::<Vec<()>>(&codec, &body).unwrap().len(), 65_535);
        too_much::<Vec<()>>(&codec, &encoded(&codec, &vec![(); 65_536]));
    }
    // Outer sequences do not multiply inner ones.
    let inner = encoded(&Codec::Bincode, &vec![(); 60_000]);
    let outer = [vec![250], inner.repeat(250)].concat();
    too_much::<Vec<Vec<()>>>(&Codec::Bincode, &outer);
}

#[test]
fn t2_length_bombs_fail() {
    fn bomb<T: DeserializeOwned + 'static>() {
        for length in [1 << 20, 1 << 31, u64::MAX >> 2, u64::MAX] {
            for tail in [&[][..], &[0; 64]] {
                let body = [encoded(&Codec::Bincode, &length), tail.to_vec()].concat();
                assert!(decoded::<T>(&Codec::Bincode, &body).is_err());
            }
        }
    }
    bomb::<String>();
    bomb::<Vec<u8>>();
    bomb::<Vec<u64>>();
    bomb::<Vec<()>>();
    bomb::<Vec<[u64; 32]>>();
    bomb::<Vec<String>>();
    bomb::<Vec<Option<[u64; 32]>>>();
    bomb::<HashMap<u64, u64>>();
    bomb::<HashMap<(), ()>>();
    bomb::<BTreeMap<String, ()>>();
    bomb::<HashSet<Option<u8>>>();
    bomb::<Lookup>();
}

#[test]
fn t2_amplifying_elements_are_charged_for_the_memory_they_take() {
    type Large = Option<[u64; 32]>;
    let nones = |count: usize| {
        let length = encoded(&Codec::Bincode, &count);
        [length, vec![0; count]].concat()
    };
    let fits = (32 << 20) / size_of::<Large>();
    decoded::<Vec<Large>>(&Codec::Bincode, &nones(fits - 1)).unwrap();
    too_much::<Vec<Large>>(&Codec::Bincode, &nones(fits + 1));
    too_much::<Vec<String>>(&Codec::Bincode, &nones(4 << 20));
    too_much::<Vec<Vec<u8>>>(&Codec::Bincode, &nones(4 << 20));
    let json = format!("[{}null]", "null,".repeat(fits + 1));
    too_much::<Vec<Large>>(&Codec::Json, json.as_bytes());
    let error = decoded::<Vec<Large>>(&Codec::Bincode, &nones(4 << 20)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the elements take more than 33554432 bytes of memory, at byte"),
        "{error}"
    );
}

#[test]
fn t2_ordinary_large_messages_fit() {
    // 4 MiB, the largest message, of ordinary things.
    let numbers: Vec<u64> = (0..(4 << 20) / 9 * 2).map(|n| n << 20).collect();
    let words: Vec<String> = (0..300_000).map(|n| format!("word {n}")).collect();
    let lookup: HashMap<u64, String> = (0..100_000).map(|n| (n, format!("value {n}"))).collect();
    let any = serde_json::Value::from(vec![1; 400_000]);
    let body = encoded(&Codec::Json, &any);
    assert_eq!(
        decoded::<serde_json::Value>(&Codec::Json, &body).unwrap(),
        any
    );
    for codec in codecs() {
        assert_eq!(
            decoded::<Vec<u64>>(&codec, &encoded(&codec, &numbers)).unwrap(),
            numbers
        );
        assert_eq!(
            decoded::<Vec<String>>(&codec, &encoded(&codec, &words)).unwrap(),
            words
        );
        let body = encoded(&codec, &lookup);
        assert_eq!(
            decoded::<HashMap<u64, String>>(&codec, &body).unwrap(),
            lookup
        );
    }
}

#[test]
fn limits_can_be_set() {
    let narrow = DecodeLimits::default()
        .with_depth_max(2)
        .with_element_bytes_max(200);
    assert!(Codec::Json.decode::<Nest>(b"[[]]", &narrow).is_ok());
    assert!(
        Codec::Json
            .decode::<Nest>(b"[[[]]]", &narrow)
            .unwrap_err()
            .is_limit()
    );
    let numbers = |count| encoded(&Codec::Bincode, &vec![1_u64; count]);
    // 64 for the vector, 8 for each element.
    assert!(
        Codec::Bincode
            .decode::<Vec<u64>>(&numbers(17), &narrow)
            .is_ok()
    );
    let error = Codec::Bincode.decode::<Vec<u64>>(&numbers(18), &narrow);
    assert!(error.unwrap_err().is_limit());
}
