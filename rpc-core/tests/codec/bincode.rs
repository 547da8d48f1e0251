//! Ours against the bincode crate: what it writes we write, and we read what it could have written.

use std::fmt::Debug;

use ::bincode::serde::BorrowedSerdeDecoder;
use proptest::prelude::*;
use rpc_core::codec::*;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::samples::*;

fn by_the_crate<T: Serialize>(value: &T) -> Vec<u8> {
    ::bincode::serde::encode_to_vec(value, ::bincode::config::standard()).unwrap()
}

fn check<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let body = encoded(&Codec::Bincode, value);
    assert_eq!(body, by_the_crate(value));
    assert_eq!(decoded::<T>(&Codec::Bincode, &body).unwrap(), *value);
    for length in 0..body.len() {
        assert!(decoded::<T>(&Codec::Bincode, &body[..length]).is_err());
    }
}

/// Whatever the bytes: either both read the same value, or ours refuses what the crate
/// refuses, leaves unread or would have written in fewer bytes.
fn agree<T>(body: &[u8]) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + Debug + 'static,
{
    // Without its limit the crate allocates whatever a length says, and aborts.
    let config = ::bincode::config::standard().with_limit::<65_536>();
    let theirs = ::bincode::serde::decode_from_slice::<T, _>(body, config)
        .ok()
        .map(|(value, _)| value)
        .filter(|value| by_the_crate(value) == body);
    let ours = decoded::<T>(&Codec::Bincode, body).ok();
    // Compared as bytes: a NaN is not equal to itself.
    prop_assert_eq!(
        ours.as_ref().map(by_the_crate),
        theirs.as_ref().map(by_the_crate)
    );
    Ok(())
}

/// The crate as a codec of the user's own.
#[derive(Debug)]
struct TheCrate;

impl CustomCodec for TheCrate {
    fn id(&self) -> CodecId {
        CodecId::from_number(200).unwrap()
    }
    fn name(&self) -> &str {
        "the crate"
    }
    fn encode(&self, value: &dyn ErasedSerialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(by_the_crate(&value));
        Ok(())
    }
    fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
        let config = ::bincode::config::standard();
        let mut decoder = BorrowedSerdeDecoder::from_slice(body, config, ());
        let mut erased = <dyn ErasedDeserializer<'_>>::erase(decoder.as_deserializer());
        visit(&mut erased).map_err(CodecError::decode)
    }
}

#[test]
fn values_have_the_bytes_that_the_protocol_says() {
    // [body.codec]
    #[derive(Serialize)]
    enum Shape {
        Point,
        Circle(u16),
        Box { width: u8, name: Option<String> },
    }
    fn written<T: Serialize + 'static>(value: &T) -> Vec<u8> {
        encoded(&Codec::Bincode, value)
    }
    assert_eq!(written(&(255_u8, true, -2_i8)), [255, 1, 254]);
    assert_eq!(written(&(250_u16, 251_u16)), [250, 251, 251, 0]);
    assert_eq!(written(&65_536_u64), [252, 0, 0, 1, 0]);
    assert_eq!(written(&(1_u64 << 32)), [253, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(written(&[0, -1, 1, -2]), [0, 1, 2, 3]);
    assert_eq!(written(&(1.0_f32, 'é')), [0, 0, 128, 63, 0xc3, 0xa9]);
    assert_eq!(written(&("ab", vec![7_u16, 8])), [2, b'a', b'b', 2, 7, 8]);
    assert_eq!(
        written(&Lookup::from([("k".into(), vec![9])])),
        [1, 1, b'k', 1, 9]
    );
    assert_eq!(
        written(&(Shape::Point, Shape::Circle(300), ())),
        [0, 1, 251, 44, 1]
    );
    let (width, name) = (5, Some("x".to_owned()));
    assert_eq!(written(&Shape::Box { width, name }), [2, 5, 1, 1, b'x']);
}

#[test]
fn fixed_values_have_the_bytes_of_the_crate() {
    check(&example());
    check(&());
    check(&Unit);
    check(&Wrapped(251));
    check(&f64::INFINITY);
    check(&Some(Some("x".to_owned())));
    check(&Some(None::<u8>));
    check(&vec![(); 1000]);
    check(&Lookup::from([("a".to_owned(), vec![1, 1 << 40])]));
    for integer in [
        0,
        1,
        250,
        251,
        65_535,
        65_536,
        u32::MAX.into(),
        1 << 32,
        u64::MAX,
    ] {
        check(&integer);
        check(&integer.cast_signed());
        check(&i128::from(integer));
        check(&(u128::from(integer) << 1));
    }
}

#[test]
fn lengths_and_variants_have_the_bytes_of_the_crate_however_wide_they_are() {
    for length in [0, 1, 250, 251, 65_535, 65_536] {
        check(&"x".repeat(length));
        let body = encoded(&Codec::Bincode, &vec![(); length]);
        assert_eq!(body, by_the_crate(&vec![(); length]));
    }
    struct Variant(u32);
    impl Serialize for Variant {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_variant("Variant", self.0, "Newtype", &7_u8)
        }
    }
    for index in [0, 250, 251, 65_536, u32::MAX] {
        let variant = Variant(index);
        assert_eq!(encoded(&Codec::Bincode, &variant), by_the_crate(&variant));
    }
}

