//! Bodies that nobody should write: each has one verdict, and none ends in a panic.

use std::collections::{BTreeMap, HashMap};

use rpc_core::codec::*;
use serde::de::DeserializeOwned;

use crate::samples::*;

/// `""`: the body is read. Anything else: it is refused, and the error says so.
type Verdict = &'static str;

/// As a reply, as an argument, and as an element of either.
fn check<T: DeserializeOwned + 'static>(codec: &Codec, body: &[u8], verdict: Verdict) {
    let limits = DecodeLimits::default();
    let wrap = |before: &str, after: &str| [before.as_bytes(), body, after.as_bytes()].concat();
    let (argument, element) = match codec {
        Codec::Json => (wrap("{\"a\":", "}"), wrap("[", "]")),
        _ => (body.to_vec(), wrap("\x01", "")),
    };
    let verdicts = [
        decoded::<T>(codec, body).err(),
        codec
            .decode_arguments::<(T,)>(&["a"], &argument, &limits)
            .err(),
        decoded::<Vec<T>>(codec, &element).err(),
    ];
    for error in verdicts {
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.is_empty(), verdict.is_empty(), "{body:?}: {error}");
        assert!(error.contains(verdict), "{body:?}: {error}");
    }
}

#[test]
fn t13_bincode_is_strict() {
    fn row<T: DeserializeOwned + 'static>(body: &[u8], verdict: Verdict) {
        check::<T>(&Codec::Bincode, body, verdict);
    }
    const EARLY: Verdict = "the input ends early";
    const LEFT: Verdict = "bytes are left over";
    const WIDE: Verdict = "an integer takes more bytes than it needs";
    const UTF8: Verdict = "a string is not UTF-8";
    const CHAR: Verdict = "not a char in UTF-8";

    row::<bool>(b"\x01", "");
    row::<bool>(b"\x02", "a bool is neither 0 nor 1");
    row::<bool>(b"\xff", "a bool is neither 0 nor 1");
    row::<bool>(b"\x01\x00", LEFT);
    row::<bool>(b"", EARLY);
    row::<()>(b"", "");
    row::<()>(b"\x00", LEFT);

    row::<u32>(b"\xfa", "");
    row::<u32>(b"\xfb\xfb\x00", "");
    row::<u32>(b"\xfb\xfa\x00", WIDE);
    row::<u32>(b"\xfb\x05\x00", WIDE);
    row::<u32>(b"\xfc\x00\x00\x01\x00", "");
    row::<u32>(b"\xfc\xff\xff\x00\x00", WIDE);
    row::<u32>(
        b"\xfd\x00\x00\x00\x00\x01\x00\x00\x00",
        "an integer does not fit into u32",
    );
    row::<u64>(b"\xfd\xff\xff\xff\xff\x00\x00\x00\x00", WIDE);
    row::<u64>(b"\xfd\x00\x00\x00\x00\x01\x00\x00\x00", "");
    row::<u128>(
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        WIDE,
    );
    row::<u128>(b"\xfe\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", "");
    row::<u128>(b"\xff", "255 begins no integer");
    row::<u16>(b"\xff\x01", "255 begins no integer");
    row::<u16>(b"\xfc\x00\x00\x01\x00", "an integer does not fit into u16");
    row::<i16>(b"\xfc\x00\x00\x01\x00", "an integer does not fit into i16");
    row::<i16>(b"\xfb\xff\xff", "");
    row::<i64>(b"\xfb\x01\x00", WIDE);
    row::<u32>(b"\xfc\x00\x00\x01", EARLY);

    row::<f64>(&f64::NAN.to_le_bytes(), "");
    row::<f64>(&[0; 7], EARLY);
    row::<char>("é".as_bytes(), "");
    row::<char>(b"\xed\xa0\x80", CHAR); // a surrogate
    row::<char>(b"\xf4\x90\x80\x80", CHAR); // above U+10FFFF
    row::<char>(b"\xc0\x80", CHAR); // NUL in two bytes
    row::<char>(b"\x80", CHAR);
    row::<char>(b"\xf8\x80\x80\x80", CHAR);
    row::<char>(b"\xc3", EARLY);
    row::<String>(b"\x02\xc3\xa9", "");
    row::<String>(b"\x02\xc3\x28", UTF8);
    row::<String>(b"\x03\xed\xa0\x80", UTF8);
    row::<String>(b"\x02\xc0\x80", UTF8);
    row::<String>(b"\xfb\x01\x00a", WIDE);
    row::<String>(b"\x02a", EARLY);
    row::<Vec<u8>>(b"\xfb\x01\x00a", WIDE);
    row::<String>(b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff", EARLY);
    row::<Vec<u16>>(b"\x02\x01\xfb\x01\x00", WIDE);

    row::<Option<u8>>(b"\x02\x00", "an option is neither 0 nor 1");
    row::<Option<u8>>(b"\x00\x00", LEFT);
    row::<Shape>(
        b"\x04",
        "invalid value: integer `4`, expected variant index 0 <= i < 4",
    );
    row::<Shape>(b"\xfb\x00\x00", WIDE);
    row::<Shape>(b"\xfd\0\0\0\0\x01\0\0\0", "a variant does not fit into u32");
    row::<Result<u8, u8>>(b"\x02\x00", "invalid value: integer `2`");
    row::<std::num::NonZeroU8>(b"\x00", "invalid value: integer `0`");
    row::<serde_json::Value>(b"\x00", "bincode does not say what comes next");
}

