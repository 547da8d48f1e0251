//! Byte strings in one piece.
//!
//! Why is this needed? serde sees a `Vec<u8>` as a sequence of 65,536 small numbers, and asks about
//! each. Whether a type *is* `Vec<u8>` is asked of the type and not of its spelling, so that an
//! alias is fast too; the compiler answers the question, and no trace of it is left at run time.
//! It is first asked of the size, for nothing is compiled then for types that have another.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde_core::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_core::{Deserialize, Serialize, Serializer};

use super::shared::{self, SharedString};

/// Bytes on their way out, encoded in one piece; the bytes are those of a `Vec<u8>`.
#[expect(clippy::exhaustive_structs, reason = "generated code constructs it")]
#[derive(Clone, Copy, Debug)]
pub struct ByteString<'a>(pub &'a [u8]);

impl Serialize for ByteString<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A value on its way out: byte strings in one piece, anything else as it is.
pub(super) struct Whole<'a, T>(pub(super) &'a T);

impl<T: Serialize + 'static> Serialize for Whole<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &dyn Any = self.0;
        if const { size_of::<T>() == size_of::<Vec<u8>>() }
            && let Some(bytes) = value.downcast_ref::<Vec<u8>>()
        {
            return ByteString(bytes).serialize(serializer);
        }
        if const { size_of::<T>() == size_of::<Cow<'_, [u8]>>() }
            && let Some(bytes) = value.downcast_ref::<Cow<'static, [u8]>>()
        {
            return ByteString(bytes).serialize(serializer);
        }
        if const { size_of::<T>() == size_of::<Option<Vec<u8>>>() }
            && let Some(bytes) = value.downcast_ref::<Option<Vec<u8>>>()
        {
            return bytes.as_deref().map(ByteString).serialize(serializer);
        }
        if const { size_of::<T>() == size_of::<Bytes>() }
            && let Some(bytes) = value.downcast_ref::<Bytes>()
        {
            return SharedString(bytes).serialize(serializer);
        }
        if const { size_of::<T>() == size_of::<Cow<'_, Bytes>>() }
            && let Some(bytes) = value.downcast_ref::<Cow<'static, Bytes>>()
        {
            return SharedString(bytes).serialize(serializer);
        }
        self.0.serialize(serializer)
    }
}

/// Reads what [`Whole`] writes.
pub(super) struct WholeSeed<T>(PhantomData<fn() -> T>);

impl<T> WholeSeed<T> {
    #[inline]
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: DeserializeOwned + 'static> DeserializeSeed<'de> for WholeSeed<T> {
    type Value = T;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let mut slot = None::<T>;
        let place: &mut dyn Any = &mut slot;
        if const { size_of::<T>() == size_of::<Vec<u8>>() }
            && let Some(place) = place.downcast_mut::<Option<Vec<u8>>>()
        {
            *place = Some(ByteBuffer::deserialize(deserializer)?.0);
        } else if const { size_of::<T>() == size_of::<Cow<'_, [u8]>>() }
            && let Some(place) = place.downcast_mut::<Option<Cow<'static, [u8]>>>()
        {
            *place = Some(Cow::Owned(ByteBuffer::deserialize(deserializer)?.0));
        } else if const { size_of::<T>() == size_of::<Option<Vec<u8>>>() }
            && let Some(place) = place.downcast_mut::<Option<Option<Vec<u8>>>>()
        {
            let bytes = Option::<ByteBuffer>::deserialize(deserializer)?;
            *place = Some(bytes.map(|buffer| buffer.0));
        } else if const { size_of::<T>() == size_of::<Bytes>() }
            && let Some(place) = place.downcast_mut::<Option<Bytes>>()
        {
            *place = Some(SharedBytes::deserialize(deserializer)?.0);
        } else if const { size_of::<T>() == size_of::<Cow<'_, Bytes>>() }
            && let Some(place) = place.downcast_mut::<Option<Cow<'static, Bytes>>>()
        {
            *place = Some(Cow::Owned(SharedBytes::deserialize(deserializer)?.0));
        } else {
            // Not by way of the slot: it would be copied twice.
            return T::deserialize(deserializer);
        }
        Ok(slot.expect("filled on all branches above"))
    }
}

struct ByteBuffer(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuffer {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // JSON has no bytes, only arrays, and must not take a string for them. Without other codecs than
        // bincode, nobody asks.
        if cfg!(feature = "codecs") && deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Self);
        }
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

struct SharedBytes(Bytes);

impl<'de> Deserialize<'de> for SharedBytes {
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if cfg!(feature = "codecs") && deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(|bytes| Self(bytes.into()));
        }
        deserializer.deserialize_byte_buf(SharedVisitor).map(Self)
    }
}

struct SharedVisitor;

impl<'de> Visitor<'de> for SharedVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BytesVisitor.expecting(f)
    }

    #[inline]
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(shared::to_bytes(bytes))
    }

    #[inline]
    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Bytes, A::Error> {
        BytesVisitor.visit_seq(elements).map(Bytes::from)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    #[inline]
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    #[inline]
    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    // A codec may have no bytes of its own and write a sequence.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
