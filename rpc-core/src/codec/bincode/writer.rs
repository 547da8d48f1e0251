//! Values to bytes, in the order in which serde tells of them.
//!
//! Why not the `Serializer` of the crate? A struct takes it twice as long: each field goes through
//! layers that the compiler does not see through from another crate.

use std::fmt;

use serde_core::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

use super::super::shared;

/// Why a value has no form. Behind a pointer, so that a result that went well stays in a register.
#[derive(Debug)]
pub(super) struct Refusal(Box<str>);

type Result<T, E = Refusal> = std::result::Result<T, E>;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

/// Appends to a buffer. Handed on by value: it is a pointer, which a pointer to it would hide.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }
}

macro_rules! write {
    ($($method:ident($type:ty) $write:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<()> {
            $write(self.0, value.into());
            Ok(())
        }
    )*};
}

macro_rules! write_as_it_is {
    ($($method:ident($type:ty);)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<()> {
            self.0.extend_from_slice(&value.to_le_bytes());
            Ok(())
        }
    )*};
}

impl ser::Serializer for Writer<'_> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write! {
        serialize_u16(u16) unsigned;
        serialize_u32(u32) unsigned;
        serialize_u64(u64) unsigned;
        serialize_i16(i16) signed;
        serialize_i32(i32) signed;
        serialize_i64(i64) signed;
        serialize_u128(u128) unsigned_128;
        serialize_i128(i128) signed_128;
    }
    write_as_it_is! {
        serialize_u8(u8);
        serialize_i8(i8);
        serialize_f32(f32);
        serialize_f64(f64);
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<()> {
        self.serialize_u8(value.into())
    }

    /// In UTF-8, whose first byte says how long it is.
    #[inline]
    fn serialize_char(self, value: char) -> Result<()> {
        let utf8 = &mut [0; 4];
        self.0.extend_from_slice(value.encode_utf8(utf8).as_bytes());
        Ok(())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<()> {
        unsigned(self.0, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        unsigned(self.0, bytes.len() as u64);
        if !shared::leave_out(bytes, self.0.len()) {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.0.push(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.0.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<()> {
        unsigned(self.0, index.into());
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        unsigned(self.0, index.into());
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, elements: Option<usize>) -> Result<Self> {
        length(self.0, elements)?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, elements: Option<usize>) -> Result<Self> {
        length(self.0, elements)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self> {
        unsigned(self.0, index.into());
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self> {
        unsigned(self.0, index.into());
        Ok(self)
    }
}

/// What is made of several values is written as these, one after the other.
macro_rules! compounds {
    ($($trait:ident $method:ident($($key:ty)?);)*) => {$(
        impl $trait for Writer<'_> {
            type Ok = ();
            type Error = Refusal;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<()> {
                value.serialize(Writer(self.0))
            }

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        }
    )*};
}

compounds! {
    SerializeSeq serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(&'static str);
    SerializeStructVariant serialize_field(&'static str);
}

/// The arguments of a call are one.
impl SerializeTuple for Writer<'_> {
    type Ok = ();
    type Error = Refusal;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most calls have one argument, and to call this costs as much as it does"
    )]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(Writer(self.0))
    }

    #[inline]
    fn end(self) -> Result<()> {
        Ok(())
    }
}

impl SerializeMap for Writer<'_> {
    type Ok = ();
    type Error = Refusal;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        key.serialize(Writer(self.0))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(Writer(self.0))
    }

    #[inline]
    fn end(self) -> Result<()> {
        Ok(())
    }
}

/// An integer below 251 is one byte; else a byte says how wide it is.
#[inline]
fn unsigned(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=250 => out.push(value as u8),
        _ => wide(out, value),
    }
}

#[inline(never)]
fn wide(out: &mut Vec<u8>, value: u64) {
    if let Ok(value) = u16::try_from(value) {
        let [a, b] = value.to_le_bytes();
        out.extend_from_slice(&[251, a, b]);
    } else if let Ok(value) = u32::try_from(value) {
        let [a, b, c, d] = value.to_le_bytes();
        out.extend_from_slice(&[252, a, b, c, d]);
    } else {
        out.push(253);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// 0, -1, 1, -2, .. are written as 0, 1, 2, 3, ..
#[inline]
fn signed(out: &mut Vec<u8>, value: i64) {
    unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

#[inline]
fn unsigned_128(out: &mut Vec<u8>, value: u128) {
    let Ok(narrow) = u64::try_from(value) else {
        out.push(254);
        return out.extend_from_slice(&value.to_le_bytes());
    };
    unsigned(out, narrow);
}

#[inline]
fn signed_128(out: &mut Vec<u8>, value: i128) {
    unsigned_128(out, ((value << 1) ^ (value >> 127)).cast_unsigned());
}

#[inline]
fn length(out: &mut Vec<u8>, elements: Option<usize>) -> Result<()> {
    let Some(elements) = elements else {
        let text = "bincode writes the length first, and a sequence does not know its own";
        return Err(ser::Error::custom(text));
    };
    unsigned(out, elements as u64);
    Ok(())
}
