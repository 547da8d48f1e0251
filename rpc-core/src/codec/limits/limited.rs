//! The wrapper: counts on the way down, otherwise hands everything through.

use std::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Budget, MAP_FACTOR, RESERVED_ELEMENTS_MAX};

/// A deserializer, visitor, seed or access that counts on behalf of the one inside.
pub(in crate::codec) struct Limited<'b, T> {
    inner: T,
    budget: &'b Budget,
    depth_left: u32,
    /// Whether elements are collected, hence charged: not those of a tuple, a struct, or what is skipped.
    collects: bool,
}

impl<'b, T> Limited<'b, T> {
    #[inline]
    pub(in crate::codec) fn new(inner: T, budget: &'b Budget) -> Self {
        Self {
            inner,
            budget,
            depth_left: budget.depth(),
            collects: false,
        }
    }

    /// The same place in the value, seen through something else.
    #[inline]
    fn with<U>(&self, inner: U, collects: bool) -> Limited<'b, U> {
        Limited {
            inner,
            budget: self.budget,
            depth_left: self.depth_left,
            collects,
        }
    }

    /// One level down.
    #[inline]
    fn below<U, E: Error>(&self, inner: U) -> Result<Limited<'b, U>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Limited {
                depth_left,
                ..self.with(inner, self.collects)
            }),
            None => Err(self.budget.too_deep()),
        }
    }

    #[inline]
    fn charge_allocation<E: Error>(&self, elements: Option<usize>) -> Result<(), E> {
        match self.collects {
            true => self.budget.charge_allocation(elements),
            false => Ok(()),
        }
    }

    #[inline]
    fn charge_element<V, E: Error>(&self, factor: usize, rest: Option<usize>) -> Result<(), E> {
        match self.collects {
            true => self.budget.charge_element::<V, E>(factor, rest),
            false => Ok(()),
        }
    }

    #[inline]
    fn reserve(&self, hint: Option<usize>) -> Option<usize> {
        match self.collects {
            true => hint.map(|elements| elements.min(RESERVED_ELEMENTS_MAX)),
            false => hint,
        }
    }
}

macro_rules! pass {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! collect {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor, true);
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! nest {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor, false);
            self.inner.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    pass! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_identifier deserialize_unit
    }
    collect! {
        deserialize_any deserialize_string deserialize_byte_buf deserialize_seq deserialize_map
    }
    nest! {
        deserialize_bytes();
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor, false);
        // serde_json skips without a visitor: what is skipped would escape the limits.
        if self.inner.is_human_readable() {
            return self.inner.deserialize_any(visitor);
        }
        self.inner.deserialize_ignored_any(visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit_plain {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! visit_text {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.charge_allocation(Some(value.len()))?;
            self.inner.$method(value)
        }
    )*};
}

macro_rules! visit_nested {
    ($($method:ident($trait:ident))*) => {$(
        #[inline]
        fn $method<A: $trait<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
            let inner = self.below(inner)?;
            self.inner.$method(inner)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64) visit_char(char)
    }
    visit_text! {
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }
    visit_nested! {
        visit_some(Deserializer) visit_newtype_struct(Deserializer) visit_enum(EnumAccess)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.charge_allocation(elements.size_hint())?;
        let elements = self.below(elements)?;
        self.inner.visit_seq(elements)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.charge_allocation(entries.size_hint())?;
        let entries = self.below(entries)?;
        self.inner.visit_map(entries)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer, false);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed, false);
        let element = self.inner.next_element_seed(seed)?;
        if element.is_some() {
            self.charge_element::<S::Value, _>(1, self.inner.size_hint())?;
        }
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.reserve(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed, false);
        let key = self.inner.next_key_seed(seed)?;
        if key.is_some() {
            self.charge_element::<S::Value, _>(MAP_FACTOR, self.inner.size_hint())?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed, false);
        let value = self.inner.next_value_seed(seed)?;
        self.charge_element::<S::Value, _>(MAP_FACTOR, self.inner.size_hint())?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.reserve(self.inner.size_hint())
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'b, A> {
    type Error = A::Error;
    type Variant = Limited<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (budget, depth_left) = (self.budget, self.depth_left);
        let seed = self.with(seed, false);
        let (value, inner) = self.inner.variant_seed(seed)?;
        let variant = Limited {
            inner,
            budget,
            depth_left,
            collects: false,
        };
        Ok((value, variant))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed, false);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor, false);
        self.inner.tuple_variant(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor, false);
        self.inner.struct_variant(fields, visitor)
    }
}
