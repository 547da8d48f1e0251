//! The arguments of a call: a tuple in Rust, a struct with named fields on the wire.
//!
//! Why not a derived struct per method? It would be compiled once for every method of every
//! service; a tuple is compiled once for every list of types, here.
//!
//! What if nobody knows the names, as in a call by name or for a plain function? An empty list of
//! names stands for that: the arguments are a tuple on the wire too, which bincode writes as it
//! writes a struct, and JSON as an array.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde_core::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_core::ser::{SerializeStruct, SerializeTuple};
use serde_core::{Serialize, Serializer};

use super::bytes::{ByteString, WholeSeed};
use super::shared::SharedString;

/// An argument on its way out, asked by generated code for its `wire` form.
///
/// `(&Argument(&value)).wire()`, with [`AsBytes`] and [`AsValue`] in scope, is a [`ByteString`] for
/// a byte string and a plain reference for anything else: method resolution chooses, by the type.
#[expect(clippy::exhaustive_structs, reason = "generated code constructs it")]
#[derive(Debug)]
pub struct Argument<'a, T: ?Sized>(pub &'a T);

/// Found first: byte strings are encoded in one piece.
pub trait AsBytes<'a> {
    /// [`ByteString`], or an `Option` of it.
    type Wire;
    /// The form in which the argument is encoded.
    fn wire(&self) -> Self::Wire;
}

impl<'a> AsBytes<'a> for Argument<'a, [u8]> {
    type Wire = ByteString<'a>;
    #[inline]
    fn wire(&self) -> ByteString<'a> {
        ByteString(self.0)
    }
}

impl<'a> AsBytes<'a> for Argument<'a, Vec<u8>> {
    type Wire = ByteString<'a>;
    #[inline]
    fn wire(&self) -> ByteString<'a> {
        ByteString(self.0)
    }
}

impl<'a> AsBytes<'a> for Argument<'a, Option<Vec<u8>>> {
    type Wire = Option<ByteString<'a>>;
    #[inline]
    fn wire(&self) -> Option<ByteString<'a>> {
        self.0.as_deref().map(ByteString)
    }
}

impl<'a> AsBytes<'a> for Argument<'a, Cow<'_, [u8]>> {
    type Wire = ByteString<'a>;
    #[inline]
    fn wire(&self) -> ByteString<'a> {
        ByteString(self.0)
    }
}

impl<'a> AsBytes<'a> for Argument<'a, Bytes> {
    type Wire = SharedString<'a>;
    #[inline]
    fn wire(&self) -> SharedString<'a> {
        SharedString(self.0)
    }
}

impl<'a> AsBytes<'a> for Argument<'a, Cow<'_, Bytes>> {
    type Wire = SharedString<'a>;
    #[inline]
    fn wire(&self) -> SharedString<'a> {
        SharedString(self.0)
    }
}

/// Found for everything else, one reference further away.
pub trait AsValue<'a, T: ?Sized> {
    /// The form in which the argument is encoded: itself.
    fn wire(&self) -> &'a T;
}

impl<'a, T: ?Sized> AsValue<'a, T> for &Argument<'a, T> {
    #[inline]
    fn wire(&self) -> &'a T {
        self.0
    }
}

/// Arguments that can be sent: a tuple of up to twelve references or [`ByteString`]s.
pub trait EncodeArguments: sealed::Out {}

/// Arguments that can be received: a tuple of up to twelve owned values.
pub trait DecodeArguments: sealed::In {}

impl<A: sealed::Out + ?Sized> EncodeArguments for A {}
impl<A: sealed::In> DecodeArguments for A {}

mod sealed {
    use super::*;

    pub trait Out {
        const COUNT: usize;
        fn serialize<S: Serializer>(
            &self,
            names: &'static [&'static str],
            serializer: S,
        ) -> Result<S::Ok, S::Error>;

        /// Without names, one after the other.
        fn serialize_in_order<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

        /// One of them alone.
        fn serialize_one<S: Serializer>(
            &self,
            index: usize,
            serializer: S,
        ) -> Result<S::Ok, S::Error>;
    }

    pub trait In: Sized {
        const COUNT: usize;
        fn from_seq<'de, A: SeqAccess<'de>>(names: Names, elements: A) -> Result<Self, A::Error>;
        fn from_map<'de, A: MapAccess<'de>>(names: Names, entries: A) -> Result<Self, A::Error>;
    }
}

