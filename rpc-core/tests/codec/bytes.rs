//! Byte strings travel in one piece, whatever their type is called.

use std::borrow::Cow;
use std::cell::Cell;

use bytes::Bytes;
use rpc_core::codec::*;
use serde::Serialize;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::ser::{Impossible, Serializer};

use crate::samples::*;

type Blob = Vec<u8>;

/// A sequence of bytes that serde sees one by one.
#[derive(Serialize)]
#[serde(transparent)]
struct ElementWise(Vec<u8>);

#[derive(Serialize)]
#[serde(transparent)]
struct ElementWiseOption(Option<Vec<u8>>);

#[test]
fn the_bytes_are_those_of_the_element_wise_encoding() {
    for codec in codecs() {
        for length in [0, 1, 250, 251, 65_536] {
            let blob: Blob = (0..length).map(|index| (index % 256) as u8).collect();
            let body = encoded(&codec, &blob);
            assert_eq!(body, encoded(&codec, &ElementWise(blob.clone())));
            assert_eq!(decoded::<Blob>(&codec, &body).unwrap(), blob);

            let maybe = Some(blob);
            let body = encoded(&codec, &maybe);
            assert_eq!(body, encoded(&codec, &ElementWiseOption(maybe.clone())));
            assert_eq!(decoded::<Option<Blob>>(&codec, &body).unwrap(), maybe);
        }
        let body = encoded(&codec, &None::<Blob>);
        assert_eq!(body, encoded(&codec, &ElementWiseOption(None)));
        assert_eq!(decoded::<Option<Blob>>(&codec, &body).unwrap(), None);
    }
}

#[test]
fn t13_bytes_are_as_strict_in_one_piece_as_one_by_one() {
    for body in [&b"\x02a"[..], b"\x01ab", b"\xfb\x01\x00a", b"", b"\xff"] {
        assert!(decoded::<Blob>(&Codec::Bincode, body).is_err(), "{body:?}");
    }
    for body in [
        "\"abc\"", "[256]", "[-1]", "[1.5]", "[1", "[1]]", "null", "{}",
    ] {
        let error = decoded::<Blob>(&Codec::Json, body.as_bytes());
        assert!(error.is_err(), "{body}");
    }
    assert!(decoded::<Option<Blob>>(&Codec::Bincode, b"\x02").is_err());
}

/// A codec that counts what a value asks of its serializer, and writes nothing; what it reads is bytes in
/// one piece, and not numbers one after the other.
#[derive(Debug)]
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn calls(encode: impl FnOnce(&Codec)) -> usize {
    CALLS.set(0);
    encode(&Codec::custom(Counting).unwrap());
    CALLS.get()
}

impl CustomCodec for Counting {
    fn id(&self) -> CodecId {
        CodecId::from_number(128).unwrap()
    }
    fn name(&self) -> &str {
        "counting"
    }
    fn encode(&self, value: &dyn ErasedSerialize, _: &mut Vec<u8>) -> Result<(), CodecError> {
        value.serialize(Counter).map_err(CodecError::encode)
    }
    fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
        visit(&mut <dyn ErasedDeserializer<'_>>::erase(OnePiece(body))).map_err(CodecError::decode)
    }
}

/// Bytes that are there in one piece, and in no other way.
struct OnePiece<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for OnePiece<'de> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_borrowed_bytes(self.0)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[test]
fn a_blob_of_64_kib_is_one_call_and_not_65536() {
    const SIZE: usize = 64 << 10;
    let blob: Blob = vec![7; SIZE];
    let maybe = Some(blob.clone());
    let element_wise = ElementWise(blob.clone());
    assert_eq!(calls(|codec| codec.encode(&blob, &mut vec![]).unwrap()), 1);
    assert_eq!(calls(|codec| codec.encode(&maybe, &mut vec![]).unwrap()), 2);
    let argument = (Argument(&blob).wire(),);
    let one = calls(|codec| {
        codec
            .encode_arguments(&["blob"], &argument, &mut vec![])
            .unwrap();
    });
    assert_eq!(one, 2, "the struct and the bytes");
    // A check that the counter counts.
    let all = calls(|codec| codec.encode(&element_wise, &mut vec![]).unwrap());
    assert_eq!(all, 1 + SIZE);
}

