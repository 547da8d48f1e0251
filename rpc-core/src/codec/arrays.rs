//! Arrays of bytes in one piece: keys, hashes, addresses.
//!
//! serde sees a `[u8; 32]` as a tuple of 32 numbers and asks about each; bincode writes them one
//! behind the other, as they lie in memory. Which types these are is asked of the compiler, as it is
//! with byte strings, and no trace of the question is left at run time.

use std::any::{Any, TypeId};

macro_rules! lengths {
    ($($length:literal)*) => {
        /// The bytes of a value that is an array of bytes.
        #[inline(always)]
        pub(super) fn as_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
            let value: &dyn Any = value;
            $(if const { size_of::<T>() == $length }
                && let Some(array) = value.downcast_ref::<[u8; $length]>()
            {
                return Some(array);
            })*
            None
        }

        /// True if `T` is an array of bytes.
        #[inline(always)]
        pub(super) fn is_array<T: 'static>() -> bool {
            $(TypeId::of::<T>() == TypeId::of::<[u8; $length]>() ||)* false
        }

        /// An array of bytes, if this is what `T` is and it has as many.
        #[inline(always)]
        pub(super) fn from_bytes<T: 'static>(bytes: &[u8]) -> Option<T> {
            let mut slot = None::<T>;
            let place: &mut dyn Any = &mut slot;
            $(if const { size_of::<T>() == $length }
                && let Some(place) = place.downcast_mut::<Option<[u8; $length]>>()
            {
                *place = bytes.try_into().ok();
                return slot;
            })*
            None
        }
    };
}

// Those in use: parts of addresses, identifiers, hashes.
lengths! { 4 6 8 12 16 20 24 28 32 }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use crate::codec::DecodeLimits;

    #[test]
    fn arrays_are_written_as_any_others_and_read_back() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Plain([u8; 32]);
        let array: [u8; 32] = std::array::from_fn(|n| 255 - n as u8);
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        Codec::Bincode.encode(&array, &mut fast).unwrap();
        Codec::Bincode.encode(&Plain(array), &mut plain).unwrap();
        assert_eq!(fast, plain);
        let limits = DecodeLimits::default();
        assert_eq!(
            Codec::Bincode.decode::<[u8; 32]>(&fast, &limits).unwrap(),
            array
        );
        let short = Codec::Bincode.decode::<[u8; 32]>(&fast[1..], &limits);
        assert!(
            short
                .unwrap_err()
                .to_string()
                .contains("the input ends early")
        );
        assert!(as_bytes(&[0_u8; 5]).is_none() && from_bytes::<u64>(&fast).is_none());
    }
}