/// The names of the arguments, as many as the tuple has elements.
#[derive(Clone, Copy, Debug)]
pub struct Names(&'static [&'static str]);

impl Names {
    #[inline]
    fn name(self, index: usize) -> &'static str {
        self.0.get(index).copied().unwrap_or("?")
    }

    /// Which argument failed is what the reader wants to know first.
    #[cold]
    fn locate<E: Error>(self, index: usize, error: E) -> E {
        E::custom(format_args!("argument `{}`: {error}", self.name(index)))
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn next_in<'de, T, A>(self, index: usize, elements: &mut A) -> Result<T, A::Error>
    where
        T: DeserializeOwned + 'static,
        A: SeqAccess<'de>,
    {
        match elements.next_element_seed(WholeSeed::new()) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(A::Error::missing_field(self.name(index))),
            Err(error) => Err(self.locate(index, error)),
        }
    }

    fn value_of<'de, T, A>(
        self,
        index: usize,
        entries: &mut A,
        slot: &mut Option<T>,
    ) -> Result<(), A::Error>
    where
        T: DeserializeOwned + 'static,
        A: MapAccess<'de>,
    {
        if slot.is_some() {
            return Err(A::Error::duplicate_field(self.name(index)));
        }
        let value = entries.next_value_seed(WholeSeed::new());
        *slot = Some(value.map_err(|error| self.locate(index, error))?);
        Ok(())
    }
}

/// The key of an entry, as the index of an argument.
impl<'de> DeserializeSeed<'de> for Names {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Names {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an argument")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let index = self.0.iter().position(|known| *known == name);
        index.ok_or_else(|| E::unknown_field(name, self.0))
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<usize, E> {
        self.visit_str(&String::from_utf8_lossy(name))
    }
}

/// Arguments on their way out, by name if there are names.
#[cfg(feature = "codecs")]
pub(super) struct ArgumentsOut<'a, A: ?Sized> {
    pub(super) names: &'static [&'static str],
    pub(super) arguments: &'a A,
}

#[cfg(feature = "codecs")]
impl<A: EncodeArguments + ?Sized> Serialize for ArgumentsOut<'_, A> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.arguments.serialize(self.names, serializer)
    }
}

/// Arguments on their way out, one after the other.
pub(super) struct InOrderOut<'a, A: ?Sized>(pub(super) &'a A);

impl<A: EncodeArguments + ?Sized> Serialize for InOrderOut<'_, A> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_in_order(serializer)
    }
}

/// One argument alone.
pub(super) struct ArgumentOut<'a, A: ?Sized> {
    pub(super) arguments: &'a A,
    pub(super) index: usize,
}

impl<A: EncodeArguments + ?Sized> Serialize for ArgumentOut<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.arguments.serialize_one(self.index, serializer)
    }
}

/// Arguments on their way in.
pub(super) struct ArgumentsSeed<A> {
    names: Names,
    arguments: PhantomData<fn() -> A>,
}

impl<A> ArgumentsSeed<A> {
    #[inline]
    pub(super) fn new(names: &'static [&'static str]) -> Self {
        Self {
            names: Names(names),
            arguments: PhantomData,
        }
    }
}

impl<'de, A: DecodeArguments> DeserializeSeed<'de> for ArgumentsSeed<A> {
    type Value = A;
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<A, D::Error> {
        let names = self.names.0;
        if names.is_empty() && A::COUNT > 0 {
            return deserializer.deserialize_tuple(A::COUNT, self);
        }
        if names.len() != A::COUNT {
            return Err(count_mismatch(names.len(), A::COUNT));
        }
        deserializer.deserialize_struct("Arguments", names, self)
    }
}

/// Arguments in a codec that has one value after the other, and no names: what they are called is for
/// its errors.
pub(super) struct InOrderSeed<A>(pub(super) ArgumentsSeed<A>);

impl<'de, A: DecodeArguments> DeserializeSeed<'de> for InOrderSeed<A> {
    type Value = A;
    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<A, D::Error> {
        let names = self.0.names.0.len();
        if names > 0 && names != A::COUNT {
            return Err(count_mismatch(names, A::COUNT));
        }
        deserializer.deserialize_tuple(A::COUNT, self.0)
    }
}

