//! The format of bincode 2 in its standard configuration: little endian, variable-length integers.
//!
//! Why not the crate? Its reader takes an integer in more bytes than it needs (so that one value has
//! several encodings), allocates on the word of a length field, says "unexpected end" and not where,
//! and offers no place to change any of it; its writer takes twice as long. What it writes is what we
//! write and read, byte for byte; `tests/codec/bincode.rs` holds the two against each other.

mod reader;
mod short;
mod writer;

use serde_core::Serialize;
use serde_core::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::CodecError;
use super::limits::{Budget, MAP_FACTOR, RESERVED_ELEMENTS_MAX};
use reader::{Failure, Reader, Result, fail, not_utf8, utf8};
use short::Short;
use writer::Writer;

#[inline]
pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let written = value.serialize(Writer::new(out));
    written.map_err(CodecError::encode)
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "handing over the value costs more than reading it"
)]
pub(super) fn decode<S, T>(seed: S, body: &[u8], budget: &Budget) -> Result<T, CodecError>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let mut reader = Reader::new(body, budget);
    seed.deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|failure| explain(&failure, body, &reader))
}

/// Says what is wrong with a body, and where.
#[cold]
fn explain(failure: &Failure, body: &[u8], reader: &Reader<'_>) -> CodecError {
    let (at, length) = (body.len() - reader.left(), body.len());
    let reason = format!("{failure}, at byte {at} of {length}");
    reader.budget.explain(CodecError::decode(reason))
}

macro_rules! integers {
    ($($method:ident $visit:ident $read:ident $type:ty;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let value = <$type>::try_from(self.$read()?)
                .or_else(|_| fail(concat!("an integer does not fit into ", stringify!($type))))?;
            visitor.$visit(value)
        }
    )*};
}

macro_rules! fixed {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(<$type>::from_le_bytes(self.array()?))
        }
    )*};
}

macro_rules! refused {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
            fail("bincode does not say what comes next, but the type wants to know")
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Failure;

    refused! { deserialize_any deserialize_identifier deserialize_ignored_any }
    fixed! {
        deserialize_u8 visit_u8 u8;
        deserialize_i8 visit_i8 i8;
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }
    integers! {
        deserialize_u16 visit_u16 unsigned u16;
        deserialize_u32 visit_u32 unsigned u32;
        deserialize_u64 visit_u64 unsigned u64;
        deserialize_u128 visit_u128 unsigned_128 u128;
        deserialize_i16 visit_i16 signed i16;
        deserialize_i32 visit_i32 signed i32;
        deserialize_i64 visit_i64 signed i64;
        deserialize_i128 visit_i128 signed_128 i128;
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => fail("a bool is neither 0 nor 1"),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_char(self.char()?)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(utf8(self.bytes()?)?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let (bytes, ahead) = self.string()?;
        let copy;
        let text = match ahead {
            Some(ahead) => {
                copy = Short::copy(ahead, bytes.len());
                copy.text().ok_or_else(not_utf8)?
            }
            None => utf8(bytes)?,
        };
        self.budget.charge_allocation(Some(text.len()))?;
        visitor.visit_str(text)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let bytes = self.bytes()?;
        self.budget.charge_allocation(Some(bytes.len()))?;
        visitor.visit_borrowed_bytes(bytes)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.below(|reader| visitor.visit_some(reader)),
            _ => fail("an option is neither 0 nor 1"),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.below(|reader| visitor.visit_newtype_struct(reader))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        self.budget.charge_allocation(Some(left))?;
        self.below(|reader| visitor.visit_seq(Elements { reader, left }))
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        self.budget.charge_allocation(Some(left))?;
        self.below(|reader| visitor.visit_map(Elements { reader, left }))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        self.fields(length, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(length, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.below(|reader| visitor.visit_enum(reader))
    }
}

impl<'de> Reader<'de> {
    /// What a tuple or a struct is made of.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn fields<V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value> {
        self.descend()?;
        let fields = Fields { reader: self, left };
        let value = visitor.visit_seq(fields)?;
        self.ascend();
        Ok(value)
    }
}

/// As many as the type has: it has room for them.
struct Fields<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Failure;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// As many as the sender says, of a sequence or of the entries of a map: each is charged.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S, factor: usize) -> Result<S::Value> {
        // Before it is here, so that it goes from where it is made to where it belongs.
        let budget = self.reader.budget;
        budget.charge_element::<S::Value, _>(factor, Some(self.left))?;
        seed.deserialize(&mut *self.reader)
    }

    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left.min(RESERVED_ELEMENTS_MAX))
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.next(seed, 1).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.next(seed, MAP_FACTOR).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        self.next(seed, MAP_FACTOR)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Failure;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let Ok(index) = u32::try_from(self.unsigned()?) else {
            return fail("a variant does not fit into u32");
        };
        let index = IntoDeserializer::<Failure>::into_deserializer(index);
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Failure;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        self.fields(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.fields(fields.len(), visitor)
    }
}
