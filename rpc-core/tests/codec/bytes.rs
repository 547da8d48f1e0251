//! Byte strings travel in one piece, whatever their type is called.

use std::cell::Cell;

use rpc_core::codec::*;
use serde::Serialize;
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

/// A codec that counts what a value asks of its serializer, and writes nothing.
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
    fn decode(&self, _: &[u8], _: Visit<'_>) -> Result<(), CodecError> {
        Err(CodecError::decode("counts only"))
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