#[test]
fn what_cannot_be_written_is_refused_as_by_the_crate_and_leaves_nothing() {
    /// Elements of which nobody knows how many there are.
    struct Unknown;
    impl Serialize for Unknown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq([1_u8, 2].iter().filter(|number| **number > 0))
        }
    }
    struct Failing;
    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    fn refused<T: Serialize + 'static>(value: &T, reason: &str) {
        let config = ::bincode::config::standard();
        assert!(::bincode::serde::encode_to_vec(value, config).is_err());
        let mut out = vec![1, 2, 3];
        let error = Codec::Bincode.encode(value, &mut out).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(out, [1, 2, 3]);
    }
    refused(&("text", Unknown), "a sequence does not know its own");
    refused(&("text", Failing), "not today");
}

/// A character that is cut off stays so, whatever is behind the string.
#[test]
fn strings_of_every_length_are_text_where_the_standard_library_says_so() {
    fn agree_on(text: &[u8], behind: [u8; 33]) {
        let expected = std::str::from_utf8(text).ok();
        let mut body = vec![text.len() as u8];
        body.extend(text);
        let alone = decoded::<String>(&Codec::Bincode, &body);
        assert_eq!(alone.ok().as_deref(), expected);
        body.extend(behind);
        let first = decoded::<(String, [u8; 32], u8)>(&Codec::Bincode, &body);
        assert_eq!(
            first.ok(),
            expected.map(|text| (
                text.to_owned(),
                behind[..32].try_into().unwrap(),
                behind[32]
            ))
        );
    }

    let text = "aß€𝄞".repeat(9);
    for (start, length) in (0..10).flat_map(|start| (0..=40).map(move |length| (start, length))) {
        let (text, behind) = text.as_bytes()[start..].split_at(length);
        agree_on(text, *behind.first_chunk().unwrap());
    }
    for (at, length) in (0..40).flat_map(|at| (at + 1..=40).map(move |length| (at, length))) {
        let mut text = vec![b'a'; length];
        agree_on(&text, [0xff; 33]);
        text[at] = 0x80;
        agree_on(&text, [b'a'; 33]);
    }
}

#[test]
fn a_nan_keeps_its_bits() {
    let nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let body = encoded(&Codec::Bincode, &nan);
    let back: f64 = decoded(&Codec::Bincode, &body).unwrap();
    assert_eq!(back.to_bits(), nan.to_bits());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_values_have_the_bytes_of_the_crate(value in everything()) {
        let body = encoded(&Codec::Bincode, &value);
        prop_assert_eq!(&body, &by_the_crate(&value));
        prop_assert_eq!(decoded::<Everything>(&Codec::Bincode, &body).unwrap(), value);
    }

    #[test]
    fn integers_of_every_width_have_the_bytes_of_the_crate(value: u128, bits in 0..128_u32) {
        let value = value >> bits;
        check(&(value as u64, value as u32, value as u16, value as u8));
        check(&(value as i64, value as i32, value as i16, value as i8));
        check(&(-(value as i64).max(i64::MIN + 1), value, value.cast_signed()));
    }

    /// Two places count what decoding costs: our reader, and what is around all others.
    #[test]
    fn t2_t3_our_reader_and_the_crate_within_limits_have_the_same_verdict(
        value in everything(),
        depth_max in 0..12_u32,
        element_bytes_max in 0..4000_usize,
    ) {
        let limits = DecodeLimits::default()
            .with_depth_max(depth_max)
            .with_element_bytes_max(element_bytes_max);
        let body = encoded(&Codec::Bincode, &value);
        let [ours, theirs] = [Codec::Bincode, Codec::custom(TheCrate).unwrap()].map(|codec| {
            let decoded = codec.decode::<Everything>(&body, &limits);
            decoded.map_err(|error| error.is_limit())
        });
        prop_assert!(ours != Err(false), "nothing else can be in the way");
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn random_values_survive_json(value in everything()) {
        let body = encoded(&Codec::Json, &value);
        prop_assert_eq!(decoded::<Everything>(&Codec::Json, &body).unwrap(), value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn t13_random_bytes_get_the_verdict_of_the_crate(
        body in prop::collection::vec(prop_oneof![0_u8..6, 245_u8..=255, any::<u8>()], 0..24),
    ) {
        agree::<u16>(&body)?;
        agree::<i32>(&body)?;
        agree::<u64>(&body)?;
        agree::<i128>(&body)?;
        agree::<u128>(&body)?;
        agree::<char>(&body)?;
        agree::<String>(&body)?;
        agree::<f64>(&body)?;
        agree::<(bool, Option<i16>)>(&body)?;
        agree::<Vec<u32>>(&body)?;
        agree::<Vec<Option<char>>>(&body)?;
        agree::<Shape>(&body)?;
        agree::<Vec<Shape>>(&body)?;
        agree::<Result<String, i64>>(&body)?;
    }
}