#[test]
fn t13_json_is_strict() {
    fn row<T: DeserializeOwned + 'static>(body: &[u8], verdict: Verdict) {
        check::<T>(&Codec::Json, body, verdict);
    }
    row::<bool>(b"true", "");
    row::<bool>(b"2", "invalid type: integer `2`, expected a boolean");
    row::<bool>(b"\"true\"", "invalid type: string");
    row::<u8>(b" 7\n", "");
    row::<u8>(b"7.0", "invalid type: floating point");
    row::<u8>(b"256", "invalid value: integer `256`");
    row::<u8>(b"-1", "invalid value: integer `-1`");
    row::<u8>(b"07", "invalid number");
    row::<u64>(b"18446744073709551616", "invalid type: floating point");
    row::<f64>(b"NaN", "expected");
    row::<f64>(b"1e999", "number out of range");
    row::<f64>(b"null", "invalid type: null");
    row::<char>(b"\"ab\"", "expected a character");
    row::<String>(b"\"\xc3\x28\"", "invalid unicode code point");
    row::<String>(br#""\ud800""#, "unexpected end of hex escape");
    row::<String>(br#""\ud83e\udd80""#, "");
    row::<String>(b"\"a\nb\"", "control character");
    row::<Vec<u8>>(b"[1,]", "trailing comma");
    row::<()>(b"null", "");
    row::<Wrapped>(b"[1]", "invalid type: sequence");
    row::<Shape>(b"\"Square\"", "unknown variant `Square`");
    row::<Shape>(br#"{"Circle":1.0,"Nothing":null}"#, "expected value");
    row::<BTreeMap<u8, u8>>(br#"{"x":1}"#, "expected key to be a number");
    row::<Account>(br#"{"id":1,"id":2}"#, "duplicate field `id`");
    row::<Account>(br#"{}"#, "missing field `id`");
}

#[derive(serde::Deserialize)]
struct Account {
    #[serde(rename = "id")]
    _id: u8,
}

#[test]
fn t13_bytes_left_over_are_refused() {
    assert!(decoded::<u8>(&Codec::Json, b"7 8").is_err());
    assert!(decoded::<u8>(&Codec::Json, b"7\0").is_err());
    assert!(decoded::<u8>(&Codec::Bincode, b"\x07\x00").is_err());
}

#[test]
fn t13_of_two_equal_keys_of_a_map_the_last_wins() {
    type Map = HashMap<String, u8>;
    let last = Map::from([("a".to_owned(), 2)]);
    assert_eq!(
        decoded::<Map>(&Codec::Bincode, b"\x02\x01a\x01\x01a\x02").unwrap(),
        last
    );
    assert_eq!(
        decoded::<Map>(&Codec::Json, br#"{"a":1,"a":2}"#).unwrap(),
        last
    );
}

/// SplitMix64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    /// Damages `body` in one of the ways in which integers, varints and lengths go wrong.
    fn mutate(&mut self, body: &mut Vec<u8>) {
        const NUMBERS: [&[u8]; 8] = [
            b"\xfb\xff\xff",
            b"\xfc\xff\xff\xff\xff",
            b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xfb\x05\x00",
            b"99999999999999999999",
            b"-1",
            b"[[[[",
        ];
        let at = self.below(body.len());
        match self.below(6) {
            0 => body[at] ^= 1 << self.below(8),
            1 => body[at] = [0, 1, 127, 128, 250, 251, 252, 253, 254, 255][self.below(10)],
            2 => body.truncate(at),
            3 => drop(body.remove(at)),
            4 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                body.splice(at..=at, number.iter().copied());
            }
            _ => {
                let from = self.below(body.len());
                let part = body[from..body.len().min(from + 8)].to_vec();
                body.splice(at..at, part);
            }
        }
    }
}

#[test]
fn t16_mutations_of_recorded_bodies_never_panic() {
    let limits = DecodeLimits::default();
    let mut random = Random(16);
    let (mut read, mut refused) = (0, 0);
    for codec in codecs() {
        let recorded = encoded(&codec, &example());
        for round in 0..50_000 {
            let mut body = recorded.clone();
            for _ in 0..=round % 3 {
                if !body.is_empty() {
                    random.mutate(&mut body);
                }
            }
            let verdict = match round % 5 {
                // Mostly the type that it was; the others read its beginning.
                0..=2 => decoded::<Everything>(&codec, &body).map(drop),
                3 => decoded::<Vec<Shape>>(&codec, &body).map(drop),
                _ => codec
                    .decode_arguments::<(u8, Lookup, Vec<u8>)>(&["a", "b", "c"], &body, &limits)
                    .map(drop),
            };
            match verdict {
                Ok(()) => read += 1,
                Err(error) => {
                    assert!(error.is_decode() && !error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    // Some hit a digit or a letter and change the value only; most break the body.
    assert!(
        read > 1_000 && refused > 50_000,
        "{read} read, {refused} refused"
    );
}