impl<'de, A: DecodeArguments> Visitor<'de> for ArgumentsSeed<A> {
    type Value = A;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.0 {
            [] if A::COUNT > 0 => write!(f, "{} arguments in order", A::COUNT),
            [] => f.write_str("no arguments"),
            names => write!(f, "the arguments {}", names.join(", ")),
        }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    fn visit_seq<S: SeqAccess<'de>>(self, elements: S) -> Result<A, S::Error> {
        A::from_seq(self.names, elements)
    }

    #[inline]
    fn visit_map<M: MapAccess<'de>>(self, entries: M) -> Result<A, M::Error> {
        A::from_map(self.names, entries)
    }
}

/// Cannot happen in generated code, where both come from one list.
#[cold]
fn count_mismatch<E: Error>(names: usize, elements: usize) -> E {
    E::custom(format_args!("{names} names for {elements} arguments"))
}

macro_rules! tuples {
    ($($count:literal: $(($index:tt $type:ident))*;)*) => {$(
        #[allow(non_snake_case, unused_variables, unused_mut, clippy::unused_unit)]
        impl<$($type: Serialize),*> sealed::Out for ($($type,)*) {
            const COUNT: usize = $count;

            #[inline]
            fn serialize<Z: Serializer>(
                &self,
                names: &'static [&'static str],
                serializer: Z,
            ) -> Result<Z::Ok, Z::Error> {
                if names.is_empty() && $count > 0 {
                    return self.serialize_in_order(serializer);
                }
                let &[$($type),*] = names else {
                    return Err(serde_core::ser::Error::custom(format_args!(
                        "{} names for {} arguments", names.len(), $count
                    )));
                };
                let mut fields = serializer.serialize_struct("Arguments", $count)?;
                $(fields.serialize_field($type, &self.$index)?;)*
                fields.end()
            }

            #[inline]
            fn serialize_in_order<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                let mut elements = serializer.serialize_tuple($count)?;
                $(elements.serialize_element(&self.$index)?;)*
                elements.end()
            }

            fn serialize_one<Z: Serializer>(
                &self,
                index: usize,
                serializer: Z,
            ) -> Result<Z::Ok, Z::Error> {
                match index {
                    $($index => self.$index.serialize(serializer),)*
                    _ => Err(serde_core::ser::Error::custom(format_args!(
                        "there is no argument {index} of {}", $count
                    ))),
                }
            }
        }

        #[allow(non_snake_case, unused_variables, unused_mut, clippy::unused_unit)]
        impl<$($type: DeserializeOwned + 'static),*> sealed::In for ($($type,)*) {
            const COUNT: usize = $count;

            #[inline(always)]
            fn from_seq<'de, Z: SeqAccess<'de>>(names: Names, mut elements: Z) -> Result<Self, Z::Error> {
                Ok(($(names.next_in::<$type, Z>($index, &mut elements)?,)*))
            }

            fn from_map<'de, Z: MapAccess<'de>>(names: Names, mut entries: Z) -> Result<Self, Z::Error> {
                $(let mut $type = None::<$type>;)*
                while let Some(index) = entries.next_key_seed(names)? {
                    match index {
                        $($index => names.value_of(index, &mut entries, &mut $type)?,)*
                        _ => return Err(count_mismatch(index, $count)),
                    }
                }
                Ok(($($type.ok_or_else(|| Z::Error::missing_field(names.name($index)))?,)*))
            }
        }
    )*};
}

tuples! {
    0: ;
    1: (0 A);
    2: (0 A) (1 B);
    3: (0 A) (1 B) (2 C);
    4: (0 A) (1 B) (2 C) (3 D);
    5: (0 A) (1 B) (2 C) (3 D) (4 E);
    6: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F);
    7: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G);
    8: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G) (7 H);
    9: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G) (7 H) (8 I);
    10: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G) (7 H) (8 I) (9 J);
    11: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G) (7 H) (8 I) (9 J) (10 K);
    12: (0 A) (1 B) (2 C) (3 D) (4 E) (5 F) (6 G) (7 H) (8 I) (9 J) (10 K) (11 L);
}