#[test]
fn a_cow_of_bytes_is_one_call_too() {
    fn check<T, Owned>(value: &T, of: fn(Vec<u8>) -> Owned)
    where
        T: Serialize + 'static,
        Owned: DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
    {
        assert_eq!(calls(|codec| codec.encode(value, &mut vec![]).unwrap()), 1);
        let codec = Codec::custom(Counting).unwrap();
        let back: Owned = decoded(&codec, b"one piece").unwrap();
        assert_eq!(back, of(b"one piece".to_vec()));
    }
    static LENT: Bytes = Bytes::from_static(b"lent");
    let copied = |bytes: Vec<u8>| Cow::<'static, [u8]>::Owned(bytes);
    let shared = |bytes: Vec<u8>| Cow::<'static, Bytes>::Owned(bytes.into());
    check(&Cow::Borrowed(&b"lent"[..]), copied);
    check(&Cow::<'static, [u8]>::Owned(vec![7; 4]), copied);
    check(&Cow::Borrowed(&LENT), shared);
    check(&Cow::<'static, Bytes>::Owned(LENT.clone()), shared);
    // A check that what is read one by one is not read by this codec.
    assert!(decoded::<Vec<i8>>(&Codec::custom(Counting).unwrap(), b"bytes").is_err());
}

#[test]
fn a_cow_of_shared_bytes_is_neither_copied_in_nor_out() {
    let blob = Bytes::from(vec![7; 64 << 10]);
    let lent = Cow::Borrowed(&blob);
    let arguments = (Argument(&lent).wire(),);
    let (body, parts) = leaving_out(|| {
        let mut body = vec![];
        Codec::Bincode
            .encode_arguments(&["blob"], &arguments, &mut body)
            .unwrap();
        body
    });
    assert!(body.len() < 10 && !parts.is_empty(), "only its length");

    let whole = Bytes::from(encoded(&Codec::Bincode, &blob));
    let back: Cow<'static, Bytes> = Codec::Bincode.decode_item(&whole, &whole).unwrap();
    assert_eq!(*back, blob);
    assert!(whole.as_ptr_range().contains(&back.as_ptr()), "a part");
}

/// A serializer that counts: itself, and everything it is asked for.
struct Counter;

fn count() -> Result<(), std::fmt::Error> {
    CALLS.set(CALLS.get() + 1);
    Ok(())
}

macro_rules! plain {
    ($($method:ident($($type:ty),*))*) => {$(
        fn $method(self, $(_: $type),*) -> Result<(), Self::Error> {
            count()
        }
    )*};
}

impl Serializer for Counter {
    type Ok = ();
    type Error = std::fmt::Error;
    type SerializeSeq = Self;
    type SerializeTuple = Impossible<(), Self::Error>;
    type SerializeTupleStruct = Impossible<(), Self::Error>;
    type SerializeTupleVariant = Impossible<(), Self::Error>;
    type SerializeMap = Impossible<(), Self::Error>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), Self::Error>;

    plain! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
        serialize_u64(u64) serialize_f32(f32) serialize_f64(f64) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_none() serialize_unit()
        serialize_unit_struct(&'static str)
        serialize_unit_variant(&'static str, u32, &'static str)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Self::Error> {
        count()?;
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        count()?;
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        count()?;
        value.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Self::Error> {
        count().map(|()| self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Self::Error> {
        count().map(|()| self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
        Err(std::fmt::Error)
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Self::Error> {
        Err(std::fmt::Error)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Self::Error> {
        Err(std::fmt::Error)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
        Err(std::fmt::Error)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Self::Error> {
        Err(std::fmt::Error)
    }
}

impl serde::ser::SerializeSeq for Counter {
    type Ok = ();
    type Error = std::fmt::Error;
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Self::Error> {
        value.serialize(Self)
    }
    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl serde::ser::SerializeStruct for Counter {
    type Ok = ();
    type Error = std::fmt::Error;
    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        value.serialize(Self)
    }
    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}
